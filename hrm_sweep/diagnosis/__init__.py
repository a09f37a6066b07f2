"""Says what is wrong with a run, and why: Evidence in, Findings out. Knows neither Optuna nor training."""

from hrm_sweep.diagnosis.engine import Diagnosis, diagnose, diagnose_run
from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Finding, Severity, Verdict
from hrm_sweep.diagnosis.gather import Export, gather_evidence
from hrm_sweep.diagnosis.registry import Rule, all_rules, find_rule

__all__ = [
    "Diagnosis",
    "Evidence",
    "EvidenceRow",
    "Export",
    "Finding",
    "MissingEvidence",
    "Rule",
    "Severity",
    "Verdict",
    "all_rules",
    "diagnose",
    "diagnose_run",
    "find_rule",
    "gather_evidence",
]
