"""How long a run takes, from a few measured points: seconds of a step between them, and of an evaluation.

A train step is a part that is always there (optimizers, Python), one that grows with the calls of a module (what a call
costs whatever its size), one that grows with the rows (loss, data), and one with both (the operations). So between the
corners of smallest and largest work a row and batch, seconds are linear in each of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hrm_sweep.config import RunConfig
from hrm_sweep.planning.cost import evaluation_flops, train_flops

TRIAL_OVERHEAD_S = 0.4
"""Claim, process, diagnosis and bookkeeping of a trial; `tests/benchmarks/sweep_overhead.py` measures 0.20 on a quiet
machine, up to 0.36 on a busy one."""

_REACH = 1.05  # how far beyond the measured corners a point still counts as covered


@dataclass(frozen=True)
class Point:
    """Where on the plane of costs a configuration stands: operations of a row in a train step, and rows a step."""

    work: float
    batch: int

    @staticmethod
    def of(config: RunConfig, seq_len: int) -> Point:
        return Point(train_flops(config, seq_len, 1) / config.global_batch_size, config.global_batch_size)


@dataclass(frozen=True)
class Measured:
    """Seconds measured at one point.

    step_s            of a step, mean, rows of metrics included.
    evaluation_s      of an evaluation of `evaluated` puzzles, each with operations `evaluation_work` in all.
    saving_s          of the files written after an evaluation.
    start_s           from the call of the training to its first step, torch being loaded.
    peak_bytes        the most memory taken beyond what was taken before; None where the system does not say.
    waited            share of the steps' time for which the measuring thread stood in line for a core, because other
                      programs had it; None where the system does not say.
    """

    point: Point
    step_s: float
    evaluation_s: float
    evaluated: int
    evaluation_work: float
    saving_s: float
    start_s: float
    peak_bytes: int | None
    waited: float | None = None


@dataclass(frozen=True)
class Seconds:
    """What a run spends its time on."""

    start: float
    training: float
    evaluation: float
    saving: float

    @property
    def total(self) -> float:
        return self.start + self.training + self.evaluation + self.saving


@dataclass(frozen=True)
class Speed:
    """How fast one shape of model is here, with so many threads and so many of its kind beside it. `at` is when that
    was measured, in seconds since the epoch."""

    measured: tuple[Measured, ...]
    at: float

    def covers(self, points: Iterable[Point]) -> bool:
        """Whether all points lie between those measured, or as good as."""
        works = [one.point.work for one in self.measured]
        batches = [one.point.batch for one in self.measured]
        return all(
            min(works) / _REACH <= point.work <= max(works) * _REACH
            and min(batches) / _REACH <= point.batch <= max(batches) * _REACH
            for point in points
        )

    def step_s(self, point: Point) -> float:
        """Seconds of a train step."""
        at = {one.point: one.step_s for one in self.measured}
        by_batch = {
            batch: [(p.work, seconds) for p, seconds in at.items() if p.batch == batch]
            for batch in {p.batch for p in at}
        }
        return _on_line([(batch, _on_line(line, point.work)) for batch, line in by_batch.items()], point.batch)

    def evaluation_s(self, config: RunConfig, seq_len: int, puzzles: int) -> float:
        """Seconds of one evaluation."""
        work = evaluation_flops(config, seq_len, 1)
        each: dict[float, list[float]] = {}
        for one in self.measured:
            each.setdefault(one.evaluation_work, []).append(one.evaluation_s / one.evaluated)
        return puzzles * _on_line([(at, sum(seconds) / len(seconds)) for at, seconds in each.items()], work)

    def seconds(self, config: RunConfig, seq_len: int, *, steps: int, evaluations: int, puzzles: int) -> Seconds:
        """Of a whole run of `steps` steps with `evaluations` evaluations of `puzzles` puzzles each."""
        point = Point.of(config, seq_len)
        nearest = min(self.measured, key=lambda one: (abs(one.point.work - point.work), one.point.batch))
        saving = sum(one.saving_s for one in self.measured) / len(self.measured)
        return Seconds(
            start=nearest.start_s,
            training=steps * self.step_s(point),
            evaluation=evaluations * self.evaluation_s(config, seq_len, puzzles),
            saving=evaluations * saving,
        )


BUSY = 0.1
"""From this share of `waited` on a measurement is of a busy machine: the times are too long by about as much."""


@dataclass(frozen=True)
class Conditions:
    """Under which the speeds of a plan were measured: `at`, the earliest of them, in seconds since the epoch, and
    the most that one `waited`."""

    at: float
    waited: float | None

    @staticmethod
    def of(speeds: Iterable[Speed | None]) -> Conditions | None:
        """None where none of them is known."""
        known = [speed for speed in speeds if speed is not None]
        if not known:
            return None
        waits = [one.waited for speed in known for one in speed.measured if one.waited is not None]
        return Conditions(min(speed.at for speed in known), max(waits, default=None))

    @property
    def busy(self) -> bool:
        """Whether other programs had the cores."""
        return self.waited is not None and self.waited >= BUSY


def corners(configs: Sequence[RunConfig], seq_len: int) -> list[RunConfig]:
    """The configurations to measure, at most four: least and most work a row with the smallest and the largest batch,
    the smaller batches first."""
    by_work = sorted(configs, key=lambda config: Point.of(config, seq_len).work)
    batches = [config.global_batch_size for config in configs]
    picked = [
        config.model_copy(update={"global_batch_size": batch})
        for batch in (min(batches), max(batches))
        for config in (by_work[0], by_work[-1])
    ]
    return list({Point.of(config, seq_len): config for config in picked}.values())


def _on_line(points: Sequence[tuple[float, float]], x: float) -> float:
    """y at x on the line through the outermost of some (x, y), but never below what proportion to the nearest of them
    leaves; through the origin where there is only one."""
    ordered = sorted(points)
    (x0, y0), (x1, y1) = ordered[0], ordered[-1]
    if x1 <= x0 * 1.0001:
        return y0 * x / x0
    if y1 <= y0:  # noise: more work was not slower
        return (y0 + y1) / 2
    if x < x0:
        return max(y0 * x / x0, y0 - (y1 - y0) * (x0 - x) / (x1 - x0))
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
