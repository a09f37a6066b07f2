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

from hrm_sweep.cli.complete import presets, run_directories
from hrm_sweep.cli.output import is_quiet, output_console

if TYPE_CHECKING:
    from hrm_sweep.config import RunConfig
    from hrm_sweep.runs import RunDirectory

DEFAULT_PRESET = "hrm_v1"


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PRESET_OR_FILE] [key=value ...]",
            help=f"What to train (default: {DEFAULT_PRESET}), and what to change in it.",
            autocompletion=presets,
        ),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where the run is written.", autocompletion=run_directories)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run-dir.")] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that train it together, on a GPU each or on the CPU.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end; progress goes to standard error.")
    ] = False,
) -> None:
    """Train one HRM.

    Ctrl-C, SIGTERM and SIGUSR2 write a checkpoint and end the run, and --resume continues it; a second Ctrl-C does not
    wait for the checkpoint.

    Example: hrm-sweep train hrm_v1_tiny epochs=60 lr=2e-3

    Example: hrm-sweep train progressive init_from=trials/runs/earlier
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
    sys.exit(train_in(config, directory, resume, processes, as_json=as_json))


def _new_folder(source: str) -> Path:
    return Path("trials") / "runs" / f"{Path(source).stem}-{datetime.now():%Y%m%d-%H%M%S}"


def train_in(
    config: RunConfig, directory: RunDirectory, resume: bool, processes: int = 1, *, as_json: bool = False
) -> int:
    """Train with progress on the terminal; returns the exit code: 0 done, 1 failed, 130 interrupted."""
    import dataclasses
    import json

    from hrm_sweep.planning.lint import lint
    from hrm_sweep.report.progress import show_progress
    from hrm_sweep.runs import State, StopReason
    from hrm_sweep.training.session import prepare, run_training

    continues = resume and directory.last_checkpoint.is_file()
    prepared = prepare(config, processes=processes, resume=continues)  # raises before anything is written
    for finding in lint(prepared.config, prepared.data.train.metadata, processes):
        print(finding, flush=True, file=sys.stderr if as_json else sys.stdout)
    path = shlex.quote(directory.path.as_posix())
    interrupted: StopReason | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted and number == signal.SIGINT:  # in a hurry; a machine that goes away may say so several times
            os._exit(130)
        interrupted = StopReason.REQUESTED if number == signal.SIGINT else StopReason.PREEMPTED

    for name in ("SIGINT", "SIGTERM", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)
    console = output_console(stderr=as_json, quiet=is_quiet())
    with show_progress(directory, prepared.length, console) as view:
        status = run_training(
            config,
            directory,
            resume=resume,
            processes=processes,
            stop=lambda: interrupted,
            on_row=view.show,
            say=view.say,
        )
        failed = status.state is State.FAILED
        if interrupted and not failed:
            view.say(f"continue with: hrm-sweep train --resume --run-dir {path}")
        else:
            view.say(f"run directory: {directory.path.as_posix()}")
            view.say(f"next: hrm-sweep diagnose {path}")
    if as_json:
        print(json.dumps({"run_dir": directory.path.as_posix(), **dataclasses.asdict(status)}, indent=1))
    elif is_quiet() and failed:
        print(f"error: {directory.path.as_posix()}: {status.message}", file=sys.stderr)
    elif is_quiet():
        print(directory.path.as_posix())
    return 1 if failed else 130 if interrupted else 0
