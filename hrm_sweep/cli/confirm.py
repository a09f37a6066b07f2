"""`hrm-sweep confirm`: is the best configuration of a study good, or was it lucky?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.complete import studies
from hrm_sweep.cli.fleet import (
    Address,
    Artifacts,
    Engine,
    Fleet,
    Partition,
    Threads,
    TimeLimit,
    Voice,
    Workers,
    place_of,
)
from hrm_sweep.cli.studies import STORAGE_OPTION, storage_url

if TYPE_CHECKING:
    from hrm_sweep.sweep.space import SearchSpace

_TOP, _SEEDS = 3, 5


def confirm(
    study: Annotated[str, typer.Argument(help="Name of a study.", autocompletion=studies)],
    top: Annotated[
        int | None, typer.Option(min=1, help=f"How many of its best configurations (default: {_TOP}).")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, help=f"Fresh seeds for each, the same for all (default: {_SEEDS}).")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="What they are compared with: a preset, with the overrides of the study, or a config file or run "
            "directory as it is, but for the data (default: the base of the study)."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the confirmation (default: STUDY-confirm).")] = None,
    hours: Annotated[float | None, typer.Option(min=0, help="Start no new run after this time, in this call.")] = None,
    jobs: Annotated[
        str | None, typer.Option(help="Runs at once: a number, auto, or 0: only make the confirmation.")
    ] = None,
    storage: Annotated[str | None, STORAGE_OPTION] = None,
    engine: Engine = "local",
    workers: Workers = None,
    threads: Threads = None,
    address: Address = None,
    time_limit: TimeLimit = None,
    partition: Partition = None,
    artifacts: Artifacts = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end; progress goes to standard error.")
    ] = False,
) -> None:
    """Find out whether what a study found is good or was lucky: train it again, on fresh seeds, beside a baseline.

    Each run is measured on puzzles that nothing was chosen by. All of them and the baseline get the same seeds, in
    rounds; one that is beaten for sure is trained no further. The end is a verdict: a winner, or a tie with the number
    of seeds that would tell them apart. From then on `report`, `best`, `studies` and `status` show both scores. It is a
    study of its own: the same command continues it, and all that `run` says of interrupts and exit codes holds. See
    docs/confirm.md.

    Example: hrm-sweep confirm quickstart --top 2 --baseline hrm_v1_tiny
    """
    from hrm_sweep.cli.run import run_space, with_options
    from hrm_sweep.sweep.storage import quiet_optuna

    quiet_optuna()
    url, voice = storage_url(storage), Voice.of(as_json)
    place = place_of(engine, workers, threads, address, time_limit, partition, artifacts)
    space = _space(url, study, name, top, seeds, baseline, voice)
    where = f"confirmation {space.name}"
    fleet = Fleet(engine, workers, threads, place, artifacts, hours, starts_trials=jobs != "0")
    sys.exit(run_space(with_options(space, where, jobs=jobs), where, url, None, fleet, voice))


def _space(
    url: str, study: str, name: str | None, top: int | None, seeds: int | None, baseline: str | None, voice: Voice
) -> SearchSpace:
    """The search space of the confirmation: as it was begun, or a new one. Raises StudyError for one that was begun
    with something else."""
    from rich.markup import escape

    from hrm_sweep.errors import StudyError
    from hrm_sweep.sweep.budget import account
    from hrm_sweep.sweep.confirm.plan import best_configurations, default_name, plan_confirmation
    from hrm_sweep.sweep.space import require_name
    from hrm_sweep.sweep.study import known_space, open_study

    search = open_study(url, study)
    name = default_name(study) if name is None else name
    require_name(name, "--name")
    begun = known_space(url, name)
    if begun is None:
        planned = plan_confirmation(search, name=name, top=top or _TOP, seeds=seeds or _SEEDS, baseline=baseline)
        unfinished = (
            () if account(search).is_reached else (f"{study} is not at its end; the best so far are confirmed",)
        )
        for note in (*unfinished, *planned.notes):
            voice.results.print(f"note: {escape(note)}")
        return planned.space
    plan = begun.confirm
    if plan is None or plan.of != study:
        raise StudyError(f"{name}: is there, and no confirmation of {study}; choose another name with --name")
    for option, then, now in (
        ("--top", plan.top, top),
        ("--seeds", len(plan.seeds), seeds),
        ("--baseline", plan.baseline, baseline),
    ):
        if now is not None and now != then:
            was = "without one" if then is None else f"with {option} {then}"
            raise StudyError(
                f"{name}: was begun {was}, not {now}; leave {option} out to continue it, or begin another one with "
                "--name NAME"
            )
    first = best_configurations(search, 1)
    if first and first[0].number not in [one.trial for one in plan.candidates]:
        voice.results.print(
            f"note: {escape(study)} has found a better trial since, {first[0].number}; --name NAME confirms anew"
        )
    return begun
