"""Findings as HTML: evidence, remedy, and those that did not fire."""

from __future__ import annotations

from collections.abc import Sequence

from hrm_sweep.diagnosis import EvidenceRow, Finding
from hrm_sweep.diagnosis.finding import json_number
from hrm_sweep.report.html import Html, element


def remedy(finding: Finding) -> Html | None:
    if not finding.remedy:
        return None
    settings = " ".join(f"{key}={_number(value)}" for key, value in finding.remedy.items())
    return element("p", "Try: ", element("code", settings), class_="remedy")


def evidence_table(rows: Sequence[EvidenceRow]) -> Html | None:
    if not rows:
        return None
    head = ["evidence", "step", "value", "threshold", "margin"]
    used = head[:1] + [name for name in head[1:] if any(getattr(row, name) is not None for row in rows)]
    body = []
    for row in rows:
        cells = {
            "evidence": row.quantity,
            "step": "" if row.step is None else f"{row.step:,}",
            "value": _number(row.value),
            "threshold": _number(row.threshold),
            "margin": "" if row.margin is None else f"{row.margin:+.3g}",
        }
        body.append(element("tr", (element("td", cells[name]) for name in used)))
    table = element(
        "table",
        element("thead", element("tr", (element("th", name, scope="col") for name in used))),
        element("tbody", body),
    )
    return element("div", table, class_="scroll")


def _number(value: float | int | str | bool | None) -> str:
    if value is None:
        return ""
    shown = json_number(value)
    return f"{shown:.4g}" if isinstance(shown, float) else str(shown)


def quiet_findings(title: str, findings: Sequence[Finding], prefix: str) -> Html | None:
    """Those that did not fire, folded away: which data is missing, or how far the run is from each threshold."""
    if not findings:
        return None
    entries = [
        element(
            "div",
            element("dt", element("code", finding.rule)),
            element("dd", finding.explanation, evidence_table(finding.evidence)),
            id=f"{prefix}{finding.rule}",
            data_rule=finding.rule,
        )
        for finding in findings
    ]
    summary = element("summary", f"{title} ({len(findings)})")
    return element("details", summary, element("dl", entries, class_="rules"))
