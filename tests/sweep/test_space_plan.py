"""The plan of a study: what every value of a parameter costs, and the findings of every kind, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_studies import small_space

from hrm_sweep.config import space_names
from hrm_sweep.planning.calibration import Setting
from hrm_sweep.planning.lint import Kind, Level
from hrm_sweep.planning.run_plan import plan_run
from hrm_sweep.planning.speed import Measured, Point, Speed
from hrm_sweep.planning.study_plan import StudyPlan
from hrm_sweep.report.plan_text import fixed_line, without_effect
from hrm_sweep.sweep.resources import Share
from hrm_sweep.sweep.space import load_space
from hrm_sweep.sweep.space_lint import lint_space
from hrm_sweep.sweep.space_plan import plan_space


@pytest.fixture(autouse=True)
def no_speed_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRM_SWEEP_CACHE", str(tmp_path / "empty"))


def planned(parameters: dict[str, Any], overrides: dict[str, Any] | None = None, **changes: Any) -> StudyPlan:
    overrides = {"epochs": 60, "eval_interval": 20, **(overrides or {})}
    space = small_space(base="hrm_v1_tiny", overrides=overrides, parameters=parameters, **changes)
    return plan_space(space, lint_space(space, "mine", build=False), Share(2, 1))


def multiples(plan: StudyPlan, name: str, quantity: str) -> dict[Any, float]:
    (effect,) = [effect for effect in plan.effects if effect.name == name]
    return {one.value: getattr(one, quantity) for one in effect.values}


def test_cycles_change_the_cost_and_act_steps_only_that_of_evaluation_and_what_is_seen(folder: Path) -> None:
    """In module calls 2 H (L + 1) + 4 a step, H (L + 1) an ACT step of an evaluation; hrm_v1_tiny has 2 x 2, and 8."""
    plan = planned(
        {
            "arch.H_cycles": {"min": 1, "max": 3},
            "arch.halt_max_steps": {"values": [1, 2, 8, 16]},
            "lr": {"min": 1e-4, "max": 1e-2},
        }
    )
    assert multiples(plan, "arch.H_cycles", "train") == {1: 10 / 16, 2: 1.0, 3: 22 / 16}
    assert multiples(plan, "arch.H_cycles", "evaluation") == {1: 0.5, 2: 1.0, 3: 1.5}
    assert multiples(plan, "arch.H_cycles", "fresh") == {1: 1.0, 2: 1.0, 3: 1.0}
    assert multiples(plan, "arch.halt_max_steps", "train") == {1: 10 / 16, 2: 1.0, 8: 1.0, 16: 1.0}
    assert multiples(plan, "arch.halt_max_steps", "evaluation") == {1: 1 / 8, 2: 1 / 4, 8: 1.0, 16: 2.0}
    assert multiples(plan, "arch.halt_max_steps", "fresh") == {1: 8.0, 2: 4.0, 8: 1.0, 16: 0.5}
    assert [effect.name for effect in plan.effects if not effect.is_any] == ["lr"]
    assert not list(folder.iterdir()), "planning builds nothing"


def test_a_parameter_that_is_fixed_is_said_to_be_searched_no_longer(folder: Path) -> None:
    searched = {"lr": {"min": 1e-4, "max": 1e-2}, "arch.H_cycles": {"values": [1, 2]}, "weight_decay": {"values": [3]}}
    space = small_space(base="hrm_v1_tiny", overrides={"epochs": 60, "eval_interval": 20}, parameters=searched)
    for changes, fixed, unchanged in (
        ({}, "fixed, not searched: weight_decay=3", "no effect on cost: lr"),
        ({"lr": 0.002}, "fixed, not searched: lr=0.002 weight_decay=3", None),
    ):
        one = space.with_overrides(changes)
        plan = plan_space(one, lint_space(one, "mine", build=False), Share(2, 1))
        assert fixed_line(plan) == fixed
        assert without_effect(plan) == unchanged
    assert fixed_line(planned({"lr": {"values": [1e-3, 2e-3]}})) is None


def test_trials_beside_each_other_share_the_time_of_a_budget(folder: Path) -> None:
    plan = planned({"lr": {"values": [1e-3, 2e-3]}}, budget={"trials": 10})
    assert (plan.seconds, plan.study_seconds, plan.trials_in(1)) == (None, None, None)
    speed = Speed((Measured(Point.of(plan.runs[0].config, 16), 0.1, 2.0, 100, 1e6, 0.0, 0.0, None),), 1.8e9)
    runs = tuple(plan_run(run.config, run.puzzles, speed) for run in plan.runs)
    timed = StudyPlan("timed", 10, Setting(2, 1), runs, (), (), ())
    assert timed.seconds is not None
    least, mean, most = timed.seconds
    assert least == mean == most
    assert timed.study_seconds == pytest.approx(5 * mean)
    assert timed.trials_in(mean * 3 / 3600 + 1e-6) == 6


@pytest.mark.parametrize(
    ("parameters", "overrides", "changes", "kind", "key"),
    [
        ({"lr_warmup_steps": {"values": [5000]}}, {}, {}, Kind.CANNOT_WORK, "lr_warmup_steps"),
        ({"lr_warmup_steps": {"values": [700]}}, {}, {}, Kind.WASTEFUL, "lr_warmup_steps"),
        ({"lr": {"min": 0.1, "max": 3.0}}, {}, {}, Kind.CANNOT_WORK, "lr"),
        (
            {"lr": {"values": [1e-3]}},
            {"lr_warmup_steps": 400},
            {"pruner": {"zero_accuracy": {"epoch": 20}}},
            Kind.CANNOT_BE_JUDGED,
            "pruner.zero_accuracy",
        ),
        (
            {"lr": {"values": [1e-3]}},
            {},
            {"pruner": {"median": {"warmup_epochs": 50}}},
            Kind.CANNOT_BE_JUDGED,
            "pruner.median",
        ),
        ({"weight_decay": {"values": [0.1, 0.01]}}, {}, {}, Kind.WASTEFUL, "weight_decay"),
        ({"arch.halt_max_steps": {"values": [64]}}, {"eval_interval": 2}, {}, Kind.WASTEFUL, "eval_interval"),
        ({"global_batch_size": {"values": [700]}}, {"eval_interval": 2}, {}, Kind.WASTEFUL, "eval_interval"),
    ],
)
def test_each_kind_of_fault_is_found_once(
    folder: Path, parameters: dict[str, Any], overrides: dict[str, Any], changes: dict[str, Any], kind: Kind, key: str
) -> None:
    plan = planned(parameters, overrides, **changes)
    assert [(one.kind, one.key) for one in plan.findings if one.level is Level.WARNING and one.key == key] == [
        (kind, key)
    ]


def test_weight_decay_that_acts_is_no_waste_to_search(folder: Path) -> None:
    plan = planned({"weight_decay": {"values": [0.1, 10.0]}})
    assert [one.key for one in plan.findings if one.level is Level.WARNING] == []


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces_give_no_cause_for_warnings(name: str, folder: Path) -> None:
    """But that a CPU may have too little memory for the published batch."""
    space = load_space(name)
    plan = plan_space(space, lint_space(space, name, build=False), Share(1, 1))
    assert [one for one in plan.findings if one.level is Level.WARNING and one.key != "micro_batch_size"] == []
    assert {one.key for one in plan.findings if one.level is Level.ADVICE} <= {"eval_puzzles"}


def test_trials_run_in_rounds() -> None:
    def timed(trials: int, jobs: int) -> StudyPlan:
        plan = planned({"lr": {"values": [1e-3, 2e-3]}})
        speed = Speed((Measured(Point.of(plan.runs[0].config, 16), 0.1, 2.0, 100, 1e6, 0.0, 0.0, None),), 1.8e9)
        runs = tuple(plan_run(run.config, run.puzzles, speed) for run in plan.runs)
        return StudyPlan("timed", trials, Setting(jobs, 1), runs, (), (), ())

    assert timed(1, 1).seconds is not None
    _, mean, _ = timed(1, 1).seconds or (0, 0, 0)
    for trials, jobs, rounds in ((1, 4, 1), (3, 2, 2), (4, 2, 2), (9, 8, 2)):
        assert timed(trials, jobs).study_seconds == pytest.approx(rounds * mean)
    for halves, bought in ((1, 0), (3, 2), (5, 4)):  # two at once, in so many halves of a trial's time
        assert timed(9, 2).trials_in(halves * mean / 2 / 3600) == bought
