"""`hrm-sweep compare`: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hrm_sweep.cli.diagnose import Data


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN_DIR...", help="Run directories, ours or of the reference.")
    ],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with their curves.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    data: Data = None,
) -> None:
    """Compare runs: how good each is, whether that can be compared, and which settings differ.

    Scores are those of the last evaluation. A run of the reference, which keeps no metrics, is evaluated; whether two
    runs were measured on the same puzzles is told by the puzzles themselves.

    Example: hrm-sweep compare trials/quickstart/0000 trials/quickstart/0002 --html compare.html
    """
    from hrm_sweep.cli.files import require_file, write_text
    from hrm_sweep.diagnosis.comparison import compare_runs
    from hrm_sweep.errors import UsageError
    from hrm_sweep.report.comparison import comparison_json, comparison_page, print_comparison

    if len(runs) < 2:
        raise UsageError("compare: expected two run directories or more; `hrm-sweep diagnose` looks at one")
    require_file("--html", html)
    comparison = compare_runs(runs, data)
    if html is not None:
        write_text("--html", html, comparison_page(comparison))
    if as_json:
        typer.echo(comparison_json(comparison))
        return
    from rich.console import Console

    print_comparison(comparison, Console(highlight=False))
