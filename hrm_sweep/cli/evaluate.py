"""`hrm-sweep evaluate`: a checkpoint on puzzles, with any number of ACT steps, and with halting switched on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.complete import run_directories
from hrm_sweep.cli.diagnose import Data
from hrm_sweep.cli.output import is_quiet, output_console

if TYPE_CHECKING:
    from hrm_sweep.evaluation.selection import Subset
    from hrm_sweep.runs.formats.checkpoint import NamedCheckpoint

_MOST_STEPS = 1000  # of ACT; sixty times what the published model was trained with


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_CHECKPOINT",
            help="A run directory, ours or of the reference, or a file of weights.",
            autocompletion=run_directories,
        ),
    ],
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps",
            metavar="N,N,...",
            help="Numbers of ACT steps, also more than it was trained with. Default: powers of two, to twice "
            "halt_max_steps.",
        ),
    ] = None,
    act: Annotated[
        bool, typer.Option("--act", help="Also with halting on: each puzzle stops by itself, its slot takes the next.")
    ] = False,
    data: Data = None,
    puzzles: Annotated[int, typer.Option(min=1, help="At most so many puzzles, evenly spaced.")] = 1000,
    all_puzzles: Annotated[
        bool, typer.Option("--all", help="Of every test puzzle, also those by which the checkpoint was chosen.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Its configuration, where none lies beside the weights."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps, in place of what its configuration says.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the curve.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Evaluate a checkpoint: puzzles solved against ACT steps, speed, mistakes, and what halting would save.

    Takes the best checkpoint of a run of ours, and the puzzles that selection never saw; the last checkpoint of a run
    of the reference, and all its test puzzles. docs/evaluation.md explains every number.

    Example: hrm-sweep evaluate trials/quickstart/0000 --steps 1,2,4,8,16 --act

    Example: hrm-sweep evaluate checkpoints/published/step_26041 --data data/sudoku-extreme-1k --puzzles 200 --act
    """
    from hrm_sweep.cli.files import require_file, write_text

    require_file("--html", html)
    wanted = None if steps is None else _numbers(steps)

    from hrm_sweep.data import open_folder
    from hrm_sweep.diagnosis.data_facts import find_data
    from hrm_sweep.errors import DataError
    from hrm_sweep.runs.formats.checkpoint import named_checkpoint

    checkpoint = named_checkpoint(run, config)
    facts, problem = find_data(checkpoint.config, checkpoint.folder, data)
    if facts is None:
        raise DataError(f"{run}: {problem}")

    from hrm_sweep.evaluation.device import Device
    from hrm_sweep.evaluation.scaling import load_for_inference, puzzles_to_evaluate, scaling_of
    from hrm_sweep.model.checkpoint import config_of_checkpoint
    from hrm_sweep.report.evaluation import Evaluation, evaluation_json, evaluation_page, print_evaluation, solving_bar

    settings = config_of_checkpoint(checkpoint.config, checkpoint.path)
    settings = settings if device is None else settings.model_copy(update={"device": device})
    place = Device.choose(settings)
    split = open_folder(facts.path).test
    subset, chosen = _subset(checkpoint, all_puzzles)
    indices = puzzles_to_evaluate(split, subset, settings.eval_puzzles, puzzles)
    model = load_for_inference(settings, checkpoint.path, split, facts.path, place)
    numbers = wanted or _usual_numbers(settings.arch.halt_max_steps)
    bar = solving_bar(len(indices) * (2 if act else 1), output_console(stderr=True, quiet=is_quiet() or as_json))
    with bar as on_solved:
        found = scaling_of(model, split, indices, place, numbers, halting=act, on_solved=on_solved)
    evaluation = Evaluation(
        checkpoint=checkpoint.path,
        data=facts.path,
        test_puzzles=split.n_examples,
        subset=subset,
        chosen=chosen,
        trained_steps=settings.arch.halt_max_steps,
        scaling=found,
    )
    if html is not None:
        write_text("--html", html, evaluation_page(evaluation))
    if as_json:
        typer.echo(evaluation_json(evaluation))
    else:
        from rich.console import Console

        print_evaluation(evaluation, Console(highlight=False))


def _numbers(text: str) -> tuple[int, ...]:
    """`1,2,4` as numbers, ascending. Raises UsageError."""
    from hrm_sweep.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if wrong := [part for part in parts if not (part.isascii() and part.isdigit() and 1 <= int(part) <= _MOST_STEPS)]:
        raise UsageError(
            f"--steps {text}: expected whole numbers from 1 to {_MOST_STEPS} with commas between them, "
            f"found {wrong[0]!r}; for example --steps 1,2,4,8"
        )
    return tuple(sorted({int(part) for part in parts}))


def _usual_numbers(trained: int) -> tuple[int, ...]:
    """1, 2, 4, ..., what it was trained with, and twice that."""
    powers = [1 << power for power in range(trained.bit_length())]
    return tuple(sorted({*powers, trained, 2 * trained}))


def _subset(checkpoint: NamedCheckpoint, all_puzzles: bool) -> tuple[Subset | None, str]:
    """Which puzzles, and what to say of them. Who wrote a checkpoint knows by which puzzles it was chosen."""
    from hrm_sweep.runs.formats import Source

    if checkpoint.source is not Source.OURS:
        return None, "by which puzzles this checkpoint was chosen, if by any, is not known"
    if all_puzzles:
        return None, "among them those by which its run was selected, which flatters it a little"
    return "holdout", "selection (best checkpoint, pruning, best trial) never saw them; --all takes every test puzzle"
