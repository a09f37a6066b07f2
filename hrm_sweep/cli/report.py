"""`hrm-sweep report`: a study in the terminal, and as a file to send to somebody."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.studies import STORAGE_OPTION, storage_url, study_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hrm_sweep.report.study_report import StudyReport
    from hrm_sweep.sweep.study import Study

_FILE = "FILE"


def report(
    study: Annotated[str, typer.Argument(help="Name of a study.")],
    html: Annotated[Path | None, typer.Option("--html", metavar=_FILE, help="Write one page with figures.")] = None,
    markdown: Annotated[Path | None, typer.Option("--md", metavar=_FILE, help="Write Markdown.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar=_FILE, help="Write a table of all trials.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar=_FILE, help="Write everything as JSON.")] = None,
    measure: Annotated[
        bool,
        typer.Option(help="Evaluate the best trial on the unseen puzzles, where that was not done when it ended."),
    ] = True,
    storage: Annotated[str | None, STORAGE_OPTION] = None,
) -> None:
    """Report on a study: what was searched, what is best and what that rests on, what failed where, cost, next steps.

    Works at any time, also while the study runs. Without a file the report is printed. The page is one file, which
    fetches nothing.

    Example: hrm-sweep report quickstart --html report.html --csv trials.csv
    """
    from dataclasses import replace
    from datetime import datetime

    from hrm_sweep.cli.files import require_file, write_text
    from hrm_sweep.sweep.storage import quiet_optuna
    from hrm_sweep.sweep.study import open_study
    from hrm_sweep.sweep.study_report import study_report

    files = {"--html": html, "--md": markdown, "--csv": csv, "--json": json}
    for option, path in files.items():
        require_file(option, path)
    quiet_optuna()
    opened = open_study(storage_url(storage), study)
    found = study_report(opened, measure=measure, next_commands=(), now=datetime.now().astimezone())
    found = replace(found, next_commands=list(_next_commands(opened, found)))
    if not any(files.values()):
        from rich.console import Console

        from hrm_sweep.report.study_report_text import print_report

        print_report(found, Console(highlight=False))
        return
    from hrm_sweep.report.study_report_page import report_page
    from hrm_sweep.report.study_report_text import report_csv, report_json, report_markdown

    writers = {"--html": report_page, "--md": report_markdown, "--csv": report_csv, "--json": report_json}
    for option, path in files.items():
        if path is not None:
            write_text(option, path, writers[option](found))


def _next_commands(study: Study, report: StudyReport) -> Iterator[tuple[str, str]]:
    """What one would type after reading the report."""
    from hrm_sweep.cli.next_steps import confirm_step, diagnose_step, space_step
    from hrm_sweep.sweep.budget import account
    from hrm_sweep.sweep.holdout import best_trial

    name = study.name
    if not account(study).is_reached:
        yield study_command(study, "run", "--study", name), "goes on with it"
    yield from diagnose_step(study)
    best = best_trial(study)
    if best is not None and any(one.last.state.name == "PRUNED" for one in study.chains()):
        yield study_command(study, "audit", name), "what pruning saved, and whom it may have cost"
    yield from confirm_step(study)
    if best is not None:
        config = study.run_directory(study.first_attempt_of(best)).config.as_posix()
        yield shlex.join(["hrm-sweep", "train", config, "seed=1"]), "the best one again, with another seed"
        chosen = ["--trial", str(best.number)] if study.space.objective.beside else []  # several goals: no single best
        yield study_command(study, "best", name, *chosen, "--official"), "its line for the reference implementation"
        export = study_command(study, "export", name, f"checkpoints/{name}", *chosen)
        yield export, "its checkpoint for the reference"
    yield from space_step(study, report.evidence, report.diagnosis, "next.yaml")
