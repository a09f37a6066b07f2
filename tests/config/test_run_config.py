"""RunConfig: what it refuses, what it fills in, and that files of ours and of the reference are one format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.config import (
    RunConfig,
    config_from_mapping,
    default_eval_interval,
    dotted_keys,
    load_config,
    nearest_key,
    write_config,
)
from hrm_sweep.config.other_names import OTHER_NAMES
from hrm_sweep.errors import ConfigError

OFFICIAL_RUNS = Path(__file__).parents[1] / "fixtures" / "official_runs"


def config(**values: Any) -> RunConfig:
    return config_from_mapping(values, "test")


def message_of(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(values, "run.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 1}, "run.yaml: learning_rate: unknown key; the nearest valid key is lr"),
        ({"weigth_decay": 1}, "run.yaml: weigth_decay: unknown key; the nearest valid key is weight_decay"),
        (
            {"arch": {"halt_steps": 4}},
            "run.yaml: arch.halt_steps: unknown key; the nearest valid key is arch.halt_max_steps",
        ),
        ({"H_cycles": 4}, "run.yaml: H_cycles: unknown key; the nearest valid key is arch.H_cycles"),
        (
            {"lr": "fast"},
            "run.yaml: lr: input should be a valid number, unable to parse string as a number; found 'fast'",
        ),
        ({"lr": True}, "run.yaml: lr: expected a number, found true or false"),
        ({"lr": float("inf")}, "run.yaml: lr: input should be a finite number; found inf"),
        ({"lr": float("nan")}, "run.yaml: lr: input should be greater than or equal to 0; found nan"),
        ({"lr": -1}, "run.yaml: lr: input should be greater than or equal to 0; found -1"),
        ({"epochs": 0}, "run.yaml: epochs: input should be greater than or equal to 1; found 0"),
        ({"epochs": float("inf")}, "run.yaml: epochs: input should be a finite number; found inf"),
        ({"beta1": 1}, "run.yaml: beta1: input should be less than 1; found 1"),
        ({"global_batch_size": 8.5}, "run.yaml: global_batch_size: input should be a valid integer, got a number with"),
        ({"arch": {"pos_encodings": "alibi"}}, "run.yaml: arch.pos_encodings: input should be 'rope' or 'learned'"),
        ({"arch": 5}, "run.yaml: arch: input should be a valid dictionary"),
        ({"data": {"size": 5}}, "run.yaml: data.size: input should be 4, 6 or 9; found 5"),
        (
            {"arch": {"hidden_size": 64, "num_heads": 3}},
            "run.yaml: arch: hidden_size 64 is not divisible by num_heads 3; "
            "choose a number of heads that fits, for example 8",
        ),
        (
            {"arch": {"hidden_size": 24, "num_heads": 8}},
            "run.yaml: arch: hidden_size 24 / num_heads 8 gives head_dim 3: rotary positions need an even one; "
            "choose a number of heads that fits, for example 6",
        ),
        ({"arch": {"hidden_size": 65, "num_heads": 5}}, "need an even one; choose an even hidden_size"),
        (
            {"epochs": 50, "eval_interval": 20},
            "run.yaml: eval_interval 20 does not divide epochs 50: choose one that does, for example 5",
        ),
        ({1: 2}, "run.yaml: 1"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_named_with_file_key_and_what_was_expected(values: dict[str, Any], message: str) -> None:
    assert message in message_of(values)


def test_every_wrong_key_gets_a_line_of_its_own() -> None:
    assert len(message_of({"lr": "fast", "epochs": -1, "arch": {"H_cycle": 2}}).splitlines()) == 3


@given(heads=st.integers(1, 16), width=st.integers(1, 600))
def test_a_refused_width_comes_with_heads_that_fit(heads: int, width: int) -> None:
    try:
        config(arch={"hidden_size": width, "num_heads": heads})
    except ConfigError as error:
        advice = str(error).rpartition(" ")[2]
        if advice.isdigit():
            config(arch={"hidden_size": width, "num_heads": int(advice)})
        else:
            assert width % 2 == 1


@pytest.mark.parametrize(
    ("arch", "ndim"),
    [
        ({}, 512),
        ({"hidden_size": 64}, 64),
        ({"hidden_size": 64, "puzzle_emb_ndim": None}, 64),
        ({"puzzle_emb_ndim": None}, 512),
        ({"hidden_size": 64, "puzzle_emb_ndim": 0}, 0),
    ],
)
def test_the_puzzle_embedding_is_as_wide_as_the_model_unless_given(arch: dict[str, Any], ndim: int) -> None:
    assert config(arch=arch).arch.puzzle_emb_ndim == ndim


@pytest.mark.parametrize(
    ("values", "interval"),
    [
        ({"epochs": 60}, 6),
        ({"epochs": 7}, 1),
        ({"epochs": 11}, 11),
        ({"epochs": 26}, 13),
        ({"epochs": 1}, 1),
        ({"epochs": "60"}, 6),
        ({"epochs": 60, "eval_interval": None}, 60),
        ({"epochs": 60, "eval_interval": 20}, 20),
        ({}, 2000),
    ],
)
def test_the_evaluation_interval_is_filled_in(values: dict[str, Any], interval: int) -> None:
    assert config(**values).eval_interval == interval


@given(st.integers(1, 10**18))
def test_the_default_interval_divides_the_run_into_at_most_ten(epochs: int) -> None:
    interval = default_eval_interval(epochs)
    assert epochs % interval == 0
    assert 1 <= epochs // interval <= 10


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError):
        config().lr = 1.0  # type: ignore[misc]


def test_the_value_of_a_dotted_key() -> None:
    assert config().get("arch.loss.loss_type") == "stablemax_cross_entropy"
    assert config(data={"size": 4}).get("data.size") == 4
    assert config().get("data.size") is None


def test_every_dotted_key_can_be_read_and_is_nearest_to_itself() -> None:
    complete = config(data={})
    keys = list(dotted_keys())
    assert {"lr", "arch.H_cycles", "arch.loss.loss_type", "data.num_aug"} <= set(keys)
    for key in keys:
        complete.get(key)
        assert nearest_key(key) == key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("learning_rate", "lr"),
        ("arch.learning-rate", "lr"),
        ("batch_size", "global_batch_size"),
        ("wd", "weight_decay"),
        ("warmup_steps", "lr_warmup_steps"),
        ("act_steps", "arch.halt_max_steps"),
        ("max_steps", "arch.halt_max_steps"),
        ("hidden_dim", "arch.hidden_size"),
        ("arch.d_model", "arch.hidden_size"),
        ("num_epochs", "epochs"),
        ("h_cycles", "arch.H_cycles"),
        ("ARCH.L_CYCLES", "arch.L_cycles"),
    ],
)
def test_a_common_name_finds_its_key(name: str, key: str) -> None:
    assert nearest_key(name) == key


def test_every_common_name_is_of_one_key_that_there_is() -> None:
    names = [name for others in OTHER_NAMES.values() for name in others]
    assert set(OTHER_NAMES) <= set(dotted_keys())
    assert len(names) == len(set(names))
    assert not set(names) & {key.rsplit(".", 1)[-1] for key in dotted_keys()}


def test_nothing_is_near_to_nonsense() -> None:
    assert nearest_key("zzzzzzzzzzzz") is None


# What the reference accepts: its own class for all_config.yaml, as far as it decides whether a file can be read.
class ReferenceLoss(pydantic.BaseModel, extra="allow"):
    name: str


class ReferenceArch(pydantic.BaseModel, extra="allow"):
    name: str
    loss: ReferenceLoss


class ReferenceConfig(pydantic.BaseModel):
    arch: ReferenceArch
    data_path: str
    global_batch_size: int
    epochs: int
    lr: float
    lr_min_ratio: float
    lr_warmup_steps: int
    weight_decay: float
    beta1: float
    beta2: float
    puzzle_emb_lr: float
    puzzle_emb_weight_decay: float
    project_name: str | None = None
    run_name: str | None = None
    checkpoint_path: str | None = None
    seed: int = 0
    checkpoint_every_eval: bool = False
    eval_interval: int | None = None
    eval_save_outputs: list[str] = []


def test_the_reference_reads_what_we_write(tmp_path: Path) -> None:
    ours = load_config("hrm_v1_tiny", {"data_path": "data/sudoku", "seed": 3, "checkpoint_every_eval": True})
    write_config(ours, tmp_path / "config.yaml")
    theirs = ReferenceConfig.model_validate(yaml.safe_load((tmp_path / "config.yaml").read_text()))
    for name in set(ReferenceConfig.model_fields) - {"arch"}:
        assert getattr(theirs, name) == getattr(ours, name), name
    assert theirs.arch.model_dump() == ours.arch.model_dump()


@pytest.mark.parametrize("run", ["healthy", "frozen_embeddings", "single_step"])
def test_we_read_what_the_reference_writes(run: str) -> None:
    path = OFFICIAL_RUNS / run / "all_config.yaml"
    written = yaml.safe_load(path.read_text())
    ours = load_config(path)
    assert load_config(path.parent) == ours
    assert {key: ours.to_mapping()[key] for key in written if key != "arch"} == {
        key: value for key, value in written.items() if key != "arch"
    }
    assert {key: ours.to_mapping()["arch"][key] for key in written["arch"]} == written["arch"]


finite = st.floats(0, 1e6, allow_nan=False)
fraction = st.floats(0, 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
whole = st.integers(1, 10**6)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.integers(1, 8))
    epochs = draw(whole)
    return {
        "arch": {
            "num_heads": heads,
            "hidden_size": 2 * heads * draw(st.integers(1, 64)),
            "expansion": draw(st.floats(0.1, 16)),
            "halt_exploration_prob": draw(fraction),
            "puzzle_emb_ndim": draw(st.none() | st.integers(0, 2000)),
            "loss": {"loss_type": draw(st.sampled_from(["stablemax_cross_entropy", "softmax_cross_entropy"]))},
        },
        "data": draw(
            st.none() | st.fixed_dictionaries({"size": st.sampled_from([4, 6, 9]), "csv": st.tuples(text, text)})
        ),
        "epochs": epochs,
        "eval_interval": draw(st.sampled_from([None, epochs, default_eval_interval(epochs)])),
        **draw(
            st.fixed_dictionaries(
                {"lr": finite, "weight_decay": finite, "lr_min_ratio": fraction, "beta2": st.floats(0, 0.9999)},
                optional={
                    "data_path": text,
                    "run_name": text,
                    "seed": st.integers(0, 2**63),
                    "stop_when_solved": fraction,
                    "eval_save_outputs": st.lists(text, max_size=3),
                    "device": text,
                },
            )
        ),
    }


@given(values=configs())
def test_what_is_written_is_what_is_loaded(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("round") / "config.yaml"
    before = config(**values)
    write_config(before, path)
    assert load_config(path) == before
    assert [entry.name for entry in path.parent.iterdir()] == ["config.yaml"]


def test_a_config_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_config(config(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]
