"""Diagnoses and rules in the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from hrm_sweep.diagnosis import Diagnosis, Finding, Rule, StudyDiagnosis, Verdict

_COLOURS = {"error": "bold red", "warning": "yellow", "advice": "cyan", "info": "blue"}


def print_diagnosis(diagnosis: Diagnosis | StudyDiagnosis, console: Console) -> None:
    """The verdict, then what fired with its evidence and remedy, then what cannot be told and what is clear."""
    console.print(escape(diagnosis.verdict), style="bold red" if diagnosis.leading else "bold green", soft_wrap=True)
    console.print(escape(diagnosis.subject), style="dim", soft_wrap=True)
    for finding in diagnosis.findings:
        if finding.verdict is Verdict.FIRED:
            _print_finding(finding, console)
    unknown = [finding for finding in diagnosis.findings if finding.verdict is Verdict.UNKNOWN]
    if unknown:
        console.print(f"\n[bold]Cannot tell[/] ({len(unknown)})")
        for explanation in dict.fromkeys(finding.explanation for finding in unknown):
            rules = ", ".join(finding.rule for finding in unknown if finding.explanation == explanation)
            console.print(Padding(f"{rules}: {escape(explanation)}", (0, 0, 0, 2)), style="dim")
    clear = [finding.rule for finding in diagnosis.findings if finding.verdict is Verdict.CLEAR]
    if clear:
        console.print(f"\n[bold]Clear[/] ({len(clear)})")
        console.print(Padding(", ".join(clear), (0, 0, 0, 2)), style="dim")
    for problem in diagnosis.problems:
        console.print(f"note: {escape(problem)}", style="dim")


def _print_finding(finding: Finding, console: Console) -> None:
    colour = _COLOURS[finding.severity.value]
    console.print(f"\n[{colour}]{finding.severity.value}[/] [bold]{finding.rule}[/]: {escape(finding.title)}")
    console.print(Padding(escape(finding.explanation), (0, 0, 0, 2)))
    if finding.evidence:
        console.print(Padding(_evidence_table(finding), (0, 0, 0, 2)))
    if finding.remedy:
        settings = " ".join(f"{key}={_number(value)}" for key, value in finding.remedy.items())
        console.print(Padding(f"try: [bold]{escape(settings)}[/]", (0, 0, 0, 2)))


def _evidence_table(finding: Finding) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    columns = {
        "evidence": [escape(row.quantity) for row in finding.evidence],
        "step": [_number(row.step) for row in finding.evidence],
        "value": [escape(_number(row.value)) for row in finding.evidence],
        "threshold": [_number(row.threshold) for row in finding.evidence],
        "margin": [_number(row.margin) for row in finding.evidence],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}  # a study has no steps
    for name in shown:
        table.add_column(name, justify="left" if name == "evidence" else "right")
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*cells)
    return table


def _number(value: float | int | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_rules(rules: Iterable[Rule], console: Console) -> None:
    """Every rule in a line, by family; those of studies after those of runs."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("family", "rule", "severity", "says that"):
        table.add_column(name, no_wrap=name != "says that")
    for rule in rules:
        colour = _COLOURS[rule.severity.value]
        table.add_row(rule.family, f"[bold]{rule.id}[/]", f"[{colour}]{rule.severity.value}[/]", escape(rule.title))
    console.print(table)


def print_rule_page(rule: Rule, console: Console) -> None:
    """The catalogue entry of one rule."""
    from rich.markdown import Markdown  # a tenth of a second to load, and only this page needs it

    console.print(Markdown(rule.page))
