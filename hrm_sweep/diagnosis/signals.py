"""Quantities that rules of several families look at: what was solved so far, and what the last fifth of a run says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow
from hrm_sweep.diagnosis.statistics import weighted_mean
from hrm_sweep.runs.formats import Series

FIRST_THIRD = 1 / 3
JUDGED_SHARE = 0.2


def best_exact(run: Evidence) -> float | None:
    """The highest exact accuracy of any evaluation or train row; None where there is none."""
    found = [curves.get("exact_accuracy") for curves in (run.evaluations, run.rows)]
    values = [series.finite().value for series in found if series is not None]
    return max((float(value.max()) for value in values if len(value)), default=None)


def is_mature(run: Evidence) -> bool:
    """Whether a run is past its first third and its warm-up: before, healthy runs show every sign of a sick one.

    Raises MissingEvidence where the planned length is not known.
    """
    return run.progress > FIRST_THIRD and run.measured_step > run.config.lr_warmup_steps


def progress_row(run: Evidence) -> EvidenceRow:
    return EvidenceRow.above("share of the planned steps done", run.progress, FIRST_THIRD, run.measured_step)


def last_fifth(series: Series) -> Series:
    """What was measured in the last fifth of the steps so far."""
    return series.after(series.last_step * (1 - JUDGED_SHARE)) if len(series) else series


def recent_mean(run: Evidence, name: str) -> float:
    """Mean of a train scalar over the last fifth of the run, weighted by the number of halted slots."""
    return weighted_mean(last_fifth(finite_train(run, name)), run.rows.get("count"))


def recent_row_mean(run: Evidence, name: str) -> float:
    """Mean of a train scalar that is taken over all rows of the batch (losses, Q values), in the last fifth."""
    return weighted_mean(last_fifth(finite_train(run, name)), None)


def finite_train(run: Evidence, name: str) -> Series:
    """A train scalar without what is not finite. Raises MissingEvidence when nothing is left."""
    series = run.train(name).finite()
    if not len(series):
        raise MissingEvidence(f"a finite {name} in the train rows")
    return series


def recent_halts(run: Evidence) -> npt.NDArray[np.int64]:
    """How many slots halted after 1, 2, ... ACT steps; (halt_max_steps,), perhaps (0,).

    In the last fifth of the train rows, of a run with stages only as far as they are of its last one, because another
    had another limit; for a run of the reference, where its last checkpoint would halt.
    """
    curves, share = (run.evaluations, 0.0) if run.is_reference else (run.rows, JUDGED_SHARE)
    if not len(curves.histogram_step):
        return np.zeros(0, np.int64)
    begin = max(curves.histogram_step[-1] * (1 - share), *run.stage_ends[-1:], 0)
    recent = curves.histogram_step >= begin if run.is_reference else curves.histogram_step > begin
    return np.asarray(curves.histogram[recent].sum(axis=0), dtype=np.int64)


def first_halts(run: Evidence, rows: int) -> npt.NDArray[np.int64]:
    """How many slots halted after 1, 2, ... ACT steps in the first train rows that saw any halt; nothing of a run whose
    first stage allowed one step only."""
    config = run.recorded.config
    if config is not None and config.stages is not None and config.stage(0).arch.halt_max_steps == 1:
        return np.zeros(0, np.int64)
    seen = run.rows.histogram[run.rows.histogram.sum(axis=1) > 0] if len(run.rows.histogram) else run.rows.histogram
    return np.asarray(seen[:rows].sum(axis=0), dtype=np.int64)


def halting_exact(run: Evidence) -> float:
    """Exact accuracy that belongs to `recent_halts`: of the train rows, or of the last checkpoint when it may halt."""
    return run.evaluated("halting.exact_accuracy").last if run.is_reference else recent_mean(run, "exact_accuracy")


def halting_exact_rise(run: Evidence) -> float:
    """By how much the last fifth of the train rows solves more than the middle fifth, at halting, as a share of the
    puzzles; 0 where there is nothing to compare."""
    series = finite_train(run, "exact_accuracy")
    middle = series.after(int(series.last_step * (1 - JUDGED_SHARE) / 2)).until(
        int(series.last_step * (1 + JUDGED_SHARE) / 2)
    )
    before = weighted_mean(middle, run.rows.get("count"))
    return halting_exact(run) - before if len(middle) else 0.0
