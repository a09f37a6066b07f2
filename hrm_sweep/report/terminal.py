"""A study in the terminal: a line for each change, and the summary at its end. Draws, decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape

from hrm_sweep.diagnosis.statistics import wilson
from hrm_sweep.report.goals import ShownGoal, front_in_words, front_mapping, goal_text
from hrm_sweep.report.pace import TimeLeft
from hrm_sweep.report.progress import duration

TO_BE_RETRIED = "to be retried"

STATES = ("complete", "pruned", "failed", TO_BE_RETRIED, "retried", "running")
"""Of a trial, in the order in which they are counted and drawn."""

STYLES = {
    "running": "cyan",
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
    TO_BE_RETRIED: "dim",
    "retried": "dim",
}


@dataclass(frozen=True)
class TrialLine:
    """A trial as the table shows it.

    state   running, complete, pruned, failed, to be retried (a failed attempt that another one will follow) or retried
            (one that another one followed).
    values  its parameters.
    epoch   up to which it was evaluated, of `epochs`; None before the first evaluation.
    latest, best  value of the last and of the best evaluation.
    said    whose remedy it is, why it was condemned, pruned or failed, what the diagnosis leads with.
    remedy_of  number of the trial that it is the remedy of; None for any other.
    is_audited  a pruner condemned it, and it goes on all the same.
    curve   values of its evaluations, in their order.
    left    until it ends, if it goes on to its end; None where nothing was measured.
    goals   values of all goals of the study, in their order, of a completed trial.
    violates  in words, the constraints that it does not keep to; empty for one that keeps to all, as far as is known.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    epoch: int | None = None
    epochs: int | None = None
    latest: float | None = None
    best: float | None = None
    said: str = ""
    remedy_of: int | None = None
    is_audited: bool = False
    curve: Sequence[float] = ()
    left: TimeLeft | None = None
    goals: Sequence[float] = ()
    violates: str = ""

    @property
    def is_in_trouble(self) -> bool:
        return self.state in ("pruned", "failed", TO_BE_RETRIED, "retried") or (
            self.is_audited and self.state == "running"
        )


@dataclass(frozen=True)
class StudyView:
    """A study as the table shows it. `ended` and `budget` count trials, retries not among them.

    left_s  seconds until the budget is reached, at the measured rate: (at best, expected, at worst); None where too few
            trials have ended to measure one.
    goals   of a study that has several, the main one first; empty where there is one.
    front   numbers of the trials that no other one beats in all of them, the best by the main goal first.
    """

    name: str
    metric: str
    maximize: bool
    ended: int
    budget: int
    running_s: float
    trials: Sequence[TrialLine]
    left_s: tuple[float, float, float] | None = None
    goals: Sequence[ShownGoal] = ()
    front: Sequence[int] = ()

    @property
    def on_front(self) -> list[TrialLine]:
        by_number = {trial.number: trial for trial in self.trials}
        return [by_number[number] for number in self.front if number in by_number]

    @property
    def best(self) -> TrialLine | None:
        """By the main goal, of those that keep to the constraints."""
        if self.goals:
            return next(iter(self.on_front), None)
        complete = [
            trial
            for trial in self.trials
            if trial.state == "complete" and trial.best is not None and not trial.violates
        ]
        sign = 1 if self.maximize else -1
        return max(complete, key=lambda trial: (sign * (trial.best or 0.0), -trial.number), default=None)


def spelled(values: Mapping[str, Any], *, short: bool = False) -> str:
    """`lr=0.001 arch.H_cycles=2`, as one would type it; short: without the sections, for a narrow column."""
    return " ".join(
        f"{key.rsplit('.', 1)[-1] if short else key}={f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in values.items()
    )


def number(value: float | None) -> str:
    """A value of the objective, in five characters where it is a share."""
    return "" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


def plain_line(trial: TrialLine, metric: str) -> str:
    """One line for a trial that has just changed its state, where there is no terminal to draw a table in."""
    parts = [f"trial {trial.number}: {trial.state}"]
    if trial.state == "complete":
        parts.append(f"{metric} {number(trial.best)}")
    if trial.state == "running":
        parts.append(spelled(trial.values))
    parts.append(trial.said)
    return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Summary:
    """The end of a study.

    unseen          (exact accuracy, number of puzzles) of the best trial on puzzles that selection never saw.
    unseen_problem  why there is no such number.
    audit           what the audit of the pruners says, empty where they condemned no trial.
    importances     of the parameters, and of how many completed trials they were computed.
    next_commands   what one would type now, with a word on why.
    """

    view: StudyView
    best_config: str | None
    unseen: tuple[float, int] | None
    unseen_problem: str | None
    audit: str = ""
    importances: Mapping[str, float] = field(default_factory=dict)
    importances_of: int = 0
    next_commands: Sequence[tuple[str, str]] = ()


FEW_FOR_IMPORTANCES = 20
"""With fewer completed trials the importances change their order from seed to seed (PED-ANOVA wants five trials among
the best quarter)."""


def summary_lines(summary: Summary) -> Iterator[str]:
    """The summary as lines with rich markup, so that a terminal and a file show the same words."""
    view, best = summary.view, summary.view.best
    yield ""
    took = f" in {duration(view.running_s)}" if view.running_s >= 1 else ""  # a study that was done before took none
    yield f"[bold]{escape(view.name)}[/bold]: {_counts(view)}{took}"
    if best is None:
        violating = [trial for trial in view.trials if trial.state == "complete" and trial.violates]
        if violating:
            yield f"no best configuration: none of {len(violating)} completed trials keeps to the constraints"
        else:
            yield "no trial completed, so there is no best configuration"
    else:
        yield from map(escape, front_lines(view))
        first = f" by {view.metric}" if view.goals else ""
        yield f"best{first}: trial {best.number}, {view.metric} {number(best.best)} on the puzzles it was selected by"
        yield f"  {escape(spelled(best.values))}"
        if summary.best_config:
            yield f"  {escape(summary.best_config)}"
    if summary.unseen is not None:
        share, n = summary.unseen
        low, high = wilson(share * n, n)
        yield (
            f"on puzzles that selection never saw: {share:.1%} solved "
            f"({round(share * n)} of {n}; 95 % interval {low:.1%} to {high:.1%})"
        )
    if summary.unseen_problem:
        yield f"on puzzles that selection never saw: not measured; {escape(summary.unseen_problem)}"
    for state in ("pruned", "failed", TO_BE_RETRIED):
        lines = [trial for trial in view.trials if trial.state == state]
        if lines:
            yield f"{state}:"
        for trial in lines:
            yield f"  trial {trial.number}  {escape(spelled(trial.values, short=True))}  {escape(trial.said)}"
    if summary.audit:
        yield f"pruners: {escape(summary.audit)}"
    violating = [trial for trial in view.trials if trial.state == "complete" and trial.violates]
    if violating:
        yield "completed, but a constraint is violated:"
    for trial in violating:
        yield f"  trial {trial.number}  {escape(spelled(trial.values, short=True))}  {escape(trial.violates)}"
    yield from _remedy_lines(view)
    if summary.importances:
        ranked = sorted(summary.importances.items(), key=lambda item: -item[1])
        yield (
            f"importance of the parameters (n = {summary.importances_of} completed trials): "
            + ", ".join(f"{escape(name)} {share:.0%}" for name, share in ranked)
        )
        if summary.importances_of < FEW_FOR_IMPORTANCES:
            yield f"  too few for more than a hint; {FEW_FOR_IMPORTANCES} completed trials give a stable order"
    if summary.next_commands:
        yield "next:"
    for command, why in summary.next_commands:
        yield f"  {escape(command)}  [dim]# {escape(why)}[/dim]"


def summary_mapping(summary: Summary) -> dict[str, Any]:
    """The summary for programs."""
    view, best = summary.view, summary.view.best
    states = [trial.state for trial in view.trials]
    return {
        "schema_version": 1,
        "study": view.name,
        "metric": view.metric,
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "budget": view.budget,
        "seconds": round(view.running_s, 3),
        "best": None
        if best is None
        else {"trial": best.number, "value": best.best, "values": dict(best.values), "config": summary.best_config},
        "unseen": None if summary.unseen is None else {"exact_accuracy": summary.unseen[0], "n": summary.unseen[1]},
        "unseen_problem": summary.unseen_problem,
        **front_mapping(view.goals, [(trial.number, trial.goals) for trial in view.on_front]),
        "importances": dict(summary.importances),
        "importances_of": summary.importances_of,
    }


def front_lines(view: StudyView) -> Iterator[str]:
    """The front of a study with several goals, as a table in plain text."""
    if not view.goals:
        return
    yield f"front: {front_in_words(view.goals, len(view.front))}"
    rows = [
        [str(trial.number), *map(goal_text, (goal.metric for goal in view.goals), trial.goals)]
        for trial in view.on_front
    ]
    table = [["trial", *(goal.metric for goal in view.goals)], *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    said = ["", *(spelled(trial.values, short=True) for trial in view.on_front)]
    for row, words in zip(table, said, strict=True):
        cells = "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {cells}  {words}".rstrip()


def _remedy_lines(view: StudyView) -> Iterator[str]:
    """Each remedy beside the trial that it is the remedy of."""
    by_number = {trial.number: trial for trial in view.trials}
    remedies = [trial for trial in view.trials if trial.remedy_of in by_number and trial.state != "retried"]
    if remedies:
        yield "remedies:"
    for trial in remedies:
        before = by_number[trial.remedy_of or 0]
        changed = {key: value for key, value in trial.values.items() if before.values.get(key) != value}
        yield (
            f"  trial {trial.number}  {escape(spelled(changed, short=True))}  {escape(trial.said)}: {view.metric} "
            f"{number(before.best) or 'none'} -> {number(trial.best) or 'none'}, {trial.state}"
        )


def _counts(view: StudyView) -> str:
    states = [trial.state for trial in view.trials]
    return ", ".join(f"{states.count(name)} {name}" for name in STATES if name in states) or "no trial"
