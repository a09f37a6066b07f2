"""How many trials at once: as many as do most together, as far as this machine was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_studies import small_space

from hrm_sweep.planning.calibration import Calibrate, Setting, Shape, _keep
from hrm_sweep.planning.speed import Measured, Point, Speed
from hrm_sweep.sweep import jobs, resources
from hrm_sweep.sweep.jobs import measured_share
from hrm_sweep.sweep.resources import SMALL_MODEL_WIDTH, Share, share_out
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.space_lint import SpaceReport, lint_space

CORES = 8


@pytest.fixture(autouse=True)
def eight_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRM_SWEEP_CACHE", str(tmp_path / "cache"))
    for module in (jobs, resources):
        monkeypatch.setattr(module, "available_cores", lambda: CORES)
    monkeypatch.setattr(resources, "visible_gpus", lambda: ())


def space_of(data: Path, width: int, **changes: Any) -> SearchSpace:
    arch = {"hidden_size": width, "num_heads": 2, "H_layers": 1, "L_layers": 1, "forward_dtype": "float32"}
    base = {"data_path": str(data), "epochs": 4, "eval_interval": 1, "global_batch_size": 50, "arch": arch}
    return small_space(base=base, **{"budget": {"trials": 30}, **changes})


def known(report: SpaceReport, jobs: int, threads: int, step_s: float) -> None:
    """What an earlier measurement of this setting left in the cache."""
    one = report.combinations[0]
    point = Point.of(one.config, one.puzzles.train.seq_len)
    speed = Speed((Measured(point, step_s, 0.1, 100, 1.0, 0.0, 0.0, None),), 1.8e9)
    _keep(Shape(one.config, one.puzzles.train, Setting(jobs, threads)), speed)


def chosen(space: SearchSpace, report: SpaceReport) -> Share:
    rule = share_out(space.resources, [one.config for one in report.combinations])
    return measured_share(space, report, rule, Calibrate.NEVER)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({}, Share(1, 8)),  # nothing is known: the rule
        ({1: 1.0}, Share(1, 8)),
        ({1: 1.0, 2: 1.95}, Share(1, 8)),  # 1.03 times as much is not worth it
        ({1: 1.0, 2: 1.5}, Share(2, 4)),
        ({1: 1.0, 2: 1.5, 4: 2.0, 8: 3.9}, Share(4, 2)),
        ({1: 1.0, 2: 1.1, 4: 1.2, 8: 1.3}, Share(8, 1)),
        ({1: 1.0, 4: 1.0}, Share(1, 8)),  # what lies between is not known
    ],
)
def test_twice_as_many_for_as_long_as_that_gains(sudoku_4x4: Path, seconds: dict[int, float], expected: Share) -> None:
    space = space_of(sudoku_4x4, SMALL_MODEL_WIDTH + 4)
    report = lint_space(space, "space")
    for at_once, step_s in seconds.items():
        known(report, at_once, CORES // at_once, step_s)
    assert chosen(space, report) == expected


@pytest.mark.parametrize(
    ("width", "changes", "expected"),
    [
        (64, {}, Share(8, 1)),
        (64, {"budget": {"trials": 3}}, Share(3, 2)),  # the cores of five jobs that have nothing to do
        (132, {"budget": {"trials": 1}}, Share(1, 8)),
        (132, {"resources": {"jobs": 3}}, Share(3, 2)),
        (132, {"resources": {"processes": 2}}, Share(1, 8)),
    ],
    ids=["small", "few trials", "one trial", "a number", "processes"],
)
def test_what_leaves_nothing_to_measure(sudoku_4x4: Path, width: int, changes: dict[str, Any], expected: Share) -> None:
    space = space_of(sudoku_4x4, width, **changes)
    report = lint_space(space, "space")
    known(report, 1, 8, 1.0)
    known(report, 2, 4, 0.1)
    assert chosen(space, report) == expected


def test_jobs_whose_memory_does_not_fit_are_not_tried(sudoku_4x4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_of(sudoku_4x4, 132)
    report = lint_space(space, "space")
    for at_once in (1, 2, 4):
        known(report, at_once, CORES // at_once, 1.0)
    there = jobs.plan_run(report.combinations[0].config, report.combinations[0].puzzles).memory.total * 3
    monkeypatch.setattr(jobs, "memory_of_a_trial", lambda share, _: there // share.jobs)
    assert chosen(space, report) == Share(2, 4)


def test_a_machine_that_cannot_be_measured_keeps_the_rule(sudoku_4x4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    space = space_of(sudoku_4x4, 132)
    report = lint_space(space, "space")
    said: list[str] = []
    share = measured_share(space, report, Share(1, 8), Calibrate.MISSING, said.append)
    assert share == Share(1, 8)
    assert "could not be measured" in said[-1]
