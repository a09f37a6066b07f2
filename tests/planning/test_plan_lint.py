"""What is wrong with a plan: each finding by its kind and key, with a remedy that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hrm_sweep.config import load_config, preset_names
from hrm_sweep.planning.lint import Kind, Level
from hrm_sweep.planning.plan_lint import ENOUGH_PUZZLES, lint_plan
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


@pytest.mark.parametrize("preset", preset_names())
def test_presets_have_nothing_to_complain_about(folder: Path, preset: str) -> None:
    assert [one for one in found(preset, memory=80 * GIB) if one[0] is not Level.ADVICE] == []


def test_the_remedy_of_a_batch_that_does_not_fit_fits(folder: Path) -> None:
    assert found("hrm_v1", memory=16 * GIB)[0][2] == "micro_batch_size"
    assert found("hrm_v1", memory=16 * GIB, micro_batch_size=192) == []
