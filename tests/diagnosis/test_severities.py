"""How bad a sign is depends on the stage of the run and on what its configuration chose."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hrm_sweep.diagnosis import Severity, Verdict

Row = dict[str, Any]


def halting_after(steps: int, limit: int, exact: Callable[[int], float], since: int = 60) -> Callable[[Row], Row]:
    """Every slot halts after `steps`, from the row after `since` on; `exact` gives the solved share by step."""

    def change(row: Row) -> Row:
        if row["kind"] == "train":
            taken = steps if row["step"] > since else limit
            histogram = [90 if number == taken else 0 for number in range(1, limit + 1)]
            row |= {"act_histogram": histogram, "count": 90, "act_steps": taken, "exact_accuracy": exact(row["step"])}
        return row

    return change


@pytest.mark.parametrize(
    ("exact", "severity"),
    [
        (lambda step: 0.1, Severity.INFO),
        (lambda step: 0.3, Severity.WARNING),
        (lambda step: 0.4 * step / 936, Severity.INFO),
        (lambda step: 0.3 if step < 500 else 0.25, Severity.WARNING),
    ],
    ids=["few are solved", "no more than before", "ever more are solved", "fewer than before"],
)
def test_halting_at_once_is_a_fault_when_many_puzzles_stay_unsolved(
    healthy: Any, exact: Callable[[int], float], severity: Severity
) -> None:
    finding = healthy.rows(halting_after(1, 8, exact)).finding("act_collapsed")
    assert (finding.verdict, finding.severity) == (Verdict.FIRED, severity)


@pytest.mark.parametrize(("limit", "severity"), [(2, Severity.ADVICE), (3, Severity.WARNING)])
@pytest.mark.parametrize(
    ("rule", "exploration"), [("act_constant", 0.1), ("act_constant", 0.0), ("act_exploration_off", 0.0)]
)
def test_two_steps_that_never_vary_are_advice(
    healthy: Any, rule: str, exploration: float, limit: int, severity: Severity
) -> None:
    healthy.config(arch__halt_max_steps=limit, arch__halt_exploration_prob=exploration)
    finding = healthy.rows(halting_after(limit, limit, lambda step: 0.7)).finding(rule)
    assert (finding.verdict, finding.severity) == (Verdict.FIRED, severity)


def evaluated(*exact: float) -> Callable[[Row], Row]:
    by_step = dict(zip((312, 624, 936), exact, strict=True))
    return lambda row: row | {"exact_accuracy": by_step[row["step"]], "count": 1000} if row["kind"] == "eval" else row


@pytest.mark.parametrize(
    ("exact", "state", "severity"),
    [
        ((0.1, 0.8, 0.2), "completed", Severity.WARNING),
        ((0.1, 0.8, 0.2), "running", Severity.ADVICE),
        ((0.8, 0.2, 0.2), "running", Severity.WARNING),
    ],
    ids=["at its end", "one dip of a live run", "a live run that stays down"],
)
def test_a_collapse_counts_when_it_lasts(
    healthy: Any, exact: tuple[float, ...], state: str, severity: Severity
) -> None:
    healthy.rows(evaluated(*exact)).status(state=state, owner={"host": "another machine", "pid": 1, "started": "1"})
    finding = healthy.finding("late_collapse")
    assert (finding.verdict, finding.severity) == (Verdict.FIRED, severity)


def evaluate_often(case: Any, *exact: float) -> None:
    """Evenly spaced evaluations of 1000 puzzles in place of those that the run has."""
    case.rows(lambda row: None if row["kind"] == "eval" else row)
    with (case.path / "metrics.jsonl").open("a") as file:
        for number, share in enumerate(exact, 1):
            step = 936 * number // len(exact)
            row = {"kind": "eval", "step": step, "epoch": step / 15.6, "time_s": 60.0, "count": 1000}
            file.write(json.dumps(row | {"exact_accuracy": share, "accuracy": 0.9}) + "\n")


@pytest.mark.parametrize(
    ("exact", "severity"),
    [
        ((0.1, 0.4, 0.1, 0.6, 0.25), Severity.ADVICE),
        ((0.1, 0.3, 0.4, 0.6, 0.25), Severity.WARNING),
        ((0.1, 0.4, 0.1, 0.6, 0.25, 0.2), Severity.WARNING),
    ],
    ids=["it came back before", "it never fell before", "it stays down"],
)
def test_the_end_of_a_run_that_swings_is_advice(healthy: Any, exact: tuple[float, ...], severity: Severity) -> None:
    evaluate_often(healthy, *exact)
    finding = healthy.finding("late_collapse")
    assert (finding.verdict, finding.severity) == (Verdict.FIRED, severity)


@pytest.mark.parametrize(("exact", "verdict"), [(0.02, Verdict.FIRED), (0.3, Verdict.CLEAR)])
def test_halting_at_once_is_a_fault_when_evaluations_with_all_steps_fail(
    healthy: Any, exact: float, verdict: Verdict
) -> None:
    healthy.rows(halting_after(1, 8, lambda step: 0.9))
    evaluate_often(healthy, *[exact] * 6)
    assert healthy.finding("act_collapsed").verdict is verdict


@pytest.mark.parametrize(("until", "severity"), [(200, Severity.WARNING), (936, Severity.ERROR)])
def test_a_configuration_alone_warns_and_does_not_condemn(healthy: Any, until: int, severity: Severity) -> None:
    healthy.config(lr=1e-7).rows(lambda row: row | {"exact_accuracy": 0.0}).until(until)
    assert healthy.finding("lr_out_of_range").severity is severity


@pytest.mark.parametrize(("lr", "verdict"), [(1e-4, Verdict.CLEAR), (1e-3, Verdict.FIRED)])
def test_a_q_head_is_blamed_when_it_had_the_steps_to_learn(healthy: Any, lr: float, verdict: Verdict) -> None:
    healthy.set("train", exact_accuracy=0.3, q_halt_loss=1.5, lr=lr)
    assert healthy.finding("q_uninformative").verdict is verdict


@pytest.mark.parametrize(("exact", "reached"), [(0.0, "cells 0."), (0.25, "exact accuracy 0.250.")])
def test_the_verdict_of_a_pruned_run_says_what_it_had_reached(healthy: Any, exact: float, reached: str) -> None:
    pruned = healthy.set("eval", exact_accuracy=exact).status(state="pruned").diagnose()
    assert pruned.exit_code == 0
    assert pruned.verdict.startswith("No fault found: the pruner")
    assert reached in pruned.verdict


def test_a_pruned_run_with_a_fault_is_sick(healthy: Any) -> None:
    assert healthy.config(lr_warmup_steps=5000).status(state="pruned").diagnose().verdict.startswith("Sick")
