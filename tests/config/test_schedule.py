"""How long a run is, and its learning rate at each step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.config import load_config
from hrm_sweep.config.schedule import RunLength, learning_rate


@pytest.mark.parametrize(
    ("preset", "overrides", "groups", "scheduled", "trained", "step_at_20"),
    [
        ("hrm_v1", {}, 1000, 26041, 26040, 26),  # the published recipe: hrm-facts 1.3
        ("hrm_v1", {"global_batch_size": 384}, 1000, 52083, 52080, 52),
        ("hrm_v1", {"epochs": 100, "eval_interval": 20, "global_batch_size": 256}, 1000, 390, 390, 78),
        ("hrm_v1_tiny", {}, 1000, 937, 936, 312),  # the reference wrote step_312, step_624 and step_936
        ("hrm_v1_tiny", {"global_batch_size": 1001, "epochs": 1, "eval_interval": 1}, 1000, 0, 0, 0),
    ],
)
def test_the_length_of_known_runs(
    preset: str, overrides: dict[str, int], groups: int, scheduled: int, trained: int, step_at_20: int
) -> None:
    length = RunLength.of(load_config(preset, overrides), groups, 1.0)
    assert (length.scheduled_steps, length.trained_steps, length.step_at(20)) == (scheduled, trained, step_at_20)


@given(
    epochs=st.integers(1, 200),
    groups=st.integers(1, 2000),
    examples=st.floats(1, 10),
    batch=st.integers(1, 512),
)
def test_dropped_batches_only_ever_shorten_a_run(epochs: int, groups: int, examples: float, batch: int) -> None:
    config = load_config("hrm_v1_tiny", {"epochs": epochs, "global_batch_size": batch})
    length = RunLength.of(config, groups, examples)
    assert 0 <= length.trained_steps <= length.scheduled_steps <= epochs * groups * examples / batch
    assert length.scheduled_steps - length.trained_steps < length.intervals + 1
    if length.trained_steps:
        assert length.step_at(length.epoch_at(length.trained_steps)) == pytest.approx(length.trained_steps, abs=1)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0), (1, 20), (20, 20), (20.5, 40), (60, 60)])
def test_the_first_evaluation_at_or_after_an_epoch(epoch: float, expected: int) -> None:
    assert RunLength.of(load_config("hrm_v1_tiny"), 1000, 1.0).first_evaluation_at_or_after(epoch) == expected


@pytest.mark.parametrize(
    ("step", "factor"),
    [(1, 0.01), (50, 0.5), (99, 0.99), (100, 1.0), (600, 0.55), (1100, 0.1)],
)
def test_the_rate_warms_up_in_a_line_and_falls_along_a_cosine(step: int, factor: float) -> None:
    rate = learning_rate(2.0, step, total_steps=1100, warmup_steps=100, min_ratio=0.1)
    assert rate == pytest.approx(2.0 * factor)


@given(
    step=st.integers(1, 5000),
    total=st.integers(1, 5000),
    warmup=st.integers(0, 6000),
    ratio=st.floats(0, 1),
)
def test_the_rate_is_never_negative_nor_above_its_base(step: int, total: int, warmup: int, ratio: float) -> None:
    rate = learning_rate(1.0, min(step, total), total_steps=total, warmup_steps=warmup, min_ratio=ratio)
    assert -1e-12 <= rate <= 1 + 1e-12
    assert math.isfinite(rate)
