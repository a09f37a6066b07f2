"""A study in the terminal: the live table of its trials, and the summary at its end. Draws, decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hrm_sweep.diagnosis.statistics import wilson
from hrm_sweep.report.progress import duration

_STYLES = {"running": "cyan", "complete": "green", "pruned": "yellow", "failed": "red", "retried": "dim"}


@dataclass(frozen=True)
class TrialLine:
    """A trial as the table shows it.

    state   running, complete, pruned, failed or retried (a failed attempt that another one followed).
    values  its parameters.
    epoch   up to which it was evaluated, of `epochs`; None before the first evaluation.
    latest, best  value of the last and of the best evaluation.
    said    whose remedy it is, why it was pruned or failed, what the diagnosis leads with.
    remedy_of  number of the trial that it is the remedy of; None for any other.
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


@dataclass(frozen=True)
class StudyView:
    """A study as the table shows it. `ended` and `budget` count trials, retries not among them."""

    name: str
    metric: str
    maximize: bool
    ended: int
    budget: int
    running_s: float
    trials: Sequence[TrialLine]

    @property
    def best(self) -> TrialLine | None:
        complete = [trial for trial in self.trials if trial.state == "complete" and trial.best is not None]
        sign = 1 if self.maximize else -1
        return max(complete, key=lambda trial: (sign * (trial.best or 0.0), -trial.number), default=None)


def spelled(values: Mapping[str, Any], *, short: bool = False) -> str:
    """`lr=0.001 arch.H_cycles=2`, as one would type it; short: without the sections, for a narrow column."""
    return " ".join(
        f"{key.rsplit('.', 1)[-1] if short else key}={f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in values.items()
    )


def live_table(view: StudyView, rows: int) -> RenderableType:
    """The running trials and the last that ended, at most `rows` of them."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    shown = _most_telling(view, rows)
    # Fixed widths: in a narrow terminal the long texts give way, not the numbers.
    for heading, width in (("trial", 5), ("state", 8), ("epoch", 7), ("now", 5), ("best", 5)):
        table.add_column(heading, justify="right" if heading != "state" else "left", no_wrap=True, width=width)
    table.add_column("values", overflow="ellipsis", no_wrap=True, ratio=3)
    if any(trial.said for trial in shown):
        table.add_column("", overflow="ellipsis", no_wrap=True, ratio=2)
    for trial in shown:
        epoch = "" if trial.epochs is None else f"{trial.epoch or 0}/{trial.epochs}"
        table.add_row(
            str(trial.number),
            Text(trial.state, style=_STYLES[trial.state]),
            epoch,
            _number(trial.latest),
            _number(trial.best),
            escape(spelled(trial.values, short=True)),
            *([escape(trial.said)] if len(table.columns) > 6 else []),
        )
    best = view.best
    leader = f"best {view.metric} {_number(best.best)} (trial {best.number})" if best else "none completed yet"
    head = f"[bold]{view.name}[/bold]  {view.ended} of {view.budget} trials, {duration(view.running_s)}, {leader}"
    return Group(Text.from_markup(head), table)


def _most_telling(view: StudyView, rows: int) -> list[TrialLine]:
    running = [trial for trial in view.trials if trial.state == "running"]
    ended = [trial for trial in view.trials if trial.state != "running"]
    room = max(1, rows - len(running))
    shown = [*running[-rows:], *ended[-room:]]
    if view.best is not None and view.best not in shown:
        shown.append(view.best)
    return sorted(shown, key=lambda trial: trial.number)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def plain_line(trial: TrialLine, metric: str) -> str:
    """One line for a trial that has just changed its state, where there is no terminal to draw a table in."""
    parts = [f"trial {trial.number}: {trial.state}"]
    if trial.state == "complete":
        parts.append(f"{metric} {_number(trial.best)}")
    if trial.state == "running":
        parts.append(spelled(trial.values))
    parts.append(trial.said)
    return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Summary:
    """The end of a study.

    unseen          (exact accuracy, number of puzzles) of the best trial on puzzles that selection never saw.
    unseen_problem  why there is no such number.
    importances     of the parameters, and of how many completed trials they were computed.
    next_commands   what one would type now, with a word on why.
    """

    view: StudyView
    best_config: str | None
    unseen: tuple[float, int] | None
    unseen_problem: str | None
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
        yield "no trial completed, so there is no best configuration"
    else:
        yield f"best: trial {best.number}, {view.metric} {_number(best.best)} on the puzzles it was selected by"
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
    for title, state in (("pruned", "pruned"), ("failed", "failed")):
        lines = [trial for trial in view.trials if trial.state == state]
        if lines:
            yield f"{title}:"
        for trial in lines:
            yield f"  trial {trial.number}  {escape(spelled(trial.values, short=True))}  {escape(trial.said)}"
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
            f"{_number(before.best) or 'none'} -> {_number(trial.best) or 'none'}, {trial.state}"
        )


def _counts(view: StudyView) -> str:
    states = [trial.state for trial in view.trials]
    names = ("complete", "pruned", "failed", "retried", "running")
    return ", ".join(f"{states.count(name)} {name}" for name in names if name in states) or "no trial"
