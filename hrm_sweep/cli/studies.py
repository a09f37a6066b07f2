"""`hrm-sweep studies` and `hrm-sweep clean`: what there is, and the disk it takes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hrm_sweep.cli import complete

if TYPE_CHECKING:
    from hrm_sweep.sweep.study import Study

STORAGE_OPTION = typer.Option(help="URL of the database (default: sqlite:///trials/optuna.db, or HRM_SWEEP_STORAGE).")


def storage_url(given: str | None) -> str:
    """The storage that is meant: the option, the environment, or the default. Raises UsageError for an option with a
    password in it."""
    from hrm_sweep.sweep.storage import chosen_storage, refuse_password

    if given:
        refuse_password(given)
    return chosen_storage(given)


def study_command(study: Study, *words: str) -> str:
    """The command line `hrm-sweep WORDS` on a study, with `--storage` where it is needed; a URL with a password is left
    to HRM_SWEEP_STORAGE."""
    from hrm_sweep.sweep.storage import storage_option

    return shlex.join(["hrm-sweep", *words, *storage_option(study.storage_url)])


def studies(
    storage: Annotated[str | None, STORAGE_OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of JSON objects.")] = False,
) -> None:
    """List the studies in the storage: their trials, their best value and their disk.

    Example: hrm-sweep studies --json
    """
    import dataclasses
    import json

    from rich.console import Console
    from rich.table import Table

    from hrm_sweep.sweep.housekeeping import list_studies
    from hrm_sweep.sweep.storage import quiet_optuna

    quiet_optuna()
    lines = list_studies(storage_url(storage))
    if as_json:
        print(json.dumps([dataclasses.asdict(line) for line in lines], indent=1))
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = ("study", "trials", "best", "confirmed", "disk")
    shown = [heading for heading in headings if heading != "confirmed" or any(line.confirmed for line in lines)]
    longest = max((len(line.name) for line in lines), default=0)
    for heading in shown:
        stays_whole = heading == "study" and longest <= console.width // 2  # one types it, the others are only read
        justify: Literal["left", "right"] = "left" if heading in ("study", "trials") else "right"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=stays_whole)
    for line in lines:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(line.counts.items()))
        best = "" if line.best is None else f"{line.metric} {line.best[0]:.3f} (trial {line.best[1]})"
        confirmed = "" if line.confirmed is None else f"{line.confirmed[0]} ({line.confirmed[1]})"
        remedies = f", {line.remedies} remed{'y' if line.remedies == 1 else 'ies'}" if line.remedies else ""
        trials = f"{counts or 'none'} (budget {line.budget}{remedies})"
        cells = (line.name, trials, best, confirmed, size(line.disk_bytes))
        table.add_row(*(cell for heading, cell in zip(headings, cells, strict=True) if heading in shown))
    console.print(table if lines else "no studies yet; start one with `hrm-sweep run`")


def clean(
    study: Annotated[str, typer.Argument(help="Name of a study.", autocompletion=complete.studies)],
    storage: Annotated[str | None, STORAGE_OPTION] = None,
) -> None:
    """Remove the checkpoints of a study's trials. Metrics, configs and diagnoses stay.

    Example: hrm-sweep clean quickstart
    """
    from hrm_sweep.sweep.housekeeping import clean_study
    from hrm_sweep.sweep.storage import quiet_optuna
    from hrm_sweep.sweep.study import open_study

    quiet_optuna()
    opened = open_study(storage_url(storage), study)
    files, freed = clean_study(opened)
    print(f"{opened.folder}: {files} checkpoint{'' if files == 1 else 's'} removed, {size(freed)} freed")


def size(count: int) -> str:
    """Bytes for people: 512 B, 4.2 MB, 1.3 GB."""
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
