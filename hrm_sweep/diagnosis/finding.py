"""Finding: what one rule says about one run. DESIGN contract 5."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What a rule says. UNKNOWN means that data is missing, and the finding says which."""

    FIRED = "fired"
    CLEAR = "clear"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How bad it is when a rule fires. WARNING and ERROR call a run sick; the others do not."""

    INFO = "info"
    ADVICE = "advice"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)

    @property
    def is_sick(self) -> bool:
        return self.rank >= Severity.WARNING.rank


Overrides = Mapping[str, int | float | str | bool | None]


@dataclass(frozen=True)
class EvidenceRow:
    """One measurement that a verdict rests on.

    quantity   what was measured, in the words of metrics.jsonl or the config.
    step       optimizer step of the measurement, None for what belongs to the run as a whole.
    value      what was found.
    threshold  what it was compared with, None where there is no line to cross.
    margin     how far the value lies on the bad side of the threshold; negative while it is on the good side.
    """

    quantity: str
    value: float | int | str | None
    step: int | None = None
    threshold: float | None = None
    margin: float | None = None

    @staticmethod
    def above(quantity: str, value: float, threshold: float, step: int | None = None) -> EvidenceRow:
        """A value that is bad when it lies above the threshold."""
        return EvidenceRow(quantity, value, step, threshold, value - threshold)

    @staticmethod
    def below(quantity: str, value: float, threshold: float, step: int | None = None) -> EvidenceRow:
        """A value that is bad when it lies below the threshold."""
        return EvidenceRow(quantity, value, step, threshold, threshold - value)

    def to_mapping(self) -> dict[str, Any]:
        return {
            "quantity": self.quantity,
            "step": self.step,
            "value": json_number(self.value),
            "threshold": json_number(self.threshold),
            "margin": json_number(self.margin),
        }


@dataclass(frozen=True)
class Finding:
    """One rule's answer.

    rule         its public id.
    severity     how bad it is, or would be.
    title        the fault in one line.
    evidence     the measurements behind it, also where the rule stays clear.
    explanation  a paragraph for a newcomer; for `unknown`, which data is missing.
    remedy       RunConfig overrides that should help, or None.
    reference    where this is known from.
    """

    rule: str
    verdict: Verdict
    severity: Severity
    title: str
    evidence: tuple[EvidenceRow, ...]
    explanation: str
    remedy: Overrides | None
    reference: str

    @property
    def is_sick(self) -> bool:
        """Whether this finding alone calls the run sick."""
        return self.verdict is Verdict.FIRED and self.severity.is_sick

    def to_mapping(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "verdict": self.verdict.value,
            "severity": self.severity.value,
            "title": self.title,
            "evidence": [row.to_mapping() for row in self.evidence],
            "explanation": self.explanation,
            "remedy": {"overrides": dict(self.remedy)} if self.remedy else None,
            "reference": self.reference,
        }


def json_number(value: float | int | str | None) -> float | int | str | None:
    """JSON has no NaN and no infinity: they become the strings that metrics.jsonl uses."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
