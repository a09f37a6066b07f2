"""Writes a recorded run as Weights & Biases would export it, had the reference trained it."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]
PER_BATCH = ("lm_loss", "q_halt_loss", "q_continue_loss")
PER_HALTED = {"accuracy": "accuracy", "exact_accuracy": "exact_accuracy", "q_halt_accuracy": "q_halt_accuracy"}
PER_HALTED |= {"act_steps": "steps"}


def history_of(run: Path) -> list[Row]:
    """One row for each optimizer step and one for each evaluation, as `run.scan_history()` gives them.

    A recorded row stands for all steps since the one before. While every slot takes all its steps they halt together,
    in few of them; later some halt in each. Where nothing halts the reference logs 0, and train/count is 1 or 0.
    """
    config = yaml.safe_load((run / "config.yaml").read_text())
    limit, batch = config["arch"]["halt_max_steps"], config["global_batch_size"]
    history: list[Row] = [{"_step": 0, "_runtime": 0.1, "num_params": 27275266}]
    before = 0
    for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        if row["kind"] == "eval":
            history.append(_stamp(row, row["step"]) | _evaluation(row))
            continue
        steps = range(before + 1, row["step"] + 1)
        together = row.get("act_steps", limit) == limit
        halting = math.ceil(row.get("count", 0) / batch) if together else len(steps)
        for step in steps:
            history.append(_stamp(row, step) | _train(row, halts=step > row["step"] - halting))
        before = row["step"]
    return history


def _stamp(row: Row, step: int) -> Row:
    runtime = row["time_s"] * step / max(1, row["step"])
    return {"_step": step, "_runtime": runtime, "_timestamp": 1.7e9 + runtime}


def _train(row: Row, *, halts: bool) -> Row:
    told = {f"train/{name}": row[name] for name in PER_BATCH if name in row}
    told |= {
        f"train/{theirs}": row[ours] if halts else 0.0
        for ours, theirs in PER_HALTED.items()
        if ours in row or not halts
    }
    return told | {"train/count": float(halts), "train/lr": row["lr"]}


def _evaluation(row: Row) -> Row:
    told = {f"all/{name}": row[name] for name in ("lm_loss", "q_halt_loss") if name in row}
    return told | {f"all/{theirs}": row[ours] for ours, theirs in PER_HALTED.items() if ours in row}


def as_json_array(history: list[Row], path: Path) -> Path:
    path.write_text(json.dumps(history))
    return path


def as_json_lines(history: list[Row], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in history))
    return path


def as_data_frame(history: list[Row], path: Path) -> Path:
    """`run.history().to_csv()`: an index, every column in every row, nothing where it is absent."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["", *columns])
        writer.writerows([number, *(row.get(name, "") for name in columns)] for number, row in enumerate(history))
    return path


def as_charts(history: list[Row], folder: Path) -> Iterator[Path]:
    """The web page: a CSV file for each chart, with the run's name before the key, and its bounds beside it."""
    for key in dict.fromkeys(name for row in history for name in row if "/" in name):
        path = folder / f"{key.replace('/', ' ')}.csv"
        with path.open("w", newline="") as handle:
            writer = csv.writer(handle, quoting=csv.QUOTE_ALL)
            named = f"HRM - run 1 - {key}"
            writer.writerow(["Step", named, f"{named}__MIN", f"{named}__MAX"])
            writer.writerows([row["_step"], *[row[key]] * 3] for row in history if key in row)
        yield path


def as_reference_directory(run: Path, target: Path) -> Path:
    """The folder that the reference leaves of such a run, without checkpoints."""
    target.mkdir()
    config = yaml.safe_load((run / "config.yaml").read_text())
    ours = ("data", "device", "eval_puzzles", "log_interval", "checkpoint", "stop_when_solved", "max_seconds")
    kept = {name: value for name, value in config.items() if name not in ours}
    (target / "all_config.yaml").write_text(yaml.safe_dump(kept))
    return target


WRITERS: dict[str, Callable[[list[Row], Path], Path]] = {
    "array": as_json_array,
    "lines": as_json_lines,
    "frame": as_data_frame,
}
