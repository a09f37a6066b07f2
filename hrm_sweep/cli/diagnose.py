"""`hrm-sweep diagnose` and `hrm-sweep rules`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hrm_sweep.diagnosis import Diagnosis, Rule

Runs = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RUN_DIR...", help="Run directories, ours or of the reference implementation."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a report: docs/diagnosis.md.")]
Explain = Annotated[str | None, typer.Option("--explain", metavar="RULE", help="Print the catalogue entry of a rule.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The puzzle folder, where it has moved.")]


def diagnose(runs: Runs = None, as_json: AsJson = False, explain: Explain = None, data: Data = None) -> None:
    """Say what is wrong with a run, and why.

    Works on finished, live, killed and damaged runs. Exit code: 0 healthy, 1 a rule fired at warning or above,
    2 not a run directory.

    Example: hrm-sweep diagnose trials/quickstart/0003 --json
    """
    from hrm_sweep.errors import HrmSweepError, UsageError  # everything here: --help must not load numpy

    if explain is not None:
        _explain(explain)
        return
    if not runs:
        raise UsageError("no run directory named; try `hrm-sweep diagnose trials/runs/NAME`, or --explain RULE")

    from hrm_sweep.diagnosis import diagnose_run

    diagnoses, errors = [], []
    for path in runs:
        try:
            diagnoses.append(diagnose_run(path, data=data))
        except HrmSweepError as unreadable:
            errors.append(unreadable)
    if as_json:
        mappings = [diagnosis.to_mapping() for diagnosis in diagnoses]
        if mappings:
            typer.echo(json.dumps(mappings if len(runs) > 1 else mappings[0], indent=1, allow_nan=False))
    else:
        _print(diagnoses)
    for error in errors:
        typer.echo(f"error: {error}", err=True)
    raise typer.Exit(2 if errors else max(diagnosis.exit_code for diagnosis in diagnoses))


def rules(as_json: AsJson = False) -> None:
    """List every diagnosis rule.

    Example: hrm-sweep rules --json
    """
    from hrm_sweep.diagnosis import all_rules

    if as_json:
        keys = ("id", "family", "title", "fatal", "reference")
        entries = [
            {key: getattr(rule, key) for key in keys} | {"severity": rule.severity.value} for rule in all_rules()
        ]
        typer.echo(json.dumps(entries, indent=1))
        return
    from rich.console import Console

    from hrm_sweep.report.diagnosis import print_rules

    print_rules(all_rules(), Console())


def _print(diagnoses: list[Diagnosis]) -> None:
    from rich.console import Console

    from hrm_sweep.report.diagnosis import print_diagnosis

    console = Console(highlight=False)
    for number, diagnosis in enumerate(diagnoses):
        if number:
            console.print()
        print_diagnosis(diagnosis, console)


def _explain(rule_id: str) -> None:
    from rich.console import Console

    from hrm_sweep.report.diagnosis import print_rule_page

    print_rule_page(require_rule(rule_id, "--explain"), Console())


def require_rule(rule_id: str, option: str) -> Rule:
    """The rule that is meant. Raises UsageError, naming the option and the nearest rule."""
    import difflib

    from hrm_sweep.diagnosis import all_rules, find_rule
    from hrm_sweep.errors import UsageError

    rule = find_rule(rule_id)
    if rule is None:
        ids = [known.id for known in all_rules()]
        close = difflib.get_close_matches(rule_id, ids, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else "`hrm-sweep rules` lists them"
        raise UsageError(f"{option} {rule_id}: there is no such rule; {hint}")
    return rule
