"""How long a run still takes, from what it was measured to take: nothing is said that was not measured."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from hrm_sweep.runs import MetricRow

_RECENT = 30
"""So many of the last rows tell the speed, so that a machine that has become busy, or quiet, is noticed."""

_UNITS = ((100, "s", 1), (100 * 60, "min", 60), (48 * 3600, "h", 3600))


def span(seconds: float) -> str:
    """A time for people: 40 s, 12 min, 3.5 h, 4.1 days."""
    for limit, unit, size in _UNITS:
        if seconds < limit:
            return f"{seconds / size:.{0 if unit != 'h' else 1}f} {unit}"
    return f"{seconds / 86400:.1f} days"


@dataclass(frozen=True)
class TimeLeft:
    """Seconds until a run ends, if it goes on to its end. `at_least`: no evaluation was measured yet, and some are to
    come, so it takes longer by them."""

    seconds: float
    at_least: bool

    def __str__(self) -> str:
        return f"{'> ' if self.at_least else ''}{span(self.seconds)}"


class Pace:
    """The speed of one run, fed with its rows as they come.

    Training is measured in seconds an epoch over the last rows, evaluations by themselves: where the test set is large
    they are most of the time, and a rate over both would jump with each.
    """

    def __init__(self, epochs: int, eval_interval: int) -> None:
        self._epochs, self._eval_interval = epochs, eval_interval
        self._steps: deque[tuple[float, float]] = deque(maxlen=_RECENT)  # (epochs, seconds) of training between rows
        self._evaluations: deque[float] = deque(maxlen=3)
        self._last: MetricRow | None = None

    def add(self, row: MetricRow) -> None:
        """Take a row into account. What a resume trains again does not go back in time."""
        before, self._last = self._last, row
        if before is None or row.time_s < before.time_s or row.epoch < before.epoch:
            return
        epochs, seconds = row.epoch - before.epoch, row.time_s - before.time_s
        if row.kind == "train":
            self._steps.append((epochs, seconds))
        elif (rate := self._seconds_per_epoch()) is not None:
            self._evaluations.append(max(0.0, seconds - rate * epochs))

    def left(self) -> TimeLeft | None:
        """None before two train rows, which measure a speed, have been seen."""
        rate = self._seconds_per_epoch()
        if rate is None or self._last is None:
            return None
        epochs = max(0.0, self._epochs - self._last.epoch)
        evaluated = math.floor(self._last.epoch / self._eval_interval + 1e-9)
        if self._last.kind == "train" and math.isclose(self._last.epoch, evaluated * self._eval_interval):
            evaluated -= 1  # its evaluation is still going on
        evaluations = max(0, math.ceil(self._epochs / self._eval_interval) - evaluated)
        each = sum(self._evaluations) / len(self._evaluations) if self._evaluations else 0.0
        return TimeLeft(epochs * rate + evaluations * each, at_least=evaluations > 0 and not self._evaluations)

    def _seconds_per_epoch(self) -> float | None:
        epochs = sum(epochs for epochs, _ in self._steps)
        return sum(seconds for _, seconds in self._steps) / epochs if epochs > 0 else None
