"""A history exported from Weights & Biases: what the reference logs while it trains, converted into Curves.

The reference logs a row each optimizer step (`train/*`), and one for each evaluation (`all/*`, after the name of the
evaluation set). Its numbers are not what their names say: metrics of halted slots are sums over max(count, 1) and
`train/count` is divided by itself, so both are 0 in a step in which nothing halted. Here such values are absent.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_sweep.errors import MetricsError
from hrm_sweep.runs.formats.curves import Curves, CurvesBuilder

TRAIN = "train"
_USUAL_SET = "all"  # the name of the only evaluation set in sudoku, maze and ARC folders
_STEP_NAMES = ("_step", "step", "global_step")
_STAMPS = (*_STEP_NAMES, "_runtime", "_timestamp")
_OVER_ROWS = ("loss", "lm_loss", "q_halt_loss", "q_continue_loss")  # means over the batch, in every step
_OVER_HALTED = {
    "accuracy": "accuracy",
    "exact_accuracy": "exact_accuracy",
    "q_halt_accuracy": "q_halt_accuracy",
    "steps": "act_steps",
}
_METRICS = (*_OVER_ROWS, *_OVER_HALTED, "count", "lr")
_TOLD = re.compile(r"(?:(?P<run>.+) - )?(?P<set>[^/.]+)[/.](?P<name>\w+?)(?P<bound>__MIN|__MAX)?")
_EXPECTED = (
    "expected the history of a run of the reference: a CSV or JSON file with a step (_step or Step) and keys like "
    "train/lm_loss, train/count or all/exact_accuracy"
)

# By optimizer step: stamps by name, and the logged values by (set, name), as they stand in the file.
Key = str | tuple[str, str]
Table = dict[int, dict[Key, object]]


@dataclass(frozen=True)
class History:
    """What an export says; `problems` has a sentence for everything in it that was left out."""

    train: Curves
    evaluations: Curves
    problems: tuple[str, ...]


def read_history(files: Sequence[Path], *, batch_size: int | None = None, test_puzzles: int | None = None) -> History:
    """The history in one or more files, joined by step: the web page exports one file for each chart.

    `batch_size` is the config's global_batch_size; with it the number of halted slots, which the reference does not
    log, is estimated. `test_puzzles` is how many puzzles an evaluation scores. Raises MetricsError.
    """
    table: Table = {}
    problems: list[str] = []
    for path in files:
        _add_file(path, table, problems)
    names = ", ".join(str(path) for path in files)
    train = _train_curves(table, batch_size, names, problems)
    evaluations = _evaluation_curves(table, test_puzzles, names, problems)
    return History(train, evaluations, tuple(problems))


# From files to a table --------------------------------------------------------------------------------------------


def _add_file(path: Path, table: Table, problems: list[str]) -> None:
    rows = _read_rows(path, problems)
    names = list(dict.fromkeys(name for row in rows for name in row))
    keys = {name: key for name in names if (key := _key(name)) is not None}
    if not any(isinstance(key, tuple) for key in keys.values()):
        found = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "no row"
        raise MetricsError(f"{path}: {_EXPECTED}; found {found}")
    _one_run_only(path, keys)
    step_name = next((name for stamp in _STEP_NAMES for name, key in keys.items() if key == stamp), None)
    if step_name is None:
        raise MetricsError(f"{path}: no column with the step (_step or Step); export it together with the metrics")
    left_out = 0
    for row in rows:
        step = _number(row.get(step_name))
        if step is None or not 0 <= step < 2**53 or step != int(step):
            left_out += 1
            continue
        told = {keys[name]: value for name, value in row.items() if name in keys and value not in (None, "")}
        table.setdefault(int(step), {}).update(told)
    if left_out:
        problems.append(f"{path}: {left_out} row(s) have no step that is a whole number and were left out")


def _read_rows(path: Path, problems: list[str]) -> list[Mapping[str, object]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise MetricsError(f"{path}: not a text file; {_EXPECTED}") from None
    except OSError as error:
        raise MetricsError(f"{path}: cannot be read: {error.strerror}") from None
    if not text.strip():
        raise MetricsError(f"{path}: the file is empty; {_EXPECTED}")
    return _json_rows(path, text, problems) if text.lstrip()[0] in "[{" else _csv_rows(path, text)


def _json_rows(path: Path, text: str, problems: list[str]) -> list[Mapping[str, object]]:
    """Rows of a JSON array, or of JSON lines, whose last may be torn."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = text.splitlines()
        by_line = [] if text.lstrip()[0] == "[" else [_json_line(line) for line in lines if line.strip()]
        whole = [row for row in by_line if row is not None]
        if not whole or len(whole) < len(by_line) - 1 or by_line[0] is None:
            raise MetricsError(f"{path}: damaged or cut off: not valid JSON ({error}); export it again") from None
        if len(whole) < len(by_line):
            problems.append(f"{path}: a torn line was left out")
        return [_flat(row) for row in whole]
    rows = found if isinstance(found, list) else [found]
    if not all(isinstance(row, dict) for row in rows):
        raise MetricsError(f"{path}: {_EXPECTED}; found JSON that is no list of rows")
    if len(rows) == 1 and rows[0] and all(isinstance(column, dict) for column in rows[0].values()):
        raise MetricsError(f"{path}: found columns, expected rows; write it with to_json(orient='records')")
    return [_flat(row) for row in rows]


def _json_line(line: str) -> dict[str, object] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _flat(row: Mapping[str, Any]) -> Mapping[str, object]:
    """A row whose evaluation may be a dictionary, {"all": {"accuracy": ...}}: so the reference hands it over."""
    if not any(isinstance(value, dict) for value in row.values()):
        return row
    flat: dict[str, object] = {}
    for name, value in row.items():
        flat |= {f"{name}/{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _csv_rows(path: Path, text: str) -> list[Mapping[str, object]]:
    try:
        header, *lines = csv.reader(io.StringIO(text))
    except csv.Error as error:
        raise MetricsError(f"{path}: not a CSV file ({error}); {_EXPECTED}") from None
    return [dict(zip(header, line, strict=False)) for line in lines if line]


def _key(name: str) -> Key | None:
    """What a column is: a stamp, or (set, name) of a metric; None for anything else.

    The web page puts the run before a name ("my run - train/lm_loss") and adds columns that end in __MIN and __MAX.
    """
    if name.lower() in _STAMPS:
        return name.lower()
    told = _TOLD.fullmatch(name)
    if told is None or told["bound"] or told["name"] not in _METRICS:
        return None
    return told["set"], told["name"]


def _one_run_only(path: Path, keys: Mapping[str, Key]) -> None:
    runs = {match["run"] for name in keys if (match := _TOLD.fullmatch(name)) is not None}
    told = [key for key in keys.values() if isinstance(key, tuple)]
    if len(runs) > 1 or len(set(told)) < len(told):
        named = ", ".join(sorted(str(run) for run in runs if run))
        raise MetricsError(f"{path}: more than one run in one file ({named}); export the one to diagnose")


# From a table to curves -------------------------------------------------------------------------------------------


def _train_curves(table: Table, batch_size: int | None, names: str, problems: list[str]) -> Curves:
    builder = CurvesBuilder()
    rows_since_halt = 0  # rows that were logged since slots were last seen to halt, this one included
    ambiguous = False
    for stamp, values in _rows_of(TRAIN, table):
        if math.isnan(values.get("lr", 0.0)) and all(map(math.isnan, values.values())):
            continue  # a frame that was filled up with NaN: the reference's lr is a number in every row
        record = stamp | {name: values[name] for name in (*_OVER_ROWS, "lr") if name in values}
        rows_since_halt += 1
        halted = _halted(values)
        if halted is None:
            ambiguous |= any(name in values for name in _OVER_HALTED)
        elif halted > 0:
            # Where an export is thinned by averaging, zeros of steps without a halt are averaged in, and the average of
            # train/count says how many those were.
            share = min(1.0, halted)
            record |= {ours: values[name] / share for name, ours in _OVER_HALTED.items() if name in values}
            count = halted if halted > 1 else _estimated_count(record.get("act_steps"), rows_since_halt, batch_size)
            record |= {} if count is None else {"count": count}
            rows_since_halt = 0
        builder.add(record)
    if ambiguous:
        problems.append(
            f"{names}: neither train/count nor train/steps is there, so a 0 may mean that nothing halted: the metrics "
            "of halted slots (train/accuracy, train/exact_accuracy, train/q_halt_accuracy) were left out"
        )
    return builder.build()


def _halted(values: Mapping[str, float]) -> float | None:
    """Above 0 when slots halted in this row, 0 when none did; None where nothing tells."""
    for name in ("count", "steps", "accuracy"):
        value = values.get(name)
        if value is not None and math.isfinite(value):
            return value if name == "count" else float(value > 0)
    return None


def _estimated_count(act_steps: object, rows: int, batch_size: int | None) -> float | None:
    """How many slots halted: each takes one ACT step a row, so those that took `act_steps` are rows x batch / act_steps
    of them, never more than there are. Exact while all slots halt together, and in the mean afterwards."""
    if batch_size is None or not isinstance(act_steps, float) or not act_steps >= 1:
        return None
    return min(batch_size, max(1.0, rows * batch_size / act_steps))


def _evaluation_curves(table: Table, test_puzzles: int | None, names: str, problems: list[str]) -> Curves:
    """The reference divides by the number of evaluated puzzles: over none of them every value is NaN."""
    told = {key for row in table.values() for key in row if isinstance(key, tuple)}
    sets = sorted({name for name, _ in told} - {TRAIN}, key=lambda name: (name != _USUAL_SET, name))
    builder = CurvesBuilder()
    if not sets:
        return builder.build()
    if len(sets) > 1:
        problems.append(f"{names}: of the evaluation sets {', '.join(sets)}, the first was looked at")
    rows = list(_rows_of(sets[0], table))
    empty = [all(map(math.isnan, values.values())) for _, values in rows]
    for (stamp, values), nothing in zip(rows, empty, strict=True):
        if nothing and not all(empty):
            continue  # a frame that was filled up with NaN: a test set does not vanish in the middle of a run
        count = 0 if nothing else test_puzzles
        metrics = {_OVER_HALTED.get(name, name): value for name, value in values.items() if name != "count"}
        builder.add(stamp | metrics | ({} if count is None else {"count": count}))
    return builder.build()


def _rows_of(kind: str, table: Table) -> Iterable[tuple[dict[str, Any], dict[str, float]]]:
    """(stamp, values by name) of the rows that have values of this set, by step."""
    first = next((at for step in sorted(table) if (at := _number(table[step].get("_timestamp"))) is not None), 0.0)
    for step in sorted(table):
        row = table[step]
        told = {key[1]: value for key, value in row.items() if isinstance(key, tuple) and key[0] == kind}
        if all(isinstance(value, float) and math.isnan(value) for value in told.values()):
            continue  # none, or NaN without quotes: how pandas writes what is absent. What is NaN is a string.
        values = {name: number for name, value in told.items() if (number := _number(value)) is not None}
        if values:
            runtime, timestamp = _number(row.get("_runtime")), _number(row.get("_timestamp"))
            time_s = runtime if runtime is not None else timestamp - first if timestamp is not None else 0.0
            yield {"step": step, "epoch": 0.0, "time_s": time_s}, values


def _number(value: object) -> float | None:
    """A cell as a number, also the strings NaN, Infinity and -Infinity; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
