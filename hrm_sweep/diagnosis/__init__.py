"""Says what is wrong with a run or a study, and why: evidence in, findings out. Knows neither Optuna nor training."""

from hrm_sweep.diagnosis.engine import Diagnosis, diagnose, diagnose_run
from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Finding, Severity, Verdict
from hrm_sweep.diagnosis.gather import Export, gather_evidence
from hrm_sweep.diagnosis.registry import Rule, all_rules, all_study_rules, catalogue, find_rule
from hrm_sweep.diagnosis.study import StudyDiagnosis, diagnose_study
from hrm_sweep.diagnosis.study_evidence import StudyEvidence

__all__ = [
    "Diagnosis",
    "Evidence",
    "EvidenceRow",
    "Export",
    "Finding",
    "MissingEvidence",
    "Rule",
    "Severity",
    "StudyDiagnosis",
    "StudyEvidence",
    "Verdict",
    "all_rules",
    "all_study_rules",
    "catalogue",
    "diagnose",
    "diagnose_run",
    "diagnose_study",
    "find_rule",
    "gather_evidence",
]
