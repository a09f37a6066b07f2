"""Stages in a configuration: what they may say, and what a run with them is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hrm_sweep.config import RunConfig, config_from_mapping, config_text, load_config, plain_key
from hrm_sweep.config.reference import all_config, not_official
from hrm_sweep.config.spelling import train_command
from hrm_sweep.errors import ConfigError

TWO = [{"epochs": 20, "overrides": {"arch.halt_max_steps": 4}}, {"epochs": 40, "overrides": {"lr": 5e-4}}]


def staged(**changes: Any) -> RunConfig:
    return config_from_mapping({"stages": TWO, **changes}, "test")


def test_epochs_are_the_sum_of_the_stages_and_an_evaluation_ends_each() -> None:
    config = staged()
    assert config.epochs == 60
    assert config.eval_interval == 10  # about ten, and 20 and 40 are divisible by it
    assert [config.stage_at(epoch) for epoch in (0, 19.9, 20, 59, 60)] == [0, 0, 1, 1, 1]


def test_a_stage_is_a_configuration_with_its_overrides() -> None:
    config = staged(lr=1e-3)
    first, second = config.stage(0), config.stage(1)
    assert (first.arch.halt_max_steps, first.lr) == (4, 1e-3)
    assert (second.arch.halt_max_steps, second.lr) == (16, 5e-4)
    assert config.last_stage == second
    assert first.stages is None
    assert first.epochs == 60
    plain = config_from_mapping({}, "test")
    assert plain.stage(0) is plain
    assert plain.stage_at(17) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 50}, r"epochs 50 is not what the stages add up to, 20 \+ 40 = 60"),
        ({"eval_interval": 15}, "eval_interval 15 does not divide the 20 epochs of stage 0.*for example 20"),
        ({"stages": []}, "stages"),
        ({"stages": [{"epochs": 0}]}, "stages.0.epochs"),
        (
            {"stages": [{"epochs": 5, "override": {}}]},
            "^test: stages.0.override: unknown key; the nearest valid key is stages.0.overrides$",
        ),
        ({"stages": [{"epoch": 3}]}, "^test: stages.0.epoch: unknown key; the nearest valid key is stages.0.epochs$"),
        ({"stages": [{"epochs": 5, "overrides": {"learning_rate": 1}}]}, "learning_rate: unknown key; .* is lr$"),
        ({"stages": [{"epochs": 5, "overrides": {"arch.hidden_size": 64}}]}, "shapes cannot change"),
        ({"stages": [{"epochs": 5, "overrides": {"global_batch_size": 64}}]}, "a stage cannot set it; a stage sets"),
        (
            {"stages": [{"epochs": 5, "overrides": {"arch.halt_max_steps": 0}}]},
            "stages.0.overrides.arch.halt_max_steps",
        ),
        ({"stages": [{"epochs": 5, "overrides": {"lr": "fast"}}]}, "stages.0.overrides.lr"),
        ({"stages": [{"epochs": 5, "overrides": "lr"}]}, "stages.0.overrides: expected RunConfig keys"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        staged(**changes)


def test_stages_are_set_and_changed_on_the_command_line(tmp_path: Path) -> None:
    config = load_config("hrm_v1_tiny", {"stages": TWO})
    assert (config.epochs, config.eval_interval) == (60, 10)
    changed = load_config(
        "progressive",
        {"stages.1.epochs": 12, "stages.1.overrides.arch.halt_max_steps": 6, "stages.0.overrides.lr": 1e-4},
    )
    assert changed.epochs == 12 + 12 + 30
    assert changed.stage(1).arch.halt_max_steps == changed.get("stages.1.overrides.arch.halt_max_steps") == 6
    assert (changed.get("stages.1.epochs"), changed.get("stages.0.overrides.lr")) == (12, 1e-4)
    assert changed.get("stages.1.overrides.lr") == changed.lr
    assert changed.get("stages.7.epochs") is None
    without = load_config("progressive", {"stages": None})
    assert (without.stages, without.epochs) == (None, 60)
    with pytest.raises(ConfigError, match=r"stages.3.epochs: there is no stage 3; it has 3, counted from 0"):
        load_config("progressive", {"stages.3.epochs": 5})
    with pytest.raises(ConfigError, match="leave epochs out"):
        load_config("progressive", {"epochs": 30})
    with pytest.raises(ConfigError, match="a stage cannot set it"):
        load_config("progressive", {"stages.0.overrides.arch.hidden_size": 5})
    (tmp_path / "mine.yaml").write_text(
        "stages:\n  - {epochs: 5, overrides: {arch: {halt_max_steps: 2}, lr: 1e-3}}\n  - {epochs: 5}\n"
    )
    nested = load_config(tmp_path / "mine.yaml")
    assert nested.get("stages")[0]["overrides"] == {"arch.halt_max_steps": 2, "lr": 1e-3}


def test_a_key_of_a_stage_takes_what_the_key_itself_takes() -> None:
    assert plain_key("stages.1.epochs") == "epochs"
    assert plain_key("stages.0.overrides.arch.halt_max_steps") == "arch.halt_max_steps"
    assert plain_key("lr") == "lr"
    assert plain_key("stages.0.overrides.arch.hidden_size") is None
    assert plain_key("stages.x.epochs") is None


def test_a_config_reads_back_and_a_train_line_too() -> None:
    for config in (load_config("progressive"), load_config("hrm_v1_tiny", {"stages": TWO, "lr": 1e-3})):
        assert config_from_mapping(yaml.safe_load(config_text(config)), "test") == config
        import shlex

        from hrm_sweep.config import parse_overrides

        _, _, preset, *changes = shlex.split(train_command(config))
        assert load_config(preset, parse_overrides(changes)) == config


def test_the_reference_gets_the_last_stage_and_is_told() -> None:
    config = load_config("progressive", {"init_from": "somewhere"})
    theirs = all_config(config)
    assert theirs["arch"]["halt_max_steps"] == 8
    assert not {"stages", "init_from"} & theirs.keys()
    assert [line.split("(")[0].split(":")[0].strip() for line in not_official(config)] == [
        "the reference has no stages",
        "the reference has no init_from",
    ]
    assert all_config(load_config("hrm_v1_tiny"))["arch"]["halt_max_steps"] == 8
