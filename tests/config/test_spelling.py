"""A configuration as a command line: what is printed reads back as the very same configuration."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_sweep.config import RunConfig, dotted_keys, load_config, parse_overrides, preset_names
from hrm_sweep.config.overrides import parse_override
from hrm_sweep.config.spelling import differences, spelled_override, train_command

FIXTURES = Path(__file__).parents[1] / "fixtures"


def read_back(command: str) -> RunConfig:
    """What `hrm-sweep train` makes of its arguments."""
    program, verb, source, *overrides = shlex.split(command)
    assert (program, verb) == ("hrm-sweep", "train")
    return load_config(source, parse_overrides(overrides))


@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_is_its_name(preset: str) -> None:
    assert train_command(load_config(preset)) == f"hrm-sweep train {preset}"


def test_the_nearest_preset_is_taken_and_only_what_differs_is_named() -> None:
    config = load_config("hrm_v1_balanced", {"lr": 2e-5, "run_name": "a b"})
    assert train_command(config) == "hrm-sweep train hrm_v1_balanced lr=2e-05 'run_name=a b'"


def test_a_configuration_without_a_data_block_says_so() -> None:
    config = load_config("hrm_v1_tiny", {"data": None, "data_path": "data/mine"})
    assert train_command(config) == "hrm-sweep train hrm_v1_tiny data_path=data/mine data=null"
    assert read_back(train_command(config)) == config


def test_a_run_of_the_reference_reads_back() -> None:
    config = load_config(FIXTURES / "official_runs" / "healthy")
    assert read_back(train_command(config)) == config


TEXTS = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(["null", "no", "1e5", "2024-06-26", " x", "a: b", "~", "'", "[", "\n"]),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.floats(0, 1e6, allow_nan=False),
        "weight_decay": st.floats(0, 1e-300),
        "epochs": st.sampled_from([20, 60, 120]),
        "arch.hidden_size": st.sampled_from([32, 64]),
        "checkpoint": st.booleans(),
        "stop_when_solved": st.none() | st.floats(0, 1),
        "seed": st.integers(0, 2**62),
        "data_path": TEXTS,
        "run_name": TEXTS,
        "eval_save_outputs": st.lists(TEXTS, max_size=3),
        "data.size": st.sampled_from([4, 6, 9]),
        "data.csv": st.tuples(TEXTS, TEXTS),
    },
)


@settings(max_examples=30)
@given(preset=st.sampled_from(preset_names()), changes=CHANGES)
def test_any_configuration_reads_back(preset: str, changes: dict[str, Any]) -> None:
    if preset == "progressive" and "epochs" in changes:  # its stages decide its epochs
        changes = {"stages.2.epochs": changes["epochs"], **{k: v for k, v in changes.items() if k != "epochs"}}
    config = load_config(preset, changes)
    assert read_back(train_command(config)) == config


@given(key=st.sampled_from(["eval_save_outputs", "checkpoint"]), value=TEXTS | st.lists(TEXTS))
def test_any_value_reads_back(key: str, value: Any) -> None:
    assert parse_override(spelled_override(key, value)) == (key, value)


@settings(max_examples=30)
@given(changes=CHANGES)
def test_differences_are_those_keys_that_differ(changes: dict[str, Any]) -> None:
    before, after = load_config("hrm_v1_tiny"), load_config("hrm_v1_tiny", changes)
    found = differences(before, after)
    assert set(found) == {key for key in dotted_keys() if before.get(key) != after.get(key)}
    assert differences(after, after) == {}
