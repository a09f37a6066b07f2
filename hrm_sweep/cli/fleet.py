"""Options about workers, which all verbs that start some share, and what a call makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.output import is_quiet, output_console

if TYPE_CHECKING:
    from rich.console import Console

    from hrm_sweep.sweep.early import EarlyWorker
    from hrm_sweep.sweep.engines.base import Place

Engine = Annotated[
    str, typer.Option(help="local: processes of this machine; debug: in this process; ray, slurm: see docs/scaling.md.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="ray, slurm: trials at once.")]
Threads = Annotated[int | None, typer.Option(min=1, help="ray, slurm: CPU threads of each trial.")]
Address = Annotated[
    str | None, typer.Option(help="ray: auto or host:port of a cluster; without it, one of this machine alone.")
]
TimeLimit = Annotated[
    str | None, typer.Option("--time", help="slurm: of each job, which is then requeued, for example 4h.")
]
Partition = Annotated[str | None, typer.Option(help="slurm: the partition of the jobs.")]
Artifacts = Annotated[
    str | None, typer.Option(help="URL through which hosts that share no file system hand on run directories.")
]


@dataclass(frozen=True)
class Voice:
    """Where a call says what. `progress` is silent with --quiet; `results` has warnings, complaints and the summary."""

    progress: Console
    results: Console
    as_json: bool

    @staticmethod
    def of(as_json: bool) -> Voice:
        return Voice(output_console(stderr=as_json, quiet=is_quiet()), output_console(stderr=as_json), as_json)


@dataclass(frozen=True)
class Fleet:
    """Which engine, and what the command line says about the workers of this call.

    hours          after which no trial is started; None leaves it to the space.
    starts_trials  false where the study is only made.
    early          a process that is loading what the first worker on this machine needs.
    """

    engine: str
    workers: int | None
    threads: int | None
    place: Place
    artifacts: str | None
    hours: float | None
    starts_trials: bool
    early: EarlyWorker | None = None


def place_of(
    engine: str,
    workers: int | None,
    threads: int | None,
    address: str | None,
    time_limit: str | None,
    partition: str | None,
    artifacts: str | None,
) -> Place:
    """Where the workers go. Raises UsageError for an option that the engine has no use for."""
    from hrm_sweep.errors import UsageError
    from hrm_sweep.sweep.artifacts import require_artifacts
    from hrm_sweep.sweep.engines import BEYOND_THIS_MACHINE, require_engine
    from hrm_sweep.sweep.engines.base import Place, minutes, require_address

    require_engine(engine)
    options: list[tuple[str, object, tuple[str, ...]]] = [
        ("--workers", workers, BEYOND_THIS_MACHINE),
        ("--threads", threads, BEYOND_THIS_MACHINE),
        ("--address", address, ("ray",)),
        ("--time", time_limit, ("slurm",)),
        ("--partition", partition, ("slurm",)),
    ]
    for option, given, engines in options:
        if given is not None and engine not in engines:
            hint = "; trials at once on this machine are --jobs" if option == "--workers" else ""
            raise UsageError(f"{option} is for --engine {' or '.join(engines)}, not {engine}{hint}")
    require_address(address)
    if artifacts is not None:
        require_artifacts(artifacts)
    limit = None if time_limit is None else minutes(time_limit)
    return Place(address, limit, partition)
