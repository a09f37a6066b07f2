"""Runs side by side: what each was measured to do, on which puzzles, and in which settings they differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from hrm_sweep.config import RunConfig, dotted_keys
from hrm_sweep.data import open_folder, take_examples
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.diagnosis.gather import gather_evidence
from hrm_sweep.diagnosis.statistics import Floats
from hrm_sweep.errors import DataError
from hrm_sweep.evaluation.selection import evenly_spaced, subset_indices
from hrm_sweep.evaluation.share import Share
from hrm_sweep.runs.formats import Curves, Series


@dataclass(frozen=True)
class Puzzles:
    """The puzzles that a run was evaluated on: how many, and a digest of what they are, in any order. The digest is
    None where they cannot be looked at."""

    n: int
    digest: str | None


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs. Scores are of its last evaluation, which was not chosen for being good.

    epochs_per_step  how many epochs an optimizer step is; None where that is not known.
    """

    path: Path
    evidence: Evidence
    exact: Share | None
    best_exact: float | None
    cells: float | None
    puzzles: Puzzles | None
    epochs_per_step: float | None

    @property
    def config(self) -> RunConfig | None:
        return self.evidence.recorded.config

    def curve(self, column: str, *, evaluated: bool) -> Series | None:
        rows = self.evidence.evaluations if evaluated else self.evidence.rows
        series = rows.get(column)
        return series if series is not None and len(series) else None

    def epochs(self, series: Series) -> Floats:
        """The epochs at which a series was measured, NaN where they are not known."""
        if self.epochs_per_step is None:
            return np.full(len(series), np.nan)
        return np.asarray(series.step * self.epochs_per_step, dtype=np.float64)


Numbered = tuple[int, ComparedRun]
_ALL_PAIRS_OF = 4


@dataclass(frozen=True)
class Difference:
    """A key of the configuration that differs, with its value in each run; None for a run without a configuration."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Comparison:
    """Several runs. sentences: what can be said of each pair, and what cannot."""

    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    sentences: tuple[str, ...]


def compare_runs(paths: Sequence[Path], data: Path | None = None) -> Comparison:
    """Read and compare runs, ours or of the reference; `data` names their puzzle folder where it has moved.

    A run of the reference is evaluated, for it keeps no metrics. Raises RunDirectoryError or DataError.
    """
    runs = tuple(_compared(path, data) for path in paths)
    return Comparison(runs, tuple(_differences(runs)), tuple(_sentences(runs)))


def _compared(path: Path, data: Path | None) -> ComparedRun:
    evidence = gather_evidence(path, data=data)
    rows = evidence.evaluations
    exact, cells, count = (_finite(rows, name) for name in ("exact_accuracy", "accuracy", "count"))
    n = None if count is None else round(count.last)
    return ComparedRun(
        path=path,
        evidence=evidence,
        exact=Share(exact.last, n) if exact is not None and n else None,
        best_exact=None if exact is None else float(exact.value.max()),
        cells=None if cells is None else cells.last,
        puzzles=None if not n else Puzzles(n, _digest(evidence, n)),
        epochs_per_step=_epochs_per_step(evidence),
    )


def _finite(rows: Curves, name: str) -> Series | None:
    series = rows.get(name)
    finite = None if series is None else series.finite()
    return finite if finite is not None and len(finite) else None


def _epochs_per_step(evidence: Evidence) -> float | None:
    config, facts = evidence.recorded.config, evidence.data
    if config is not None and facts is not None:
        return config.global_batch_size / max(1e-9, facts.total_groups * facts.mean_puzzle_examples)
    rows = evidence.evaluations
    if len(rows) and rows.step[-1] > 0 and rows.epoch[-1] > 0:
        return float(rows.epoch[-1] / rows.step[-1])
    return None


def _digest(evidence: Evidence, n: int) -> str | None:
    """Which puzzles an evaluation of `n` was made on, as the run, or the diagnosis in its place, picks them."""
    config = evidence.recorded.config
    if config is None or evidence.data is None:
        return None
    try:
        split = open_folder(evidence.data.path).test
    except DataError:
        return None
    if evidence.is_reference:
        indices = evenly_spaced(split.n_examples, n)
    else:
        indices = subset_indices("selection", split.n_examples, config.eval_puzzles)
    if len(indices) != n:  # the data folder is not what it was
        return None
    batch = take_examples(split, indices)
    table = np.concatenate([batch.inputs, batch.labels], axis=1)
    rows = sorted(row.tobytes() for row in table)
    return hashlib.sha256(b"".join(rows)).hexdigest()


# What differs ---------------------------------------------------------------------------------------------------------


def _differences(runs: Sequence[ComparedRun]) -> Iterator[Difference]:
    known = [run.config for run in runs if run.config is not None]
    for key in dotted_keys():
        if any(one.get(key) != known[0].get(key) for one in known[1:]):
            yield Difference(key, tuple(None if run.config is None else run.config.get(key) for run in runs))


# What can be said -----------------------------------------------------------------------------------------------------


def _sentences(runs: Sequence[ComparedRun]) -> Iterator[str]:
    for number, run in enumerate(runs, start=1):
        if run.config is None:
            yield f"Run {number} has no readable configuration, so its settings are not compared."
        if run.exact is None:
            why = f" ({run.evidence.data_problem})" if run.evidence.data_problem else ""
            yield f"Run {number} was never evaluated, as far as its folder tells{why}."
    measured = [(number, run) for number, run in enumerate(runs, start=1) if run.exact is not None]
    for (one, first), (other, second) in _pairs(measured):
        yield _of_pair(one, first, other, second)


def _pairs(measured: Sequence[Numbered]) -> Iterator[tuple[Numbered, Numbered]]:
    """Every pair of a few runs; of more, the one that scores highest with each of the others."""
    if len(measured) <= _ALL_PAIRS_OF:
        yield from combinations(measured, 2)
        return
    leader = max(measured, key=lambda each: each[1].exact.share if each[1].exact is not None else 0.0)
    yield from ((leader, each) for each in measured if each is not leader)


def _of_pair(one: int, first: ComparedRun, other: int, second: ComparedRun) -> str:
    assert first.exact is not None
    assert second.exact is not None
    assert first.puzzles is not None
    assert second.puzzles is not None
    if first.puzzles.digest is None or second.puzzles.digest is None:
        return (
            f"Runs {one} and {other}: whether they were measured on the same puzzles cannot be told, for their data "
            "folder was not found as it was; name it with --data."
        )
    if first.puzzles != second.puzzles:
        return (
            f"Runs {one} and {other} are not comparable: they were measured on different puzzles "
            f"({first.puzzles.n:,} and {second.puzzles.n:,})."
        )
    low, high = sorted((first.exact, second.exact), key=lambda share: share.share)
    spans = " and ".join("{:.1%} to {:.1%}".format(*share.interval) for share in (first.exact, second.exact))
    on = f"Runs {one} and {other} were measured on the same {first.puzzles.n:,} puzzles"
    if low.share == high.share:
        return f"{on} and solve as many of them."
    if low.interval[1] >= high.interval[0]:
        return f"{on}; their 95 % intervals overlap ({spans}), so which one is better is not settled."
    better = one if first.exact.share > second.exact.share else other
    return f"{on}; their 95 % intervals do not overlap ({spans}): run {better} is better."
