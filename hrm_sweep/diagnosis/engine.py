"""Runs the rules over the evidence of one run, ranks their findings, and sums them up in one sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import Finding, Verdict
from hrm_sweep.diagnosis.gather import Export, gather_evidence
from hrm_sweep.diagnosis.registry import Rule, all_rules
from hrm_sweep.diagnosis.remedies import in_stages
from hrm_sweep.diagnosis.study_evidence import StudyEvidence
from hrm_sweep.diagnosis.summary import verdict_sentence
from hrm_sweep.errors import DiskFullError
from hrm_sweep.runs import RunDirectory, replaced_atomically

SCHEMA_VERSION = 1


class Judged:
    """What a diagnosis of a run and one of a study have in common."""

    findings: tuple[Finding, ...]

    @property
    def leading(self) -> Finding | None:
        """The finding to act on: the first that fired at warning or above, or None where nothing is wrong."""
        return next((finding for finding in self.findings if finding.is_sick), None)

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 a rule fired at warning or above."""
        return int(self.leading is not None)


@dataclass(frozen=True)
class Diagnosis(Judged):
    """What is wrong with one run, if anything.

    run       its directory.
    verdict   one sentence.
    findings  every rule exactly once, ranked: sick ones first, causes before their consequences.
    fatal     the first finding that may end a run in mid-sweep, or None.
    problems  what was there and could not be read.
    evidence  what the findings rest on, for those who draw it.
    """

    run: Path
    verdict: str
    findings: tuple[Finding, ...]
    fatal: Finding | None
    problems: tuple[str, ...]
    evidence: Evidence = field(repr=False, compare=False)

    @property
    def subject(self) -> str:
        """How a report calls what was judged."""
        return str(self.run)

    def to_mapping(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "run": str(self.run),
            "verdict": self.verdict,
            "findings": [finding.to_mapping() for finding in self.findings],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_mapping(), indent=1, allow_nan=False)


def diagnose_run(
    path: Path | None,
    *,
    write: bool = True,
    data: Path | None = None,
    now: float | None = None,
    export: Export | None = None,
) -> Diagnosis:
    """Diagnose the run in the folder `path`, finished, live, killed or damaged, ours or of the reference.

    `export` adds the metrics that a run of the reference logged; with it `path` may be None. With `write`, a run
    directory of ours also gets diagnosis.json (`is_kept`); a folder that cannot be written is left as it is. Raises
    RunDirectoryError when `path` is no run directory, MetricsError when the export cannot be read.
    """
    evidence = gather_evidence(None if path is None else Path(path), data=data, now=now, export=export)
    diagnosis = diagnose(evidence)
    if write and is_kept(evidence):
        _write(RunDirectory(evidence.path).diagnosis, diagnosis)
    return diagnosis


def is_kept(evidence: Evidence) -> bool:
    """Whether a diagnosis belongs into the run directory: one that was made without the puzzles, because a run was
    copied to where they are not, knows less than the one that lies there."""
    return not evidence.is_reference and (
        evidence.data is not None or not RunDirectory(evidence.path).diagnosis.exists()
    )


def diagnose(evidence: Evidence) -> Diagnosis:
    """Judge evidence by every rule. Pure: the same evidence gives the same diagnosis."""
    rules = all_rules()
    with np.errstate(all="ignore"):  # numbers that are none are what rules look for
        findings = rank([judge(rule, evidence) for rule in rules], rules)
    fatal_ids = {rule.id for rule in rules if rule.fatal}
    fatal = next((each for each in findings if each.rule in fatal_ids and _is_error(each)), None)
    return Diagnosis(evidence.path, verdict_sentence(evidence, findings), findings, fatal, evidence.problems, evidence)


def judge(rule: Rule, evidence: Evidence | StudyEvidence) -> Finding:
    """One rule's finding. Missing data becomes the verdict `unknown` here and nowhere else."""
    try:
        outcome = rule.judge(evidence)
    except MissingEvidence as missing:
        return Finding(
            rule.id, Verdict.UNKNOWN, rule.severity, rule.title, (), f"Needs {missing}.", None, rule.reference
        )
    return Finding(
        rule=rule.id,
        verdict=outcome.verdict,
        severity=outcome.severity or rule.severity,
        title=outcome.title or rule.title,
        evidence=outcome.evidence,
        explanation=outcome.explanation,
        remedy=in_stages(evidence, outcome.remedy) if isinstance(evidence, Evidence) else outcome.remedy,
        reference=rule.reference,
    )


def rank(findings: Sequence[Finding], rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """Fired before unknown before clear. Among the fired: causes before consequences, then the worse first."""
    sick = {finding.rule for finding in findings if finding.is_sick}
    explained = {rule for cause in sick for rule in consequences(cause, rules) if rule != cause}
    order = {Verdict.FIRED: 0, Verdict.UNKNOWN: 1, Verdict.CLEAR: 2}

    def key(finding: Finding) -> tuple[int, bool, bool, int]:
        is_consequence = finding.rule in explained
        return (order[finding.verdict], not finding.is_sick, is_consequence, -finding.severity.rank)

    return tuple(sorted(findings, key=key))


def consequences(rule_id: str, rules: Sequence[Rule] | None = None) -> set[str]:
    """Everything that follows from a rule, directly or through others; of `rules`, by default all there are."""
    causes = {rule.id: rule.causes for rule in rules or all_rules()}
    found: set[str] = set()
    todo = list(causes.get(rule_id, ()))
    while todo:
        consequence = todo.pop()
        if consequence not in found:
            found.add(consequence)
            todo.extend(causes.get(consequence, ()))
    return found


def _is_error(finding: Finding) -> bool:
    return finding.verdict is Verdict.FIRED and finding.severity.value == "error"


def _write(path: Path, diagnosis: Diagnosis) -> None:
    try:
        with replaced_atomically(path) as temporary:
            temporary.write_text(diagnosis.to_json(), encoding="utf-8")
    except (OSError, DiskFullError):
        return  # a read-only folder, a full disk: the diagnosis is still returned, printed and attached
