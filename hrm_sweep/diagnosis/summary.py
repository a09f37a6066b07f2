"""The verdict of a diagnosis in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.diagnosis.finding import Finding, Verdict
from hrm_sweep.runs import State

_NO_FAULT = ("Healthy", "No fault found", "Cannot tell")


def names_a_fault(said: str) -> bool:
    """Whether what stands in the storage of a trial's diagnosis is the title of a leading finding, and no verdict that
    found nothing."""
    return not said.startswith(_NO_FAULT)


MENTIONED_UNKNOWN = 1 / 2  # the share of rules without data from which on the sentence says so


def verdict_sentence(evidence: Evidence, findings: Sequence[Finding]) -> str:
    """`findings` are ranked. Begins with Sick, Healthy, Healthy so far, No fault found or Cannot tell."""
    sick = [finding for finding in findings if finding.is_sick]
    if sick:
        others = f", and {len(sick) - 1} more finding(s)" if len(sick) > 1 else ""
        return f"Sick: {lower_first(sick[0].title)} ({sick[0].rule}, {sick[0].severity.value}){others}."
    unknown = sum(finding.verdict is Verdict.UNKNOWN for finding in findings)
    if _nothing_measured(evidence):
        return f"Cannot tell: nothing was measured yet, so {unknown} of {len(findings)} rules have no data."
    if evidence.status is not None and evidence.status.state is State.PRUNED:
        return f"No fault found: the pruner, not a fault, ended the run early, {_where(evidence)}{_cells(evidence)}."
    so_far = "Healthy" if evidence.is_ended else "Healthy so far"
    if any(finding.rule == "zero_exact_learning" and finding.verdict is Verdict.FIRED for finding in findings):
        return f"{so_far}: no puzzle is solved yet, but the cells say that the model learns {_where(evidence)}."
    blind = f"; {unknown} of {len(findings)} rules cannot tell" if unknown > len(findings) * MENTIONED_UNKNOWN else ""
    return f"{so_far}: no rule fired at warning or above {_where(evidence)}{blind}."


def _nothing_measured(evidence: Evidence) -> bool:
    return not len(evidence.rows) and not len(evidence.evaluations) and not evidence.checkpoints


def _where(evidence: Evidence) -> str:
    plan = evidence.known_plan
    steps = (
        f"after {evidence.steps_done} steps"
        if plan is None
        else f"at step {evidence.steps_done} of {plan.trained_steps}"
    )
    exact = evidence.evaluations.get("exact_accuracy")
    return steps + (f", exact accuracy {exact.last:.3f}" if exact is not None and len(exact) else "")


def _cells(evidence: Evidence) -> str:
    """The share of right cells, while it says more than the share of solved puzzles."""
    exact, cells = evidence.evaluations.get("exact_accuracy"), evidence.evaluations.get("accuracy")
    return "" if cells is None or not len(cells) or (exact is not None and exact.last) else f", cells {cells.last:.3f}"


def lower_first(text: str) -> str:
    """A title in the middle of a sentence; `H_level ...` and `NaN ...` keep their capitals."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
