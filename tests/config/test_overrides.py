"""`key=value` on a command line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.config import apply_overrides, config_from_mapping, dotted_keys, load_config, parse_overrides
from hrm_sweep.errors import ConfigError


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("lr=1e-3", 1e-3),
        ("lr=1E+3", 1000.0),
        ("lr=2.5e-4", 2.5e-4),
        ("epochs=60", 60),
        ("checkpoint=false", False),
        ("data_path=", None),
        ("data_path=a=b", "a=b"),
        ("data_path=my data/sudoku", "my data/sudoku"),
        ("data={size: 4}", {"size": 4}),
        ("stop_when_solved=null", None),
        ("run_name=2024", "2024"),
        ("run_name=007", "007"),
        ("run_name=1e3", "1e3"),
        ("run_name=no", "no"),
        ("run_name=2024-06-26", "2024-06-26"),
        ("run_name='7'", "7"),
        ("eval_save_outputs=[inputs, logits]", ["inputs", "logits"]),
        ("arch.loss.loss_type=softmax_cross_entropy", "softmax_cross_entropy"),
        (" lr =1", 1),
    ],
)
def test_a_value_is_read_as_yaml_and_text_stays_text(argument: str, value: Any) -> None:
    key = argument.partition("=")[0].strip()
    assert parse_overrides([argument]) == {key: value}


def test_the_last_of_equal_keys_wins() -> None:
    assert parse_overrides(["lr=1", "epochs=2", "lr=3"]) == {"lr": 3, "epochs": 2}


@pytest.mark.parametrize("argument", ["lr", "=5", "", "  =5"])
def test_an_argument_without_a_key_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value, for example"):
        parse_overrides([argument])


@pytest.mark.parametrize(
    "argument", ["data={size: 4", "lr=[", "lr=a: b: c", "max_seconds=2024-99-99", "lr=" + "9" * 5000]
)
def test_a_broken_value_is_refused_with_the_argument_as_it_stood(argument: str) -> None:
    with pytest.raises(ConfigError, match="the value is not valid YAML") as caught:
        parse_overrides([argument])
    assert argument in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"arch.halt_steps": 4}, "hrm_v1: arch.halt_steps: unknown key; the nearest valid key is arch.halt_max_steps"),
        ({"learning_rate": 4}, "hrm_v1: learning_rate: unknown key; the nearest valid key is lr"),
        (
            {"stages.0.overrides.arch.hidden_size": 3},
            "hrm_v1: stages.0.overrides.arch.hidden_size: a stage cannot set it (the weights carry over, so their "
            "shapes cannot change); a stage sets arch.halt_max_steps, ",
        ),
        ({"stages.0.overrides.seed": 3}, "stages.0.overrides.seed: a stage cannot set it; a stage sets arch.halt_max"),
        (
            {"stages.0.override.lr": 1},
            "stages.0.override.lr: unknown key; the nearest valid key is stages.0.overrides.lr",
        ),
        ({"stages.2.lr": 1}, "stages.2.lr: unknown key; the nearest valid key is stages.2.overrides.lr"),
        ({"stages.0.overrides.wd": 1}, "unknown key; the nearest valid key is stages.0.overrides.weight_decay"),
        ({"stages.0.epoch": 1}, "stages.0.epoch: unknown key; the nearest valid key is stages.0.epochs"),
        ({"stages.0.overrides": {"lr": 1}}, "stages.0.overrides: is set key by key, as in stages.0.overrides.lr"),
        (
            {"stages.0.zzzz": 1},
            "stages.0.zzzz: unknown key; a stage has epochs, and overrides, which set arch.halt_max",
        ),
        ({"halt_max_steps": 4}, "unknown key; the nearest valid key is arch.halt_max_steps"),
        ({"lr.x": 4}, "hrm_v1: lr.x: unknown key"),
        ({"arch": "hrm_v1_balanced"}, "name the preset first instead, as in `hrm-sweep train hrm_v1_balanced`"),
        ({"arch": 3}, "hrm_v1: arch: unknown key"),
        ({"": 3}, "hrm_v1: : unknown key"),
    ],
)
def test_an_unknown_key_is_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_overrides({}, overrides, "hrm_v1")
    assert message in str(caught.value)


def test_what_is_overridden_is_a_copy() -> None:
    values = {"arch": {"H_cycles": 1}}
    assert apply_overrides(values, {"arch.H_cycles": 2, "data.size": 4}, "x") == {
        "arch": {"H_cycles": 2},
        "data": {"size": 4},
    }
    assert values == {"arch": {"H_cycles": 1}}


def test_a_whole_section_can_be_taken_away_or_replaced() -> None:
    assert load_config("hrm_v1_tiny", {"data": None}).data is None
    replaced = load_config("hrm_v1_tiny", {"data": {"size": 6}}).data
    assert replaced is not None
    assert (replaced.size, replaced.subsample_size) == (6, None)


def test_width_takes_the_embedding_along_in_a_preset() -> None:
    assert load_config("hrm_v1", {"arch.hidden_size": 256}).arch.puzzle_emb_ndim == 256


@given(st.data())
def test_any_key_takes_the_value_that_it_has(data: st.DataObject) -> None:
    tiny = load_config("hrm_v1_tiny", {"data_path": "x", "run_name": "y"})
    key = data.draw(st.sampled_from(sorted(dotted_keys())))
    assert config_from_mapping(apply_overrides(tiny.to_mapping(), {key: tiny.get(key)}, "x"), "x") == tiny
