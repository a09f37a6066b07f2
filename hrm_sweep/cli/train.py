"""`hrm-sweep train`: one run, with a progress bar in a terminal and plain lines elsewhere."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hrm_sweep.config import RunConfig
    from hrm_sweep.runs import RunDirectory

DEFAULT_PRESET = "hrm_v1"


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PRESET_OR_FILE] [key=value ...]", help="What to train, and what to change in it."),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where the run is written.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run-dir.")] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that train it together, on a GPU each or on the CPU.")
    ] = 1,
) -> None:
    """Train one HRM.

    Example: hrm-sweep train hrm_v1_tiny epochs=60 lr=2e-3
    """
    from hrm_sweep.config import load_config, parse_overrides
    from hrm_sweep.errors import UsageError
    from hrm_sweep.runs import RunDirectory

    arguments = list(arguments or [])
    source = arguments.pop(0) if arguments and "=" not in arguments[0] else None
    if stray := [argument for argument in arguments if "=" not in argument]:
        raise UsageError(f"{stray[0]!r}: expected key=value after the preset or file, for example epochs=60")
    overrides = parse_overrides(arguments)
    if run_dir is None and "checkpoint_path" in overrides:
        run_dir = Path(str(overrides["checkpoint_path"]))
    if resume and (run_dir is None or not RunDirectory(run_dir).is_run()):
        raise UsageError(f"--resume: {run_dir or 'no --run-dir given'}: expected the folder of a run to continue")
    config = load_config(source or (run_dir if resume and run_dir else DEFAULT_PRESET), overrides)
    if run_dir is None and config.checkpoint_path is not None:
        run_dir = Path(config.checkpoint_path)
    directory = RunDirectory(run_dir or _new_folder(source or DEFAULT_PRESET))
    sys.exit(train_in(config, directory, resume, processes))


def _new_folder(source: str) -> Path:
    return Path("trials") / "runs" / f"{Path(source).stem}-{datetime.now():%Y%m%d-%H%M%S}"


def train_in(config: RunConfig, directory: RunDirectory, resume: bool, processes: int = 1) -> int:
    """Train with progress on the terminal; returns the exit code: 0 done, 1 failed, 130 interrupted."""
    from hrm_sweep.planning.lint import lint
    from hrm_sweep.report.progress import show_progress
    from hrm_sweep.runs import State, StopReason
    from hrm_sweep.training.session import prepare, run_training

    prepared = prepare(config, processes=processes)  # raises before anything is written
    for finding in lint(prepared.config, prepared.data.train.metadata, processes):
        print(finding, flush=True)
    path = shlex.quote(str(directory.path))
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:  # the second one does not wait for the checkpoint
            os._exit(130)
        interrupted = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    with show_progress(directory, prepared.length) as view:
        status = run_training(
            config,
            directory,
            resume=resume,
            processes=processes,
            stop=lambda: StopReason.REQUESTED if interrupted else None,
            on_row=view.show,
            say=view.say,
        )
        if status.state is State.FAILED:
            view.say(f"next: hrm-sweep diagnose {path}")
            return 1
        if interrupted:
            view.say(f"continue with: hrm-sweep train --resume --run-dir {path}")
            return 130
        view.say(f"run directory: {directory.path}")
        view.say(f"next: hrm-sweep diagnose {path}")
        return 0
