"""Curves: the metrics of a run as columns, so that fifty thousand rows are read in a second and held in little memory.

A value that is absent from a row is absent from its column; a value that is not finite is there, as NaN or infinity.
"""

from __future__ import annotations

import contextlib
import gc
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json  # reads a row in a third of the time that json takes

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]

Names = tuple[tuple[str, ...], ...]  # of a row: its scalars, its groups, then the members of each group

_STAMP = ("step", "epoch", "time_s")
_NO_VALUES = (*_STAMP, "kind", "act_histogram")
_STEP_LIMIT = 2**53  # steps pass through float64


@dataclass(frozen=True)
class Series:
    """One scalar over a run: `value[i]` was measured at optimizer step `step[i]`; both (N,), in the order written."""

    step: Steps
    value: Floats

    def __len__(self) -> int:
        return len(self.step)

    @property
    def last(self) -> float:
        return float(self.value[-1])

    @property
    def last_step(self) -> int:
        return int(self.step[-1])

    def finite(self) -> Series:
        return self.where(np.isfinite(self.value))

    def after(self, step: float) -> Series:
        """What was measured later than `step`."""
        return self.where(self.step > step)

    def until(self, step: float) -> Series:
        """What was measured at `step` or before."""
        return self.where(self.step <= step)

    def at(self, steps: Steps) -> Floats:
        """The values at these optimizer steps, NaN where none was measured; (len(steps),)."""
        if np.array_equal(self.step, steps):  # most columns are there in every row
            return self.value
        found = np.full(len(steps), np.nan)
        if len(self.step):
            order = np.argsort(self.step, kind="stable")
            place = np.minimum(np.searchsorted(self.step[order], steps), len(order) - 1)
            hit = self.step[order][place] == steps
            found[hit] = self.value[order][place[hit]]
        return found

    def where(self, mask: npt.NDArray[np.bool_]) -> Series:
        return Series(self.step[mask], self.value[mask])


@dataclass(frozen=True)
class Curves:
    """All rows of one kind. Scalars go by name; those of a group by `group.name`, for example `grad_norm.H_level`.

    step, epoch, time_s  (N,) the stamp of every row.
    columns              scalars by name.
    histogram_step       (K,) steps of the rows that carry an ACT histogram; histogram (K, halt_max_steps) are counts.
    """

    step: Steps
    epoch: Floats
    time_s: Floats
    columns: Mapping[str, Series] = field(default_factory=dict)
    histogram_step: Steps = field(default_factory=lambda: np.zeros(0, np.int64))
    histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __len__(self) -> int:
        return len(self.step)

    def get(self, name: str) -> Series | None:
        return self.columns.get(name)

    def group(self, name: str) -> dict[str, Series]:
        """The series of a group by their name inside it: `group("grad_norm")["H_level"]`."""
        prefix = name + "."
        return {key.removeprefix(prefix): series for key, series in self.columns.items() if key.startswith(prefix)}


class _Layout:
    """How to take the numbers out of rows that have the same keys: the stamp, scalars, then the groups."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        names = [name for name in record if name not in _NO_VALUES]
        self.groups = tuple(name for name in names if isinstance(record[name], dict))
        self.scalars = tuple(name for name in names if name not in self.groups)
        self._take = itemgetter(*_STAMP, *self.scalars)

    def take(self, record: Mapping[str, Any]) -> tuple[Names, list[Any]]:
        flat = [*self._take(record)]
        members = []
        for name in self.groups:
            group = record[name]
            flat += group.values()
            members.append(tuple(group))
        return (self.scalars, self.groups, *members), flat


class CurvesBuilder:
    """Collects rows. Rows that carry the same names share one block of numbers, which is what makes it fast."""

    def __init__(self) -> None:
        self._length = 0
        self._layouts: dict[tuple[str, ...], _Layout] = {}  # by the keys of a row
        self._blocks: dict[Names, tuple[array[float], array[int]]] = {}  # stamps and values, rows
        self._histograms: dict[int, tuple[array[int], array[int]]] = {}  # by width: counts, rows

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one row. Raises KeyError, TypeError or ValueError, and adds nothing, when it is no metric row."""
        names, numbers = self._numbers(record)
        if not 0 <= numbers[0] < _STEP_LIMIT:
            raise ValueError(f"step {record['step']} is no step")
        histogram = array("q", record.get("act_histogram") or ())
        block = self._blocks.get(names)
        if block is None:
            block = self._blocks[names] = (array("d"), array("q"))
        block[0].extend(numbers)
        block[1].append(self._length)
        if histogram:
            counts, rows = self._histograms.setdefault(len(histogram), (array("q"), array("q")))
            counts.extend(histogram)
            rows.append(self._length)
        self._length += 1

    def _numbers(self, record: Mapping[str, Any]) -> tuple[Names, array[float]]:
        keys = tuple(record)
        layout = self._layouts.get(keys)
        if layout is None:
            layout = self._layouts[keys] = _Layout(record)
        try:  # nearly every row is laid out as one before it and holds nothing but numbers
            names, flat = layout.take(record)
            return names, array("d", flat)
        except (TypeError, AttributeError):  # NaN as a string, null, a group where the row before had a number
            record = _without_null(record)
            names, flat = _Layout(record).take(record)
            return names, array("d", [float(value) for value in flat])

    def build(self) -> Curves:
        blocks = {
            names: (np.array(rows, dtype=np.int64), np.array(numbers, dtype=np.float64).reshape(len(rows), -1))
            for names, (numbers, rows) in self._blocks.items()
        }
        stamps = np.zeros((self._length, len(_STAMP)))
        for rows, table in blocks.values():
            stamps[rows] = table[:, : len(_STAMP)]
        step = stamps[:, 0].astype(np.int64)
        histogram_rows, histogram = self._histogram()
        return Curves(
            step=step,
            epoch=stamps[:, 1].copy(),
            time_s=stamps[:, 2].copy(),
            columns=_columns(blocks, step),
            histogram_step=step[histogram_rows],
            histogram=histogram,
        )

    def _histogram(self) -> tuple[Steps, npt.NDArray[np.int64]]:
        """Rows that carry a histogram, and the histograms, filled up with zeros where halt_max_steps differed."""
        width = max(self._histograms, default=0)
        rows = [np.array(rows, dtype=np.int64) for _, rows in self._histograms.values()]
        counts = [
            np.pad(np.array(counts, dtype=np.int64).reshape(-1, own), ((0, 0), (0, width - own)))
            for own, (counts, _) in self._histograms.items()
        ]
        if not rows:
            return np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
        order = np.argsort(np.concatenate(rows), kind="stable")
        return np.concatenate(rows)[order], np.concatenate(counts)[order]


def _columns(blocks: Mapping[Names, tuple[Steps, Floats]], step: Steps) -> dict[str, Series]:
    parts: dict[str, list[tuple[Steps, Floats]]] = {}
    for (scalars, groups, *inner), (rows, table) in blocks.items():
        names = [*scalars]
        for group, members in zip(groups, inner, strict=True):
            names += [f"{group}.{member}" for member in members]
        for name, column in zip(names, table.T[len(_STAMP) :], strict=True):
            parts.setdefault(name, []).append((rows, column))
    columns = {}
    for name, pieces in parts.items():
        rows_of = np.concatenate([rows for rows, _ in pieces])
        order = np.argsort(rows_of, kind="stable")
        columns[name] = Series(step[rows_of[order]], np.concatenate([column for _, column in pieces])[order])
    return columns


def _without_null(record: Mapping[str, Any]) -> dict[str, Any]:
    present = {name: value for name, value in record.items() if value is not None}
    groups = {name: value for name, value in present.items() if isinstance(value, dict)}
    return present | {name: {k: v for k, v in group.items() if v is not None} for name, group in groups.items()}


def no_rows() -> Curves:
    return CurvesBuilder().build()


@contextlib.contextmanager
def _collection_paused() -> Iterator[None]:
    """Rows make no cycles, and looking for some takes a fifth of the time of reading fifty thousand of them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_curves(path: Path) -> tuple[Curves, Curves, int]:
    """(train, eval, lines left out) of a metrics.jsonl at any moment of its life.

    A torn last line, and a line in the middle that is no metric row (a disk that filled up), are left out. A file
    that does not exist has no rows.
    """
    train, evaluation, left_out = CurvesBuilder(), CurvesBuilder(), 0
    if path.is_file():
        with path.open("rb") as handle, _collection_paused():
            for line in handle:
                try:
                    record = from_json(line)
                    (evaluation if record["kind"] == "eval" else train).add(record)
                except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                    left_out += 1
    return train.build(), evaluation.build(), left_out
