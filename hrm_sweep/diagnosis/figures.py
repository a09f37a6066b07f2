"""A run in a few numbers, to stand beside another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hrm_sweep.diagnosis.engine import Diagnosis
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.evaluation.share import Share as Share


@dataclass(frozen=True)
class Figures:
    """One run.

    exact    best exact accuracy of its evaluations; None where it was never evaluated with a number.
    cells    best cell accuracy.
    seconds  of training; None where the run does not say (the reference keeps no times).
    leading  the rule of the leading finding; None for a run that is not sick.
    """

    verdict: str
    exact: Share | None
    cells: Share | None
    steps: int
    seconds: float | None
    leading: str | None

    def to_mapping(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "exact_accuracy": None if self.exact is None else self.exact.to_mapping(),
            "accuracy": None if self.cells is None else self.cells.to_mapping(),
            "steps": self.steps,
            "seconds": self.seconds,
            "leading": self.leading,
        }


def figures(evidence: Evidence, diagnosis: Diagnosis) -> Figures:
    times = [float(curves.time_s.max()) for curves in (evidence.rows, evidence.evaluations) if len(curves)]
    return Figures(
        verdict=diagnosis.verdict,
        exact=_best(evidence, "exact_accuracy"),
        cells=_best(evidence, "accuracy"),
        steps=evidence.steps_done,
        seconds=max(times) if times and not evidence.is_reference else None,
        leading=None if diagnosis.leading is None else diagnosis.leading.rule,
    )


def _best(evidence: Evidence, name: str) -> Share | None:
    """The highest evaluation of a share, and how many puzzles it was taken over."""
    series, counts = evidence.evaluations.get(name), evidence.evaluations.get("count")
    if series is None or counts is None or not len(series.finite()):
        return None
    known = series.finite()
    at = int(np.argmax(known.value))
    n = counts.at(known.step)[at]
    return None if np.isnan(n) else Share(float(known.value[at]), int(n))
