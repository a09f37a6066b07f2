"""A run in Python: its configuration, its metrics as a table of pandas, how it ended, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from hrm_sweep.config import RunConfig
from hrm_sweep.diagnosis.engine import Diagnosis, diagnose_run
from hrm_sweep.runs import Status
from hrm_sweep.runs.formats import Curves, RecordedRun, read_run

_STAMP = ("kind", "step", "epoch", "time_s")


@dataclass(frozen=True)
class LoadedRun:
    """One run as it lay on disk when it was loaded, finished or not; ours or of the reference implementation."""

    recorded: RecordedRun

    @property
    def path(self) -> Path:
        return self.recorded.path

    @property
    def config(self) -> RunConfig | None:
        """None where it is missing or cannot be read; `problems` then says why."""
        return self.recorded.config

    @property
    def status(self) -> Status | None:
        """Where the run stands; None for a run of the reference, which does not say."""
        return self.recorded.status

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for everything in the folder that is there and could not be read."""
        return self.recorded.problems

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row for each row of metrics.jsonl, in its order; no rows for a run of the reference, which keeps none.

        Columns: `kind` (train or eval), `step`, `epoch`, `time_s`, then every value by its name, those of a module as
        `grad_norm.H_level`, and `act_histogram.3`: how many slots halted after three ACT steps. A value that did not
        exist (nothing halted, or a row of the other kind) is NaN.
        """
        parts = [_table("train", self.recorded.train), _table("eval", self.recorded.evaluations)]
        rows = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        return rows.sort_values("step", kind="stable", ignore_index=True)  # of one step, the train row comes first

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the rules say of the run as it lies there now. Written nowhere."""
        return diagnose_run(self.path, write=False)

    def __repr__(self) -> str:
        state = "of the reference" if self.status is None else str(self.status.state)
        rows = len(self.recorded.train) + len(self.recorded.evaluations)
        return f"<run {self.path.as_posix()}: {state}, {rows} rows of metrics>"


def load_run(path: str | Path) -> LoadedRun:
    """The run in the folder `path`. Raises RunDirectoryError when there is none."""
    return LoadedRun(read_run(Path(path)))


def _table(kind: str, curves: Curves) -> pd.DataFrame:
    columns: dict[str, object] = {"kind": kind, "step": curves.step, "epoch": curves.epoch, "time_s": curves.time_s}
    columns |= {name: series.at(curves.step) for name, series in curves.columns.items() if name not in _STAMP}
    if len(curves.histogram_step):
        place = np.searchsorted(curves.step, curves.histogram_step)
        for halted_after, counts in enumerate(curves.histogram.T, start=1):
            column = np.full(len(curves), np.nan)
            column[place] = counts
            columns[f"act_histogram.{halted_after}"] = column
    return pd.DataFrame(columns)
