"""What is wrong with a plan: each finding by its kind and key, with a remedy that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hrm_sweep.config import load_config, preset_names
from hrm_sweep.planning.lint import Kind, Level
from hrm_sweep.planning.plan_lint import ENOUGH_PUZZLES, lint_learning_rate, lint_plan
from hrm_sweep.planning.puzzle_facts import PuzzleFacts
from hrm_sweep.planning.run_plan import plan_run

GIB = 2**30


def found(preset: str = "hrm_v1_tiny", memory: int | None = None, **overrides: Any) -> list[tuple[Level, Kind, str]]:
    config = load_config(preset, overrides)
    plan = plan_run(config, PuzzleFacts.of(config))
    return [(finding.level, finding.kind, finding.key) for finding in lint_plan(plan, memory)]


FEW = (Level.ADVICE, Kind.CANNOT_BE_JUDGED, "eval_puzzles")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, [FEW]),  # 200 of 400 test puzzles: known to seven points
        ({"data.test_size": 2 * ENOUGH_PUZZLES}, []),
        ({"data.test_size": 2 * ENOUGH_PUZZLES, "eval_puzzles": 384}, [FEW]),
        ({"eval_interval": 1}, [(Level.WARNING, Kind.WASTEFUL, "eval_interval"), FEW]),
        ({"lr_warmup_steps": 600}, [(Level.WARNING, Kind.WASTEFUL, "lr_warmup_steps"), FEW]),
        ({"lr_warmup_steps": 6000}, [FEW]),  # `lint` names it: the warm-up never ends
        ({"memory": 2**20}, [(Level.WARNING, Kind.CANNOT_WORK, "micro_batch_size"), FEW]),
    ],
)
def test_each_fault_is_told_once_by_its_key(
    folder: Path, overrides: dict[str, Any], expected: list[tuple[Level, Kind, str]]
) -> None:
    assert found(**overrides) == expected


def test_a_learning_rate_that_no_run_can_have_is_named_where_all_runs_have_one() -> None:
    """The bound is that of the rule lr_out_of_range: lr x sqrt(hidden_size) above 0.2; 0.025 at 64 units."""
    low, high, higher = (load_config("hrm_v1_tiny", {"arch.hidden_size": 64, "lr": lr}) for lr in (0.02, 0.03, 3.0))
    assert list(lint_learning_rate([low, high])) == []
    (finding,) = lint_learning_rate([high, higher])
    assert (finding.level, finding.kind, finding.key) == (Level.WARNING, Kind.CANNOT_WORK, "lr")
    assert finding.message.startswith("0.03 to 3 is too high")
    assert "with hidden_size 64 at most 0.025" in finding.message
    (finding,) = lint_learning_rate([higher])
    assert finding.message.startswith("3 is too high")


@pytest.mark.parametrize("preset", preset_names())
def test_presets_have_nothing_to_complain_about(folder: Path, preset: str) -> None:
    assert [one for one in found(preset, memory=80 * GIB) if one[0] is not Level.ADVICE] == []


def test_the_remedy_of_a_batch_that_does_not_fit_fits(folder: Path) -> None:
    assert found("hrm_v1", memory=16 * GIB)[0][2] == "micro_batch_size"
    assert found("hrm_v1", memory=16 * GIB, micro_batch_size=192) == []


@pytest.mark.parametrize(
    ("batch", "at_once", "advice"),
    [
        (512, None, "micro_batch_size=128 computes the same with less"),
        (512, 16, "micro_batch_size=4 computes the same with less"),
        (512, 2, "a smaller model (arch.hidden_size, arch.H_layers, arch.L_layers) takes less"),
        (2, None, "a smaller model (arch.hidden_size, arch.H_layers, arch.L_layers) takes less"),
    ],
)
def test_what_is_proposed_against_too_little_memory_takes_less(batch: int, at_once: int | None, advice: str) -> None:
    config = load_config("hrm_v1_tiny", {"global_batch_size": batch, "micro_batch_size": at_once})
    finding = next(iter(lint_plan(plan_run(config, PuzzleFacts.of(config)), memory_bytes=2**20)))
    assert finding.message.endswith(f"of 1 MiB that there are; {advice}")
