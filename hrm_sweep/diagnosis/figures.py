"""A run in a few numbers, to stand beside another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hrm_sweep.diagnosis.engine import Diagnosis
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.diagnosis.statistics import wilson


@dataclass(frozen=True)
class Share:
    """A share of which `n` puzzles tell, with its 95 % interval (Wilson).

    Cells of one puzzle stand and fall together, so for a share of cells, too, n is the number of puzzles: its interval
    is wider than it would have to be, never narrower.
    """

    share: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.share * self.n, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        solved = round(self.share * self.n)
        return f"{self.share:.1%} ({solved:,} of {self.n:,}; 95 % interval {low:.1%} to {high:.1%})"

    def to_mapping(self) -> dict[str, Any]:
        low, high = self.interval
        return {"share": self.share, "n": self.n, "low": low, "high": high}


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
