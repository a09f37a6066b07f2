"""`hrm-sweep audit`: what pruners save and whom they end, from the curves that a study has recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hrm_sweep.cli.complete import studies
from hrm_sweep.cli.studies import STORAGE_OPTION, storage_url

_FILE = "FILE"


def audit(
    study: Annotated[str, typer.Argument(help="Name of a study.", autocompletion=studies)],
    pruner: Annotated[
        str | None,
        typer.Option(
            metavar="PRUNERS",
            help="Pruners to replay, between semicolons: NAME, NAME at EPOCH, EPOCH, or NAME option=value; `+` joins "
            "some that work together. Without it those of the study and the usual ones.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar=_FILE, help="Write a page with the figure.")] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar=_FILE, help="Write the figure as a picture.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    storage: Annotated[str | None, STORAGE_OPTION] = None,
) -> None:
    """Say what pruning costs: did it end a winner, what did it save, and what would other pruners have done.

    Trials that ran to their end, those of `audit: 0.1` in a search space among them, are replayed evaluation by
    evaluation. Works at any time, also while the study runs.

    Example: hrm-sweep audit quickstart --pruner "zero_accuracy at 4, 8, 20; hyperband" --png pruners.png
    """
    import json

    from hrm_sweep.cli.files import require_file, write_bytes, write_text
    from hrm_sweep.report.pruner_replay import print_replays
    from hrm_sweep.sweep.audit_account import audit_account
    from hrm_sweep.sweep.replay import replayed_pruners
    from hrm_sweep.sweep.storage import quiet_optuna
    from hrm_sweep.sweep.study import open_study

    require_file("--html", html)
    require_file("--png", png)
    quiet_optuna()
    opened = open_study(storage_url(storage), study)
    account, replays = audit_account(opened), replayed_pruners(opened, pruner)
    if html is not None:
        from hrm_sweep.report.replay_charts import replays_page

        write_text("--html", html, replays_page(replays))
    if png is not None:
        from hrm_sweep.report.replay_charts import replays_png

        write_bytes("--png", png, replays_png(replays))
    if as_json:
        print(json.dumps({**replays.to_mapping(), "audit": account.to_mapping()}, allow_nan=False))
        return
    from rich.console import Console

    print_replays(replays, list(account.sentences()) if account.condemned else [], Console(highlight=False))
