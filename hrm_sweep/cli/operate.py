"""`hrm-sweep status`, `stop`, `retry` and `reap`: look after a study from outside, whether it runs or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.complete import studies
from hrm_sweep.cli.output import hint
from hrm_sweep.cli.studies import STORAGE_OPTION, storage_url, study_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hrm_sweep.sweep.status import StudyStatus
    from hrm_sweep.sweep.study import Study

_STUDY = typer.Argument(help="Name of a study.", autocompletion=studies)


def status(
    study: Annotated[str, _STUDY],
    storage: Annotated[str | None, STORAGE_OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show where a study stands: trials, workers, causes of failures, rate and time left. Changes nothing.

    Example: hrm-sweep status quickstart --json
    """
    import dataclasses
    import json

    from rich.console import Console

    from hrm_sweep.sweep.status import study_status

    now = study_status(_open(study, storage))
    if as_json:
        print(json.dumps(dataclasses.asdict(now), indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in _status_lines(now):
        console.print(line, markup=False)


def stop(
    study: Annotated[str, _STUDY],
    storage: Annotated[str | None, STORAGE_OPTION] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Let running trials write a checkpoint and end, instead of going on to the end."),
    ] = False,
) -> None:
    """Let the workers of a study end, on whatever machine they are, after the trials they are at.

    They look every few seconds. The next `hrm-sweep run` of the study goes on with it.

    Example: hrm-sweep stop quickstart --now
    """
    from hrm_sweep.sweep.status import study_status
    from hrm_sweep.sweep.stopping import Stop, request_stop

    opened = _open(study, storage)
    standing = study_status(opened)
    if standing.is_reached:
        print(f"{study}: the budget is reached, so there is nothing to stop")
        return
    request_stop(opened, Stop.NOW if now else Stop.DRAIN)
    running = [worker.trial for worker in standing.workers]
    trials = f"trial{'' if len(running) == 1 else 's'} {', '.join(map(str, running))}"
    if not running:
        print(f"{study}: no trial is running, and none will be started")
    elif now:
        print(f"{study}: {trials}: will write a checkpoint and end, within 40 s")
    else:
        print(f"{study}: {trials}: will go on to the end; no other will be started (--now: checkpoint and end)")
    hint(f"continue with: {_run(opened)}")


def retry(
    study: Annotated[str, _STUDY],
    trials: Annotated[list[int] | None, typer.Argument(help="Numbers of trials that failed for good.")] = None,
    cause: Annotated[
        list[str] | None, typer.Option(help="All that failed for good for this cause; may be given several times.")
    ] = None,
    storage: Annotated[str | None, STORAGE_OPTION] = None,
) -> None:
    """Let trials that failed for good try again, from their checkpoints, with the next `hrm-sweep run`.

    For when the reason was mended: a fuller disk, a larger GPU, a bug. The budget does not change.

    Example: hrm-sweep retry quickstart --cause oom --cause storage
    """
    from hrm_sweep.errors import UsageError
    from hrm_sweep.runs import Cause
    from hrm_sweep.sweep.again import try_again
    from hrm_sweep.sweep.status import study_status

    if unknown := [name for name in cause or [] if name not in set(Cause)]:
        raise UsageError(f"--cause: expected one of {', '.join(Cause)}, found {unknown[0]!r}")
    if not cause and not trials:
        raise UsageError("retry: expected --cause CAUSE or numbers of trials, for example --cause oom")
    opened = _open(study, storage)
    found = try_again(opened, {Cause(name) for name in cause or []}, set(trials or []))
    if not found:
        there = study_status(opened).causes
        listed = ", ".join(f"{count} {name}" for name, count in sorted(there.items())) or "none"
        print(f"{study}: no trial failed for good for {' or '.join(cause or [])}; those that did, by cause: {listed}")
        return
    for one in found:
        print(f"trial {one.retry_of} ({one.cause or 'no cause known'}): due again, as attempt {one.number}")
    hint(f"run them with: {_run(opened)}")


def reap(
    study: Annotated[str, _STUDY],
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Also end trials that other programs left running; make sure first that these are gone."
        ),
    ] = False,
    storage: Annotated[str | None, STORAGE_OPTION] = None,
) -> None:
    """End trials that are running for nobody, because their worker died.

    `hrm-sweep run` does it by itself at its start and whenever a worker takes a trial; this is for a study that is not
    to be continued, and for what other programs left in it.

    Example: hrm-sweep reap quickstart
    """
    from hrm_sweep.sweep.reap import reap as reap_study

    opened = _open(study, storage)
    found = reap_study(opened, everything=everything)
    for number in found.recovered:
        print(f"trial {number}: its worker died; ended as killed")
    for number in found.ended:
        print(f"trial {number}: of another program; ended as failed")
    for number in found.alive:
        print(f"trial {number}: its worker is alive; left alone")
    for number in found.left:
        print(f"trial {number}: of another program; left alone (--all ends it)")
    print(
        f"{study}: {len(found.recovered) + len(found.ended)} ended, {len(found.alive) + len(found.left)} left running"
    )
    if found.recovered:
        hint(f"they continue with: {_run(opened)}")


def _open(study: str, storage: str | None) -> Study:
    from hrm_sweep.sweep.storage import quiet_optuna
    from hrm_sweep.sweep.study import open_study

    quiet_optuna()
    return open_study(storage_url(storage), study)


def _run(study: Study) -> str:
    return study_command(study, "run", "--study", study.name)


def _status_lines(now: StudyStatus) -> Iterator[str]:
    import time

    from hrm_sweep.report.pace import span

    yield (
        f"{now.name}: {now.ended} of {now.budget} trials ended, {len(now.workers)} running, "
        f"{now.due} to be retried, {now.left} not started"
    )
    yield "trials: " + (_counted(now.trials) or "none") + f", in {now.attempts} attempts"
    if now.causes:
        yield f"failed for good: {_counted(now.causes)}"
    if now.retried:
        yield f"attempts that failed before a retry: {_counted(now.retried)}"
    if now.audited is not None:
        yield f"pruners: {now.audited.said}"
    for worker in now.workers:
        line = f"worker {worker.host} {worker.pid}: trial {worker.trial} for {span(time.time() - worker.since)}"
        if worker.state != "alive":
            line += f", {worker.state}: last heard {span(time.time() - worker.heard)} ago"
        yield line
    if now.foreign:
        numbers = ", ".join(map(str, now.foreign))
        yield f"left running by other programs: trial {numbers}; `hrm-sweep reap {now.name} --all` ends them"
    if now.stop is not None:
        yield f"asked to stop ({now.stop}); `hrm-sweep run` goes on"
    if now.streak is not None:
        yield f"ended early: the last {len(now.streak.trials)} trials failed for one cause, {now.streak.cause}"
    yield from _rate_lines(now)
    yield from now.confirmed


def _rate_lines(now: StudyStatus) -> Iterator[str]:
    from hrm_sweep.report.pace import span

    if now.is_reached:
        yield "the budget is reached" if now.enough is None else f"ended before its budget: {now.enough}"
    elif now.rate is None or now.hours_left is None:
        yield "rate: cannot be said before three trials have ended"
    else:
        rate = now.rate
        yield f"rate: {rate.per_hour:.3g} trials an hour, from the last {rate.trials} that ended"
        best, expected, worst = (span(3600 * hours) for hours in now.hours_left)
        while_running = "" if any(worker.state == "alive" for worker in now.workers) else "once it runs again, "
        yield (
            f"time left: {while_running}about {expected} ({best} to {worst}), if the trials to come take as long "
            "and as many run at once"
        )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
