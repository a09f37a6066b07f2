"""A trial's life, from its claim to its end. DESIGN contract 4, top to bottom."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from hrm_sweep.config import RunConfig, write_config
from hrm_sweep.data.resolve import with_data_path
from hrm_sweep.errors import ConfigError, DataError, DiskFullError
from hrm_sweep.runs import (
    Cause,
    MetricRow,
    MetricsFollower,
    RunDirectory,
    State,
    StopReason,
    disk_full_explained,
    read_status,
)
from hrm_sweep.runs.unseen import read_unseen
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.artifacts import Artifacts
from hrm_sweep.sweep.audit import Condemnation, condemn
from hrm_sweep.sweep.budget import ALIVE_EVERY_S, Claim
from hrm_sweep.sweep.child import TRAINING, Job
from hrm_sweep.sweep.confirm.runs import keep_unseen
from hrm_sweep.sweep.constraints import CONSTRAINTS
from hrm_sweep.sweep.failures import (
    end_of_log,
    explain_end,
    is_disk_full,
    oom_kills,
    with_smaller_micro_batches,
)
from hrm_sweep.sweep.goals import keep_curve, keep_violations
from hrm_sweep.sweep.launch import Child, Launcher
from hrm_sweep.sweep.measures import Measures
from hrm_sweep.sweep.outcome import Outcome
from hrm_sweep.sweep.pruners import Progress, first_verdict
from hrm_sweep.sweep.storage import patiently
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.trial_page import write_trial_page

if TYPE_CHECKING:
    from hrm_sweep.diagnosis import Diagnosis

_POLL_S = 0.1
_GRACE_S = {StopReason.PRUNED: 60.0, StopReason.PREEMPTED: 22.0, StopReason.REQUESTED: 22.0}
"""How long a child may take to stop. A pruned one has just been evaluated and is at most a step away from it; one that
is preempted writes a checkpoint, and the machine may be gone in 30 s."""


@dataclass(frozen=True)
class Surroundings:
    """What a worker brings to each of its trials.

    launch     starts the training.
    threads    CPU threads of each.
    ending     why the worker itself has to end, if it has to; asked often.
    say        one line for the worker's log.
    artifacts  where run directories are handed on to other hosts; None where hosts share a file system.
    """

    launch: Launcher
    threads: int
    ending: Callable[[], StopReason | None]
    say: Callable[[str], None]
    training: str = TRAINING
    artifacts: Artifacts | None = None


def run_trial(study: Study, claim: Claim, surroundings: Surroundings) -> Outcome:
    """Run a claimed trial to its end and tell it. A trial that fails is an outcome, not an exception.

    Raises StorageError when the database stays away.
    """
    surroundings.say(f"trial {claim.number}: starting in {claim.directory.path}")
    try:
        _fetch(claim, surroundings)
        config = _configure(study, claim)
        measures = Measures(study.space.objective, study.space.constraints, config, claim.directory)
        refused = measures.refused()
    except ConfigError as error:
        outcome = Outcome.failed(Cause.CONFIG, str(error))
    except DataError as error:
        outcome = Outcome.failed(Cause.DATA, str(error))
    except (DiskFullError, OSError) as error:
        outcome = Outcome.failed(Cause.STORAGE, str(error))
    else:
        if refused.said:
            reason = f"{CONSTRAINTS} at epoch 0: {refused.said}; not trained"
            outcome = Outcome(TrialState.PRUNED, pruned_by=reason, violations=refused)
        else:
            outcome = _Attempt(study, claim, config, measures, surroundings).run()
    _finish(study, claim, outcome, surroundings)
    return outcome


def _fetch(claim: Claim, surroundings: Surroundings) -> None:
    """What another host did of this trial, if it was there last."""
    artifacts = surroundings.artifacts
    if artifacts is not None and claim.retry_of is not None and artifacts.pull(claim.directory):
        surroundings.say(f"trial {claim.number}: fetched {claim.directory.path}")


def _hand_on(claim: Claim, surroundings: Surroundings) -> None:
    """Let other hosts have the run, before they can know that it may be continued. No trial fails for want of it."""
    if surroundings.artifacts is None:
        return
    try:
        surroundings.artifacts.push(claim.directory)
    except OSError as error:
        surroundings.say(f"trial {claim.number}: {claim.directory.path} could not be pushed: {error}")


def _configure(study: Study, claim: Claim) -> RunConfig:
    """The trial's config, written to its run directory before anything else; a retry finds the one it had.

    A retry after an attempt that ran out of memory has smaller micro-batches, which changes nothing that is computed.
    """
    values = {"seed": claim.seed, **claim.values}
    config = with_data_path(study.space.config(values, where=f"trial {claim.number}"))
    config = with_smaller_micro_batches(config, claim.memory_failures, study.space.resources.processes)
    directory = claim.directory
    with disk_full_explained(directory.config):
        directory.path.mkdir(parents=True, exist_ok=True)
        if not directory.is_run():
            write_config(config, directory.config)
    return config


class _Attempt:
    """One child process from start to end, followed by its metrics."""

    def __init__(
        self, study: Study, claim: Claim, config: RunConfig, measures: Measures, surroundings: Surroundings
    ) -> None:
        self.study, self.claim, self.config, self.surroundings = study, claim, config, surroundings
        self.measures = measures
        self.directory = claim.directory
        self.metric = study.space.objective.metric
        self.follower = MetricsFollower(self.directory.metrics)
        self.evaluations: list[MetricRow] = []
        self.curve: dict[int, float] = {}
        self.stopping: StopReason | None = None
        self.stop_by = math.inf
        self.pruned_by: str | None = None
        # Condemned, here or in an earlier attempt, and going on: no pruner is asked any more.
        self.is_audited = attributes.AUDITED in claim.trial.user_attrs
        self.stalled = False
        self.taken_away = False  # somebody else has ended it in the storage

    def run(self) -> Outcome:
        log = self.directory.log
        log_began = log.stat().st_size if log.is_file() else 0
        oom_kills_before = oom_kills()
        here, processes = self.surroundings, self.study.space.resources.processes
        job = Job(self.config, self.directory.path, here.threads, here.training, processes, self._unseen_digest())
        child = here.launch(job)
        try:
            self._follow(child)
            self._read_rows()
            return self._outcome(child, end_of_log(log, log_began), oom_killed=oom_kills() > oom_kills_before)
        finally:
            if child.exit_code is None:
                child.kill()
            child.close()

    def _unseen_digest(self) -> str | None:
        plan = self.study.space.confirm
        return None if plan is None else plan.puzzles

    def _follow(self, child: Child) -> None:
        """Until the child has ended: report, ask the pruners, pass on what the worker is asked."""
        said_alive_at = time.monotonic()
        while child.exit_code is None:
            child.wait(_POLL_S)
            if time.monotonic() - said_alive_at >= ALIVE_EVERY_S:
                said_alive_at = time.monotonic()
                self._say_alive()
            if child.is_under_way:
                self._read_rows()
            if self.stopping is None:
                ending = self.surroundings.ending()
                if ending is not None:
                    self._stop(child, ending)
                elif self.pruned_by is not None:
                    self._stop(child, StopReason.PRUNED)
                elif self.taken_away:
                    self._stop(child, StopReason.REQUESTED)
                elif self._silent_s() > 60 * self.study.space.resources.stall_minutes:
                    self.stalled = True
                    child.kill()
            elif time.monotonic() > self.stop_by:
                child.kill()

    def _say_alive(self) -> None:
        with contextlib.suppress(UpdateFinishedTrialError):
            patiently(lambda: self.claim.trial.set_user_attr(attributes.ALIVE_AT, self.study.time()))

    def _stop(self, child: Child, reason: StopReason) -> None:
        self.stopping, self.stop_by = reason, time.monotonic() + _GRACE_S[reason]
        child.ask_to_stop(reason)

    def _silent_s(self) -> float:
        """Seconds since the run last gave a sign of life: wrote a row, its status or its log."""
        written = [
            path.stat().st_mtime
            for path in (self.directory.config, self.directory.metrics, self.directory.status, self.directory.log)
            if path.is_file()
        ]
        return time.time() - max(written, default=time.time())

    def _read_rows(self) -> None:
        for row in self.follower.new_rows():
            if row.kind == "eval":
                self.evaluations.append(row)
                self._report(row)

    def _report(self, row: MetricRow) -> None:
        """Hand an evaluation to Optuna and ask the pruners. A value that is no number reaches neither."""
        value = row.get(self.metric)
        if value is None or not math.isfinite(value):
            return
        trial = self.claim.trial
        try:
            self.curve[round(row.epoch)] = value
            if self.study.space.objective.beside:
                keep_curve(self.study, trial._trial_id, self.curve)
            else:
                patiently(lambda: trial.report(value, step=round(row.epoch)))
        except UpdateFinishedTrialError:
            self.taken_away = True
            return
        if self.pruned_by is None and not self.is_audited:
            reason = patiently(self._verdict)
            if reason is not None:
                self._condemn(Condemnation(reason, row.epoch, row.step, row.time_s))
        if self.pruned_by is None:  # a constraint is kept by a trial that audits a pruner, too
            self.pruned_by = self.measures.exceeded(row)

    def _condemn(self, condemnation: Condemnation) -> None:
        """End the trial, or let it go on to audit the pruner."""
        try:
            self.is_audited = patiently(lambda: condemn(self.study, self.claim.trial, condemnation))
        except UpdateFinishedTrialError:
            self.taken_away = True
            return
        if self.is_audited:
            self.surroundings.say(
                f"trial {self.claim.number}: {condemnation.condemned_by}; goes on all the same, to audit the pruner"
            )
        else:
            self.pruned_by = condemnation.condemned_by

    def _verdict(self) -> str | None:
        frozen = self.study.storage.get_trial(self.claim.trial._trial_id)
        progress = Progress(
            study=self.study.optuna,
            trial=frozen,
            evaluations=tuple(self.evaluations),
            metric=self.metric,
            epochs=self.config.epochs,
            directory=self.directory.path,
            solved_at=self.config.stop_when_solved,
        )
        return first_verdict(self.study.space.pruner, progress)

    def _outcome(self, child: Child, printed: str, *, oom_killed: bool) -> Outcome:
        status = read_status(self.directory.status)
        if status is not None and status.owner.pid != child.pid:
            status = None  # of an earlier attempt
        if status is not None and status.cause is Cause.NAN:  # whatever a pruner has made of its last rows
            return Outcome.failed(Cause.NAN, status.message)
        if self.pruned_by is not None:
            violations = self.measures.violations(has_ended=False)
            return Outcome(TrialState.PRUNED, pruned_by=self.pruned_by, violations=violations)
        if self.stalled:
            minutes = self.study.space.resources.stall_minutes
            return Outcome.failed(Cause.STALLED, f"no sign of life for {minutes:g} minutes")
        ended_well = status is not None and status.state in (State.COMPLETED, State.STOPPED)
        if self.stopping is not None and not (status is not None and status.state is State.COMPLETED):
            return Outcome.failed(Cause.PREEMPTED, f"its worker was asked to end ({self.stopping})")
        if not ended_well:
            full = is_disk_full(self.directory.path)
            failure = explain_end(status, child.exit_code, printed, oom_killed=oom_killed, disk_full=full)
            return Outcome(TrialState.FAIL, failure=failure)
        values = self.measures.values()
        for goal in self.study.space.objective.goals:
            if goal.metric not in values:
                return Outcome.failed(Cause.NO_METRIC, self._keys_seen(goal.metric))
        unseen = None if self._unseen_digest() is None else read_unseen(self.directory.unseen)
        if self._unseen_digest() is not None and unseen is None:  # the run was done, its evaluation was not
            if self.stopping is not None:
                return Outcome.failed(Cause.PREEMPTED, f"its worker was asked to end ({self.stopping})")
            full = is_disk_full(self.directory.path)
            failure = explain_end(None, child.exit_code, printed, oom_killed=oom_killed, disk_full=full)
            return Outcome(TrialState.FAIL, failure=failure)
        value, *beside = (values[goal.metric] for goal in self.study.space.objective.goals)
        violations = self.measures.violations(has_ended=True)
        return Outcome(TrialState.COMPLETE, value, beside=tuple(beside), violations=violations, unseen=unseen)

    def _keys_seen(self, metric: str) -> str:
        seen = sorted({name for row in self.evaluations for name in row.values})
        rows = len(self.evaluations)
        return f"no {metric} in {rows} evaluations" + (f"; they have {', '.join(seen)}" if seen else "")


def _finish(study: Study, claim: Claim, outcome: Outcome, surroundings: Surroundings) -> None:
    """Diagnose and attach, then tell, for Optuna refuses changes afterwards; and tidy up last: a worker that is killed
    before it has told leaves a trial that is tried again, from its checkpoint."""
    say = surroundings.say
    diagnosis = _diagnosed(claim.directory, say)
    _hand_on(claim, surroundings)
    trial = claim.trial
    try:
        keep_violations(trial, outcome.violations)
        write_trial_page(study, claim, outcome, diagnosis, say)
        if outcome.unseen is not None:
            keep_unseen(study, trial, outcome.unseen)
        patiently(lambda: study.optuna.tell(trial, outcome.values, state=outcome.state, skip_if_finished=True))
    except UpdateFinishedTrialError:
        say(
            f"trial {claim.number}: somebody else has ended it in the storage; what it did is in {claim.directory.path}"
        )
        return
    tidy(claim.directory, outcome.state)
    said = outcome.pruned_by or (f"{outcome.failure.cause}: {outcome.failure.message}" if outcome.failure else "")
    say(f"trial {claim.number}: {outcome.state.name.lower()} {'' if outcome.value is None else outcome.value} {said}")


def _diagnosed(directory: RunDirectory, say: Callable[[str], None]) -> Diagnosis | None:
    """What the rules say of the run. A diagnosis that fails is said, and costs nobody their trial."""
    status = read_status(directory.status)
    if not directory.metrics.is_file() and (status is None or status.cause is None):
        return None
    from hrm_sweep.diagnosis import diagnose_run  # a second of rules to load, needed at the end of a trial only
    from hrm_sweep.report.diagnosis_page import write_report

    try:
        diagnosis = diagnose_run(directory.path, write=True)
    except Exception as error:
        say(f"{directory.path}: could not be diagnosed: {type(error).__name__}: {error}")
        return None
    try:
        write_report(diagnosis)
    except Exception as error:
        say(f"{directory.path}: its report could not be drawn: {type(error).__name__}: {error}")
    return diagnosis


def tidy(directory: RunDirectory, state: TrialState) -> None:
    """Free the disk of what the trial no longer needs.

    A completed trial keeps its best checkpoint, a pruned one nothing but metrics and small files, a failed one
    everything, for a retry to continue from.
    """
    if state is TrialState.PRUNED:
        shutil.rmtree(directory.checkpoints, ignore_errors=True)
    elif state is TrialState.COMPLETE:
        _remove(directory.last_checkpoint)
    else:
        return
    for _, weights in directory.all_step_weights():
        _remove(weights)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # what cannot be removed now stays for `hrm-sweep clean`
        path.unlink(missing_ok=True)
