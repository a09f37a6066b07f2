"""Runs the study rules over the evidence of one study, and sums their findings up in one sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hrm_sweep.diagnosis.engine import SCHEMA_VERSION, Judged, judge, rank
from hrm_sweep.diagnosis.finding import Finding, Severity, Verdict
from hrm_sweep.diagnosis.registry import all_study_rules
from hrm_sweep.diagnosis.study_evidence import LEAST_TRIALS, StudyEvidence
from hrm_sweep.diagnosis.summary import lower_first


@dataclass(frozen=True)
class StudyDiagnosis(Judged):
    """What is wrong with one study, if anything.

    study     its name.
    verdict   one sentence.
    findings  every study rule exactly once, ranked: sick ones first, causes before their consequences.
    problems  what was there and could not be read.
    """

    study: str
    verdict: str
    findings: tuple[Finding, ...]
    problems: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """How a report calls what was judged."""
        return f"study {self.study}"

    def to_mapping(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study,
            "verdict": self.verdict,
            "findings": [finding.to_mapping() for finding in self.findings],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_mapping(), indent=1, allow_nan=False)


def diagnose_study(study: StudyEvidence) -> StudyDiagnosis:
    """Judge a study by every study rule. Pure: the same evidence gives the same diagnosis."""
    rules = all_study_rules()
    findings = rank([judge(rule, study) for rule in rules], rules)
    return StudyDiagnosis(study.name, _verdict_sentence(study, findings), findings, study.problems)


def _verdict_sentence(study: StudyEvidence, findings: Sequence[Finding]) -> str:
    """`findings` are ranked. Begins with Sick, Healthy, Healthy so far or Cannot tell, as that of a run does."""
    sick = [finding for finding in findings if finding.is_sick]
    ended = f"{len(study.ended)} trial{'' if len(study.ended) == 1 else 's'}"
    if sick:
        others = f", and {len(sick) - 1} more finding(s)" if len(sick) > 1 else ""
        return f"Sick: {lower_first(sick[0].title)} ({sick[0].rule}, {sick[0].severity.value}){others}, after {ended}."
    unknown = sum(finding.verdict is Verdict.UNKNOWN for finding in findings)
    if len(study.ended) < LEAST_TRIALS and unknown:
        return (
            f"Cannot tell: {ended} ended, and {unknown} of {len(findings)} rules need more "
            f"(most of them {LEAST_TRIALS})."
        )
    so_far = "Healthy" if study.is_finished else "Healthy so far"
    best = (
        f", best {study.metric} {study.ranked[0].objective:.3f} (trial {study.ranked[0].number})"
        if study.ranked
        else ""
    )
    advice = [each.rule for each in findings if each.verdict is Verdict.FIRED and each.severity is Severity.ADVICE]
    return (
        f"{so_far}: no rule fired at warning or above after {ended}{best}"
        + (f"; advice: {', '.join(advice)}" if advice else "")
        + "."
    )
