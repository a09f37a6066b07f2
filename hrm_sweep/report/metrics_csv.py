"""The metrics of a run as CSV: for tables that people look at, so the scalars alone, and no more rows than fit."""

from __future__ import annotations

import csv
import io

import numpy as np

from hrm_sweep.diagnosis import Evidence
from hrm_sweep.runs.formats import Curves

ROWS = 300  # of each kind
_FIRST = ("exact_accuracy", "accuracy", "loss", "lm_loss", "act_steps", "lr")


def metrics_csv(run: Evidence) -> str:
    """Evaluations, then train rows, each thinned evenly to 300; empty where a value does not exist."""
    names = {name for curves in (run.evaluations, run.rows) for name in curves.columns if "." not in name}
    columns = [*(name for name in _FIRST if name in names), *sorted(names - set(_FIRST))]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["kind", "step", "epoch", "time_s", *columns])
    for kind, curves in (("eval", run.evaluations), ("train", run.rows)):
        table.writerows([kind, *row] for row in _rows(curves, columns))
    return text.getvalue()


def _rows(curves: Curves, columns: list[str]) -> list[list[str]]:
    kept = np.unique(np.linspace(0, max(0, len(curves) - 1), min(len(curves), ROWS)).astype(np.int64))
    steps = curves.step[kept]
    stamps = zip(steps.tolist(), curves.epoch[kept].tolist(), curves.time_s[kept].tolist(), strict=True)
    rows = [[str(step), f"{epoch:.6g}", f"{time_s:.6g}"] for step, epoch, time_s in stamps]
    for name in columns:
        series = curves.get(name)
        there = set() if series is None else set(series.step.tolist())
        values = np.zeros(len(steps)) if series is None else series.at(steps)
        for row, step, value in zip(rows, steps.tolist(), values.tolist(), strict=True):
            row.append(f"{value:.6g}" if step in there else "")
    return rows
