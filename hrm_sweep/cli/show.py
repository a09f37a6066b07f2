"""`hrm-sweep show`: puzzles as a model solves them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.diagnose import Data

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hrm_sweep.data import Split


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run directory, ours or of the reference.")],
    puzzles: Annotated[
        int, typer.Option("--puzzles", min=1, help="How many, evenly spaced over the test puzzles.")
    ] = 1,
    index: Annotated[
        list[int] | None, typer.Option("--index", metavar="I", help="The test puzzle with this number; repeatable.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page to step through.")] = None,
    data: Data = None,
) -> None:
    """Draw test puzzles as the model solves them, ACT step by step: which cells are right, wrong and just changed.

    Takes the best checkpoint of a run of ours, the last of one of the reference, and computes what evaluation does:
    all ACT steps, halting off. Where it would have halted by itself is marked.

    Example: hrm-sweep show trials/quickstart/0000 --puzzles 2 --html solving.html
    """
    from rich.console import Console

    from hrm_sweep.cli.files import require_file, write_text
    from hrm_sweep.data import open_folder
    from hrm_sweep.diagnosis.data_facts import find_data
    from hrm_sweep.errors import DataError, RunDirectoryError
    from hrm_sweep.evaluation.watch import watch_checkpoint
    from hrm_sweep.report.solving import print_legend, print_solving, solving
    from hrm_sweep.runs.formats import read_run
    from hrm_sweep.runs.formats.checkpoint import best_checkpoint

    require_file("--html", html)
    recorded = read_run(run)
    if recorded.config is None:
        raise RunDirectoryError("; ".join(recorded.problems))
    checkpoint = best_checkpoint(recorded)
    facts, problem = find_data(recorded.config, run, data)
    if facts is None:
        raise DataError(f"{run}: {problem}")
    split = open_folder(facts.path).test
    watched = watch_checkpoint(recorded.config, checkpoint, split, _indices(split, puzzles, index or []))
    drawn = [
        solving(
            int(watched.examples[n]),
            watched.inputs[n],
            watched.labels[n],
            watched.predictions[n],
            watched.q_halt[n],
            watched.q_continue[n],
            watched.metadata.vocab_size,
        )
        for n in range(len(watched.examples))
    ]
    if html is not None:
        from hrm_sweep.report.solving_page import solving_page

        write_text(
            "--html", html, solving_page("Puzzles as the model solves them", f"{checkpoint} · {facts.path}", drawn)
        )
        return
    console = Console(highlight=False)
    console.print(f"{checkpoint}, test puzzles of {facts.path}", soft_wrap=True, markup=False)
    print_legend(console)
    for one in drawn:
        print_solving(one, console)


def _indices(split: Split, puzzles: int, index: list[int]) -> NDArray[np.int64]:
    import numpy as np

    from hrm_sweep.errors import DataError, UsageError
    from hrm_sweep.evaluation.selection import evenly_spaced

    if split.n_examples == 0:
        raise DataError("the data folder has no test puzzle to show")
    if unknown := [one for one in index if not 0 <= one < split.n_examples]:
        raise UsageError(f"--index {unknown[0]}: the test puzzles are numbered 0 to {split.n_examples - 1}")
    return np.array(index, dtype=np.int64) if index else evenly_spaced(split.n_examples, puzzles)
