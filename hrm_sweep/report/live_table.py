"""The table of a running study. It fits whatever terminal it is drawn in, at every drawing anew, and no line wraps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from hrm_sweep.report.pace import span
from hrm_sweep.report.progress import duration
from hrm_sweep.report.sparkline import sparkline
from hrm_sweep.report.terminal import STYLES, TO_BE_RETRIED, StudyView, TrialLine, number, spelled

_WIDE = 110  # columns from which on values and reasons have a column each
_LINES_AROUND = 3  # two above the rows, and the line in which the cursor stands


@dataclass(frozen=True)
class LiveTable:
    """The trials that run and those that ended last: never more lines than the terminal has."""

    view: StudyView

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or options.size.height
        more_below = 1 if len(self.view.trials) > height - _LINES_AROUND - 1 else 0
        shown = most_telling(self.view, max(1, height - _LINES_AROUND - 1 - more_below))
        yield _line(Text.assemble((self.view.name, "bold"), "  ", _standing(self.view)))
        if (left := _left(self.view)) is not None:
            yield _line(Text(left, style="dim"))
        yield _table(shown, options.max_width, plain=options.ascii_only)
        hidden = sum(trial.state == "running" for trial in self.view.trials)
        hidden -= sum(trial.state == "running" for trial in shown)
        if hidden:
            yield _line(Text(f"and {hidden} more running", style="dim"))
        yield Text("")  # where the cursor stands, so that the ^C of an interrupt is written over nothing


def most_telling(view: StudyView, rows: int) -> list[TrialLine]:
    """At most `rows` trials: those that run, then the best, then those that ended last; by number."""
    running = [trial for trial in view.trials if trial.state == "running"]
    ended = [trial for trial in view.trials if trial.state not in ("running", TO_BE_RETRIED, "retried")]
    shown = running[-rows:]
    if view.best is not None and len(shown) < rows:
        shown.append(view.best)
    for trial in reversed(ended):
        if len(shown) >= rows:
            break
        if trial is not view.best:
            shown.append(trial)
    return sorted(shown, key=lambda trial: trial.number)


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _standing(view: StudyView) -> str:
    best = view.best
    leader = f"best {view.metric} {number(best.best)} (trial {best.number})" if best else "none completed yet"
    return f"{view.ended} of {view.budget} trials, {duration(view.running_s)}, {leader}"


def _left(view: StudyView) -> str | None:
    """The time left of the study, where enough trials have ended to measure a rate."""
    if view.left_s is None:
        return None
    soonest, expected, latest = view.left_s
    return f"about {span(expected)} left ({span(soonest)} to {span(latest)}), at the rate of the last trials"


def _table(trials: Sequence[TrialLine], width: int, *, plain: bool) -> Table:
    is_wide = width >= _WIDE
    gap = 2 if is_wide else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold", expand=True)
    curve_width = 10 if not is_wide else min(40, width // 6)
    # Fixed widths: in a narrow terminal the long texts give way, not the numbers.
    for heading, columns in (("trial", 5), ("state", 8), ("epoch", 9 if is_wide else 7), ("now", 5), ("best", 5)):
        table.add_column(heading, justify="right" if heading != "state" else "left", no_wrap=True, width=columns)
    table.add_column("curve", no_wrap=True, width=curve_width)
    table.add_column("left", justify="right", no_wrap=True, width=8)
    if is_wide:  # as wide as the values are, so that the reasons have the rest
        longest = max((cell_len(spelled(trial.values, short=True)) for trial in trials), default=0)
        half = (width - 40 - curve_width - 7 * gap) // 2
        table.add_column("values", overflow="ellipsis", no_wrap=True, width=max(8, min(longest, half)))
        table.add_column("", overflow="ellipsis", no_wrap=True, ratio=1)
    else:
        table.add_column("values", overflow="ellipsis", no_wrap=True, ratio=1)
    low, high = _limits(trials)
    for trial in trials:
        epoch = "" if trial.epochs is None else f"{trial.epoch or 0}/{trial.epochs}"
        values = spelled(trial.values, short=True)
        texts = [values, trial.said] if is_wide else [trial.said if trial.is_in_trouble and trial.said else values]
        table.add_row(
            str(trial.number),
            Text("retry" if trial.state == TO_BE_RETRIED else trial.state, style=STYLES[trial.state]),
            epoch,
            number(trial.latest),
            number(trial.best),
            Text(sparkline(trial.curve, low, high, curve_width, plain=plain), style=STYLES[trial.state]),
            "" if trial.left is None else str(trial.left),
            *(Text(text) for text in texts),
        )
    return table


def _limits(trials: Sequence[TrialLine]) -> tuple[float, float]:
    """Of all curves shown, so that they can be compared."""
    values = [value for trial in trials for value in trial.curve if math.isfinite(value)]
    return min(values, default=0.0), max(values, default=1.0)
