"""`hrm-sweep diagnose` and `hrm-sweep rules`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.complete import run_directories, studies

if TYPE_CHECKING:
    from hrm_sweep.diagnosis import Diagnosis, Rule
    from hrm_sweep.errors import HrmSweepError

Runs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RUN_DIR...",
        help="Run directories, ours or of the reference implementation.",
        autocompletion=run_directories,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a report: docs/diagnosis.md.")]
Explain = Annotated[str | None, typer.Option("--explain", metavar="RULE", help="Print the catalogue entry of a rule.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the curves of each run.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The puzzle folder, where it has moved.")]
Metrics = Annotated[
    list[Path] | None,
    typer.Option(
        "--metrics",
        metavar="FILE",
        help="Metrics that the reference logged: a history exported from Weights & Biases, CSV or JSON. RUN_DIR may "
        "then be left out, and the option given again for further files.",
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The run's all_config.yaml, for --metrics alone.")
]
StudyName = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="Diagnose a study instead of runs.", autocompletion=studies),
]
Storage = Annotated[
    str | None,
    typer.Option(help="With --study: URL of the database (default: sqlite:///trials/optuna.db, or HRM_SWEEP_STORAGE)."),
]
WriteSpace = Annotated[
    Path | None,
    typer.Option(
        "--write-space", metavar="FILE", help="With --study: write the search space that its findings ask for."
    ),
]


def diagnose(
    runs: Runs = None,
    as_json: AsJson = False,
    html: Html = None,
    explain: Explain = None,
    data: Data = None,
    metrics: Metrics = None,
    config: Config = None,
    study: StudyName = None,
    storage: Storage = None,
    write_space: WriteSpace = None,
) -> None:
    """Say what is wrong with a run or a study, and why.

    Works on finished, live, killed and damaged runs, and on studies at any time. Exit code: 0 healthy, 1 a rule fired
    at warning or above, 2 not a run directory or study. Leaves diagnosis.json and report.html in run directories of
    hrm-sweep.

    Example: hrm-sweep diagnose trials/quickstart/0003 --html report.html

    Example: hrm-sweep diagnose --metrics history.csv --config all_config.yaml --data data/sudoku-extreme-1k

    Example: hrm-sweep diagnose --study quickstart --write-space next.yaml
    """
    from hrm_sweep.errors import HrmSweepError, UsageError  # everything here: --help must not load numpy

    if explain is not None:
        _explain(explain)
        return
    if study is not None:
        from hrm_sweep.cli.diagnose_study import diagnose_one_study

        if runs or data is not None or metrics or config is not None or html is not None:
            raise UsageError(
                "--study takes --json, --storage and --write-space only; diagnose runs in a call of their own"
            )
        raise typer.Exit(diagnose_one_study(study, storage, as_json=as_json, write_space=write_space))
    if storage is not None or write_space is not None:
        raise UsageError("--storage and --write-space need --study NAME; `hrm-sweep studies` lists the names")
    if not runs and not metrics:
        raise UsageError(
            "no run directory named; try `hrm-sweep diagnose trials/runs/NAME`, --study NAME, or --explain RULE"
        )
    if metrics and len(runs or []) > 1:
        raise UsageError(f"--metrics belongs to one run, and {len(runs or [])} are named; diagnose them one by one")
    if config is not None and (runs or not metrics):
        raise UsageError("--config goes with --metrics where there is no RUN_DIR, which has a configuration of its own")

    from hrm_sweep.diagnosis import Export, diagnose_run

    export = Export(tuple(metrics), config) if metrics else None
    diagnoses: list[Diagnosis] = []
    errors: list[HrmSweepError] = []
    targets: list[Path | None] = [*runs] if runs else [None]
    for path in targets:
        try:
            diagnoses.append(diagnose_run(path, data=data, export=export))
        except HrmSweepError as unreadable:
            errors.append(unreadable)
    errors += _write_pages(diagnoses, html)  # before anything is printed: who reads may stop reading
    if as_json:
        mappings = [diagnosis.to_mapping() for diagnosis in diagnoses]
        if mappings:
            typer.echo(json.dumps(mappings if len(targets) > 1 else mappings[0], indent=1, allow_nan=False))
    else:
        _print(diagnoses)
        if runs and len(runs) == 1 and diagnoses:
            _tell_how_to_fix(diagnoses[0], runs[0], data)
    for error in errors:
        typer.echo(f"error: {error}", err=True)
    raise typer.Exit(2 if errors else max(diagnosis.exit_code for diagnosis in diagnoses))


def rules(as_json: AsJson = False) -> None:
    """List every diagnosis rule.

    Example: hrm-sweep rules --json
    """
    from hrm_sweep.diagnosis import catalogue

    if as_json:
        keys = ("id", "subject", "family", "title", "fatal", "reference")
        entries = [
            {key: getattr(rule, key) for key in keys} | {"severity": rule.severity.value} for rule in catalogue()
        ]
        typer.echo(json.dumps(entries, indent=1))
        return
    from rich.console import Console

    from hrm_sweep.report.diagnosis import print_rules

    print_rules(catalogue(), Console())


def _print(diagnoses: list[Diagnosis]) -> None:
    from rich.console import Console

    from hrm_sweep.report.diagnosis import print_diagnosis

    console = Console(highlight=False)
    for number, diagnosis in enumerate(diagnoses):
        if number:
            console.print()
        print_diagnosis(diagnosis, console)


def _tell_how_to_fix(diagnosis: Diagnosis, run: Path, data: Path | None) -> None:
    """The command that writes what the findings propose, where they propose something."""
    from hrm_sweep.cli.output import hint
    from hrm_sweep.diagnosis.prescription import prescribe

    if diagnosis.evidence.recorded.config is not None and prescribe(diagnosis.findings).applied:
        words = ["hrm-sweep", "fix", str(run), *([] if data is None else ["--data", str(data)])]
        hint(f"\nnext: {shlex.join(words)}  # writes the configuration that mends it; --run trains it as well")


def _write_pages(diagnoses: list[Diagnosis], html: Path | None) -> list[HrmSweepError]:
    """The page of each run in its directory, and all of them in `html`; what went wrong with the latter."""
    from hrm_sweep.errors import DiskFullError, UsageError
    from hrm_sweep.report.diagnosis_page import diagnosis_page, write_report
    from hrm_sweep.report.html import write_page

    for diagnosis in diagnoses:
        write_report(diagnosis)
    if html is None or not diagnoses:
        return []
    try:
        write_page(html, diagnosis_page(diagnoses))
        typer.echo(f"written: {html}", err=True)
    except DiskFullError as error:
        return [error]
    except OSError as error:
        return [UsageError(f"--html {html}: cannot be written ({error.strerror}); name another file")]
    return []


def _explain(rule_id: str) -> None:
    from rich.console import Console

    from hrm_sweep.report.diagnosis import print_rule_page

    print_rule_page(require_rule(rule_id, "--explain"), Console())


def require_rule(rule_id: str, option: str) -> Rule:
    """The rule that is meant. Raises UsageError, naming the option and the nearest rule."""
    import difflib

    from hrm_sweep.diagnosis import catalogue, find_rule
    from hrm_sweep.errors import UsageError

    rule = find_rule(rule_id)
    if rule is None:
        ids = [known.id for known in catalogue()]
        close = difflib.get_close_matches(rule_id, ids, n=1)
        hint = f"did you mean {close[0]}?" if close else "`hrm-sweep rules` lists those there are"
        raise UsageError(f"{option} {rule_id}: there is no such rule; {hint}")
    return rule
