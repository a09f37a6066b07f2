"""metrics.jsonl: one JSON object a line, appended while a run lives and readable at any moment.

A value that does not exist (no slot halted in the interval) is absent, never 0. Non-finite values are the strings
"NaN", "Infinity" and "-Infinity", because JSON has no numbers for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from hrm_sweep.runs.directory import disk_full_explained, replaced_atomically

Kind = Literal["train", "eval"]
_STAMP = ("kind", "step", "epoch", "time_s")
_NON_FINITE = ("NaN", "Infinity", "-Infinity")
# What reading a line can raise that is no metric row: torn, zeroed by a crash, or written by something else.
_NO_ROW = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class MetricRow:
    """One line of metrics.jsonl.

    kind     "train" (an interval of `log_interval` optimizer steps that ended at `step`) or "eval".
    step     optimizer steps done.
    epoch    nominal epochs done, fractional in train rows.
    time_s   seconds of training since the run began, pauses between resumes left out.
    values   scalars by name: loss, lm_loss, accuracy (cells), exact_accuracy (puzzles), act_steps (mean at halting),
             q_halt_loss, q_continue_loss, q_halt_accuracy, count, lr, puzzle_emb_lr, q_halt_mean, q_halt_std,
             q_continue_mean, q_continue_std, ...
    modules  groups of scalars: grad_norm, update_norm, weight_norm and unchanged_tensors (how many tensors the last
             step left as they were), each by module (embed_tokens, embed_pos, H_level, L_level, lm_head, q_head), and
             puzzle_emb (rows_visited, mean_abs_movement, max_abs_movement, max_abs, expected_movement, grad_norm).
    act_histogram  how many slots halted after 1, 2, ..., halt_max_steps ACT steps in the interval.
    """

    kind: Kind
    step: int
    epoch: float
    time_s: float
    values: Mapping[str, float] = field(default_factory=dict)
    modules: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    act_histogram: tuple[int, ...] = ()

    def get(self, name: str) -> float | None:
        """The scalar `name`, or None where it does not exist."""
        return self.values.get(name)

    def non_finite(self) -> list[str]:
        """Names of the values that are NaN or infinite; those of a module as `group.module`."""
        names = [name for name, value in self.values.items() if not math.isfinite(value)]
        return names + [
            f"{group}.{name}"
            for group, by_module in self.modules.items()
            for name, value in by_module.items()
            if not math.isfinite(value)
        ]

    def to_json(self) -> str:
        record: dict[str, Any] = {"kind": self.kind, "step": self.step, "epoch": self.epoch, "time_s": self.time_s}
        record.update({name: _to_json(value) for name, value in self.values.items()})
        for group, by_module in self.modules.items():
            record[group] = {name: _to_json(value) for name, value in by_module.items()}
        if self.act_histogram:
            record["act_histogram"] = list(self.act_histogram)
        return json.dumps(record, allow_nan=False)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> MetricRow:
        """Raises KeyError, TypeError, ValueError or OverflowError when `record` is no metric row.

        What is neither a number nor a group of numbers (something that a newer version writes) is left out.
        """
        kind: Kind = record["kind"]
        if kind not in ("train", "eval"):
            raise ValueError(f"kind: expected train or eval, found {kind!r}")
        values = _numbers(record, leave_out=_STAMP)
        modules = {name: _numbers(group) for name, group in record.items() if isinstance(group, dict)}
        histogram = tuple(int(slots) for slots in record.get("act_histogram", ()))
        return MetricRow(
            kind, int(record["step"]), float(record["epoch"]), float(record["time_s"]), values, modules, histogram
        )


def _numbers(record: Mapping[str, Any], leave_out: Collection[str] = ()) -> dict[str, float]:
    """What of `record` is a number, or one of the strings that stand for numbers that JSON does not have."""
    return {
        name: float(value)
        for name, value in record.items()
        if name not in leave_out and (isinstance(value, (int, float)) or value in _NON_FINITE)
    }


def _to_json(value: float) -> float | int | str:
    if isinstance(value, int):
        return value
    if math.isfinite(value):
        return float(f"{value:.8g}")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class MetricsWriter:
    """Appends rows to metrics.jsonl, without a buffer: a follower sees each at once, and a row for which there was no
    room is not tried again when the file is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def write(self, row: MetricRow) -> None:
        """Raises DiskFullError."""
        rest = (row.to_json() + "\n").encode()
        with disk_full_explained(self._path):
            while rest:
                rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: Path) -> list[MetricRow]:
    """All rows of a metrics file, also of one that is being written: a torn last line is left out.

    A line in the middle that is no metric row (a disk that filled up in mid-line) is left out too. A file that does
    not exist has no rows.
    """
    return list(_rows(path.read_bytes())) if path.is_file() else []


def _rows(data: bytes) -> Iterator[MetricRow]:
    for line in data.splitlines():
        try:
            yield MetricRow.from_json(json.loads(line))
        except _NO_ROW:
            continue


class MetricsFollower:
    """Reads rows as they are appended: each call of `new_rows` gives those that were not given before.

    A resume that cuts the file back replaces it; rows trained again, of a step that was given before, are not given
    twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._last_line = b""  # what stood before the offset; when it does not any more, the file was replaced
        self._given: set[tuple[Kind, int]] = set()

    def new_rows(self) -> list[MetricRow]:
        try:
            with self._path.open("rb") as handle:
                handle.seek(self._offset - len(self._last_line))
                data = handle.read()
                if data.startswith(self._last_line):
                    data = data[len(self._last_line) :]
                else:
                    handle.seek(0)
                    data, self._offset, self._last_line = handle.read(), 0, b""
        except FileNotFoundError:
            return []
        complete = data[: data.rfind(b"\n") + 1]
        if complete:
            self._offset += len(complete)
            self._last_line = complete[complete.rfind(b"\n", 0, -1) + 1 :]
        rows = [row for row in _rows(complete) if (row.kind, row.step) not in self._given]
        self._given.update((row.kind, row.step) for row in rows)
        return rows


def cut_back(path: Path, step: int, lost: Path) -> int:
    """Drop every row after `step`, moving those lines to `lost`; what a resume does first. Returns how many.

    The file ends with a whole line afterwards, so that what is appended next stands on a line of its own.
    """
    if not path.is_file():
        return 0
    data = path.read_bytes()
    kept: list[bytes] = []
    dropped: list[bytes] = []
    for line in data.splitlines():
        (kept if _is_up_to(line, step) else dropped).append(line)
    if dropped:
        with disk_full_explained(lost), lost.open("ab") as handle:
            handle.writelines(line + b"\n" for line in dropped)
    if dropped or not data.endswith(b"\n"):
        with replaced_atomically(path) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))
    return len(dropped)


def _is_up_to(line: bytes, step: int) -> bool:
    """Whether a line is a row of `step` or before; a torn line was written after the last checkpoint."""
    try:
        return int(json.loads(line)["step"]) <= step
    except _NO_ROW:
        return False
