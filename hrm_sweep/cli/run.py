"""`hrm-sweep run`: a study from its search space to its summary."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrm_sweep.cli.complete import spaces, studies
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
from hrm_sweep.cli.output import is_quiet
from hrm_sweep.cli.studies import storage_url, study_command

if TYPE_CHECKING:
    from hrm_sweep.planning.study_plan import StudyPlan
    from hrm_sweep.sweep.conduct import Conducted, Wish
    from hrm_sweep.sweep.resources import Share
    from hrm_sweep.sweep.space import SearchSpace
    from hrm_sweep.sweep.streak import Streak
    from hrm_sweep.sweep.study import Study


def run(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPACE] [key=value ...]",
            help="A shipped search space or a YAML file (default: quickstart), and what to change in every trial.",
            autocompletion=spaces,
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials of the whole study, retries not counted.")] = None,
    hours: Annotated[
        float | None, typer.Option(min=0, help="Start no new trial after this time, in this call.")
    ] = None,
    jobs: Annotated[str | None, typer.Option(help="Trials at once: a number, auto, or 0: only make the study.")] = None,
    study: Annotated[
        str | None, typer.Option(help="Name of the study (default: the name of the space).", autocompletion=studies)
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="URL of the database (default: sqlite:///trials/optuna.db, or HRM_SWEEP_STORAGE)."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(help="Try the five best configurations of this study first.", autocompletion=studies),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the sampler and, with its number, of each trial.")] = None,
    stop_after_same_cause: Annotated[
        int | None,
        typer.Option(min=0, help="End early when so many trials in a row failed for one cause; 0: never (default)."),
    ] = None,
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
    """Run a study: draw, train, prune and diagnose trials until the budget is reached. Run it again to continue.

    The first Ctrl-C lets running trials end. The second, SIGTERM and SIGUSR2 let them write a checkpoint and end within
    30 s; the third does not wait for that. Nothing is lost but the steps since the last checkpoint: the same command
    continues. `hrm-sweep stop STUDY` does the same from another terminal.

    Exit codes: 0 budget reached, 1 ended early or nothing completed, 2 bad input, 130 interrupted.

    Example: hrm-sweep run act_and_cycles epochs=80 --trials 30
    """
    from hrm_sweep.sweep.early import early_worker

    with early_worker(wanted=engine == "local" and jobs != "0") as early:
        from hrm_sweep.sweep.storage import quiet_optuna

        quiet_optuna()
        url = storage_url(storage)
        space, where = _space(list(arguments or []), study, url)
        measuring = _measuring(list(arguments or []), jobs, is_shipped=study is None)
        space = with_options(
            space, where, trials=trials, jobs=jobs, study=study, like=like, stop_after_same_cause=stop_after_same_cause
        )
        place = place_of(engine, workers, threads, address, time_limit, partition, artifacts)
        fleet = Fleet(engine, workers, threads, place, artifacts, hours, starts_trials=jobs != "0", early=early)
        sys.exit(run_space(space, where, url, seed, fleet, Voice.of(as_json), measuring))


def _space(arguments: list[str], study: str | None, url: str) -> tuple[SearchSpace, str]:
    """The search space that the arguments mean, and how messages call it.

    Without a name, `--study` means the space that the study was started with; raises StudyError where there is none.
    """
    from hrm_sweep.config import parse_overrides
    from hrm_sweep.errors import StudyError, UsageError
    from hrm_sweep.sweep.space import DEFAULT_SPACE, load_space, space_from_mapping
    from hrm_sweep.sweep.study import known_space, no_such_study

    source = arguments.pop(0) if arguments and "=" not in arguments[0] else None
    if source == "":
        raise UsageError("'': expected a search space, found an empty name; leave it out for the quickstart")
    if stray := [argument for argument in arguments if "=" not in argument]:
        raise UsageError(f"{stray[0]!r}: expected key=value after the search space, for example epochs=60")
    overrides = parse_overrides(arguments)
    stored = known_space(url, study) if source is None and study is not None else None
    if source is None and study is not None and stored is None:
        start = shlex.join(["hrm-sweep", "run", DEFAULT_SPACE, "--study", study])
        raise StudyError(f"{no_such_study(url, study)}; to start one, name its search space: `{start}`")
    where = f"study {study}" if stored is not None else source or DEFAULT_SPACE
    space = stored or load_space(source or DEFAULT_SPACE)
    if not overrides:
        return space, where
    changed = space.with_overrides(overrides)
    return space_from_mapping(changed.model_dump(mode="json"), f"{where} with {shlex.join(arguments)}"), where


def with_options(  # each option is one of the command line
    space: SearchSpace,
    where: str,
    *,
    jobs: str | None,
    trials: int | None = None,
    study: str | None = None,
    like: str | None = None,
    stop_after_same_cause: int | None = None,
) -> SearchSpace:
    """The space with the options of the command line in it, checked as if they had been written there."""
    from hrm_sweep.errors import UsageError
    from hrm_sweep.sweep.space import require_name, space_from_mapping

    content = space.model_dump(mode="json")
    if study is not None:
        require_name(study, "--study")
        content["name"] = study
    if like is not None:
        content["first_from"] = {"from_study": like}
    if trials is not None:
        content["budget"]["trials"] = trials
    if stop_after_same_cause is not None:
        content["stop_after_same_cause"] = stop_after_same_cause or None
    if jobs is not None and jobs != "auto" and not jobs.isdecimal():
        raise UsageError(f"--jobs: expected auto or a whole number, 0 or more, found {jobs!r}")
    if jobs is not None and jobs != "0":
        content["resources"]["jobs"] = jobs if jobs == "auto" else int(jobs)
    return space_from_mapping(content, where)


def _measuring(arguments: list[str], jobs: str | None, *, is_shipped: bool) -> str | None:
    """The command that measures what such a study takes here; None where its space stands in the study alone."""
    has_source = bool(arguments) and "=" not in arguments[0]
    if not has_source and not is_shipped:
        return None
    at_once = ["--jobs", jobs] if jobs and jobs.isdecimal() and jobs != "0" else []
    return shlex.join(["hrm-sweep", "plan", *arguments, *at_once])


def run_space(
    space: SearchSpace,
    where: str,
    url: str,
    seed: int | None,
    fleet: Fleet,
    voice: Voice,
    measuring: str | None = None,
) -> int:
    """Start the study of a search space, or continue it, and see it to its summary; returns the exit code.

    measuring   the command that measures what such a study takes on this machine, where there is one.
    """
    from rich.markup import escape

    from hrm_sweep.cli.confirmation import announce_confirmation, conclude_confirmation
    from hrm_sweep.cli.run_display import shown_study
    from hrm_sweep.planning.calibration import Calibrate
    from hrm_sweep.sweep.budget import account
    from hrm_sweep.sweep.conduct import conduct
    from hrm_sweep.sweep.data_record import keep_data_record
    from hrm_sweep.sweep.engines import BEYOND_THIS_MACHINE, make_engine
    from hrm_sweep.sweep.engines.base import WorkerPlan
    from hrm_sweep.sweep.jobs import measured_share
    from hrm_sweep.sweep.resources import needs_gpu, share_elsewhere, share_out
    from hrm_sweep.sweep.space_lint import lint_space
    from hrm_sweep.sweep.space_plan import plan_space
    from hrm_sweep.sweep.storage import patiently
    from hrm_sweep.sweep.study import create_or_continue, known_space, require_storage
    from hrm_sweep.sweep.terminator import require_terminator
    from hrm_sweep.sweep.transfer import with_points_of

    for number in _signals("SIGINT", "SIGTERM", "SIGUSR2"):
        signal.signal(number, _leave)
    require_terminator(space, where)
    require_storage(url)
    space, notes = with_points_of(space, url, known_space(url, space.name))
    for line in notes:
        voice.progress.print(escape(line))
    report = lint_space(space, where)
    study = create_or_continue(url, space.name, space, seed=seed, eval_puzzles=report.eval_puzzles)
    configs = [one.config for one in report.combinations]
    resources = study.space.resources
    if fleet.engine in BEYOND_THIS_MACHINE:
        share, speed = share_elsewhere(resources, configs, fleet.workers, fleet.threads), None
    else:
        share, speed = share_out(resources, configs), Calibrate.NEVER
        share = measured_share(space, report, share, Calibrate.MISSING, voice.progress.print)
    plan = plan_space(study.space, report, share, speed)
    hours = study.space.budget.hours if fleet.hours is None else fleet.hours
    if study.space.confirm is None:
        keep_data_record(study, configs)
        _announce(study, plan, share, hours, measuring, voice)
    else:
        announce_confirmation(study, share, hours, voice)
    if not fleet.starts_trials:
        worker = study_command(study, "worker", "--study", study.name)
        voice.results.print(f"no trial is started here; on each host that is to run some: {escape(worker)}")
        return 0
    until = None if hours is None else time.time() + 3600 * hours
    work = WorkerPlan(
        study,
        share.threads,
        until,
        share.devices,
        gpus=resources.gpus_per_trial if any(config.device != "cpu" for config in configs) else 0,
        needs_gpu=needs_gpu(configs),
        place=fleet.place,
        artifacts=fleet.artifacts,
        early=fleet.early,
    )
    engine = make_engine(fleet.engine, work)
    began = time.monotonic()
    before = patiently(lambda: account(study))
    most = study.space.budget.trials
    if before.ended > most and study.space.confirm is None:
        voice.progress.print(f"{before.ended} trials have ended already, more than the budget of {most} allows")
    if before.is_reached:
        more = "the budget was reached before: nothing to run"
        if before.enough is not None:
            more = f"nothing to run: {before.enough}; {before.enough.to_go_on}"
        elif study.space.confirm is None:
            more += "; --trials N makes it larger"
        voice.progress.print(more)
        ended = conduct(study, engine, 0)
    else:
        interrupts = _Interrupts(lambda line: voice.progress.print(line), _continue_with(study))
        with interrupts, shown_study(study, voice.progress, began) as show:
            ended = conduct(
                study,
                engine,
                share.jobs,
                until=until,
                wish=interrupts.wish,
                show=lambda _account: show(),
                say=lambda line: voice.results.print(f"[red]{line}[/red]"),
            )
    if study.space.confirm is not None:
        return conclude_confirmation(study, ended, voice)
    if fleet.artifacts is not None:
        _fetch_best(study, fleet.artifacts)
    return _conclude(study, ended, time.monotonic() - began, voice)


def _fetch_best(study: Study, artifacts: str) -> None:
    """The best trial may have run elsewhere, and is measured here."""
    from hrm_sweep.errors import StorageError
    from hrm_sweep.sweep.artifacts import Artifacts
    from hrm_sweep.sweep.holdout import best_trial

    best = best_trial(study)
    if best is not None:
        try:
            Artifacts(artifacts, study.name).pull(study.run_directory(study.first_attempt_of(best)))
        except OSError as error:
            raise StorageError(f"{artifacts}: the best trial could not be fetched: {error}") from None


def _announce(
    study: Study, plan: StudyPlan, share: Share, hours: float | None, measuring: str | None, voice: Voice
) -> None:
    """What will be done, and what should be known before it is."""
    from rich.markup import escape

    from hrm_sweep.planning.lint import Kind, Level
    from hrm_sweep.report.plan_text import short_lines
    from hrm_sweep.sweep.storage import shown

    console, space, budget = voice.progress, study.space, study.space.budget
    limit = "" if hours is None else f", {hours:g} hours of this call"
    processes = space.resources.processes
    together = f"{processes} processes and " if processes > 1 else ""
    console.print(
        f"[bold]{study.name}[/bold]: {budget.trials} trials{limit}, {share.jobs} at once with {together}"
        f"{share.threads} thread{'s' if share.threads > 1 else ''} each, "
        f"sampler {space.sampler.name}, seed {space.sampler.seed}"
    )
    console.print(f"varies {', '.join(space.parameters)}; {len(plan.runs)} combinations looked at, all can start")
    console.print(f"storage {shown(study.storage_url)}, runs in {study.folder}")
    for line in short_lines(plan, measuring):
        console.print(line)
    for finding in plan.findings:
        if finding.level is Level.WARNING:
            badly = finding.kind is Kind.CANNOT_BE_JUDGED
            word = "[bold red]WARNING[/bold red]" if badly else "[yellow]warning[/yellow]"
            voice.results.print(f"{word} {escape(finding.message)}")


def _conclude(study: Study, ended: Conducted, seconds: float, voice: Voice) -> int:
    """Measure the best trial, print the summary, and say how it ended."""
    import json

    from hrm_sweep.errors import HrmSweepError
    from hrm_sweep.report.terminal import Summary, summary_lines, summary_mapping
    from hrm_sweep.sweep.audit_account import audit_account
    from hrm_sweep.sweep.holdout import best_trial, measure_holdout
    from hrm_sweep.sweep.study_page import keep_study_page
    from hrm_sweep.sweep.view import importances, study_view

    best, unseen, problem = best_trial(study), None, None
    if ended.interrupted and not ended.account.is_reached:
        problem = "the study goes on" if best is not None else None  # whoever interrupts wants an end, and soon
    elif best is not None:
        try:
            measured = measure_holdout(study)
        except HrmSweepError as error:
            problem = str(error)
        else:
            unseen = None if measured is None else (measured.exact_accuracy, measured.n)
            problem = "there is none, every test puzzle was used for selection" if measured is None else None
    keep_study_page(study, voice.progress.print, every_s=0.0)  # with the number that was just measured
    shares, n = importances(study)
    view = study_view(study, seconds)
    directory = None if best is None else study.run_directory(study.first_attempt_of(best))
    summary = Summary(
        view=view,
        best_config=None if directory is None else directory.config.as_posix(),
        unseen=unseen,
        unseen_problem=problem,
        audit=audit_account(study).standing(),
        importances=shares,
        importances_of=n,
        next_commands=() if is_quiet() else _next_commands(study, ended),
    )
    if ended.interrupted and not ended.account.is_reached:
        code = 130
    else:
        code = 0 if ended.account.is_reached and best is not None else 1
    if voice.as_json:
        print(json.dumps({**summary_mapping(summary), "budget_reached": ended.account.is_reached, "exit_code": code}))
    else:
        for line in summary_lines(summary):
            voice.results.print(line)
    if ended.account.enough is not None and not voice.as_json:
        voice.results.print(f"ended before its budget: {ended.account.enough}")
    if ended.account.streak is not None and not ended.account.is_reached:
        voice.results.print(_hopeless(study, ended.account.streak))
    return code


def _hopeless(study: Study, streak: Streak) -> str:
    """Why a study ended before its budget was reached, and what to do."""
    from rich.markup import escape

    numbers = ", ".join(str(number) for number in streak.trials[:10]) + (", ..." if len(streak.trials) > 10 else "")
    again = study_command(study, "retry", study.name, "--cause", streak.cause)
    return (
        f"[bold red]ended early[/bold red]: the last {len(streak.trials)} trials that ended failed for one cause, "
        f"{streak.cause} (trials {numbers}; stop_after_same_cause is {study.space.stop_after_same_cause})\n"
        f"  the last one said: {escape(streak.message)}\n"
        f"  when the reason is mended, `{escape(again)}` lets them try again; "
        f"to go on all the same: `{escape(_continue_with(study))} --stop-after-same-cause 0`"
    )


def _next_commands(study: Study, ended: Conducted) -> list[tuple[str, str]]:
    from hrm_sweep.cli.next_steps import confirm_step, diagnose_step
    from hrm_sweep.sweep.holdout import best_trial

    commands: list[tuple[str, str]] = []
    if not ended.account.is_reached:
        commands.append((_continue_with(study), "continues"))
    commands.extend(diagnose_step(study))
    commands.extend(confirm_step(study))
    best = best_trial(study)
    if best is not None:
        config = study.run_directory(study.first_attempt_of(best)).config.as_posix()
        commands.append((shlex.join(["hrm-sweep", "train", config, "seed=1"]), "the best one again, with another seed"))
    commands.append((study_command(study, "dashboard"), "all trials in the browser"))
    return commands


def _continue_with(study: Study) -> str:
    return study_command(study, "run", "--study", study.name)


def _leave(number: int, frame: FrameType | None) -> None:
    """Ctrl-C before the first trial or after the last: there is nothing to wait for."""
    sys.exit(130)


def _signals(*names: str) -> list[signal.Signals]:
    """Those of these signals that this system has."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


class _Interrupts:
    """Ctrl-C: the first lets running trials end, the second makes them checkpoint and end, the third does not wait.
    SIGTERM and SIGUSR2 are the second, however often they come."""

    def __init__(self, say: Callable[[str], None], continue_with: str) -> None:
        self._say, self._continue_with = say, continue_with
        self._count, self._said = 0, 0
        self._before: Mapping[int, Any] = {}

    def __enter__(self) -> _Interrupts:
        handlers = dict.fromkeys(_signals("SIGTERM", "SIGUSR2"), self._terminate) | {signal.SIGINT: self._interrupt}
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._count += 1

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self._count = max(self._count, 2)

    def wish(self) -> Wish:
        """What was asked for so far, said once."""
        from hrm_sweep.sweep.conduct import Wish

        wish = Wish(min(self._count, Wish.KILL.value))
        if wish.value > self._said:
            self._said = wish.value
            self._say(
                {
                    Wish.DRAIN: "no new trials; waiting for those that run (Ctrl-C again: checkpoint and end now)",
                    Wish.STOP: "ending: running trials write a checkpoint (Ctrl-C again: end without waiting)",
                    Wish.KILL: "killed; the trials continue from their last checkpoints",
                }[wish]
            )
            self._say(f"continue with: {self._continue_with}")
        return wish
