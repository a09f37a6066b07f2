"""Replays pruners over the recorded curves of trials that ran to their end: whom would they have ended, and when?

The pruners are those of the sweep themselves, asked as a worker asks them, of an Optuna study in memory in which the
trials run again: one after the other, in the order in which they ended. A pruner that compares trials so sees what ran
before, and nothing of a trial that it ended after that end. What several workers at once would have known of each
other is not replayed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.errors import StudyError
from hrm_sweep.report.pruner_replay import PrunerReplay, PrunerReplays, ReplayedTrial
from hrm_sweep.runs import MetricRow, MetricsWriter, RunDirectory, State, read_metrics, read_status, write_status
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.audit import pruner_of
from hrm_sweep.sweep.constraints import CONSTRAINTS
from hrm_sweep.sweep.goals import curve_of, score
from hrm_sweep.sweep.pruner_text import read_pruner_text, usual_pruners
from hrm_sweep.sweep.pruners import Progress, Pruner, first_verdict
from hrm_sweep.sweep.study import Study


@dataclass(frozen=True)
class RecordedTrial:
    """A trial that ran to its end.

    evaluations  as in its run directory; where that is not on this machine, what the storage has: epoch and objective.
    rows         all rows of its run directory, those of training among them; empty where it is not on this machine.
    """

    number: int
    value: float
    evaluations: tuple[MetricRow, ...]
    rows: tuple[MetricRow, ...]
    directory: RunDirectory
    train_flops: float | None
    is_audited: bool

    @property
    def epochs(self) -> int:
        return round(self.evaluations[-1].epoch)


def replayed_pruners(study: Study, wanted: str | None) -> PrunerReplays:
    """What pruners would have done in a study: those `wanted` (see `pruner_text`), or its own and the usual ones.

    Raises UsageError for pruners that there are not, StudyError when no trial has run to its end.
    """
    named = None if wanted is None else read_pruner_text(wanted)
    trials = recorded_trials(study)
    if not trials:
        raise StudyError(f"{study.name}: no trial has run to its end yet, so there is no curve to replay")
    if named is None:
        longest = max(trials, key=lambda trial: len(trial.evaluations))
        named = usual_pruners(study, [round(row.epoch) for row in longest.evaluations])
    pruned = [chain.last for chain in study.chains() if chain.last.state is TrialState.PRUNED]
    ended_by = Counter(pruner_of(trial.user_attrs) for trial in pruned)
    ended_by.pop(CONSTRAINTS, None)  # no pruner
    return PrunerReplays(
        study=study.name,
        metric=study.space.objective.metric,
        maximize=study.space.objective.goal == "maximize",
        recorded=len(trials),
        audited=sum(trial.is_audited for trial in trials),
        pruned=ended_by.total(),
        replays=[
            dataclasses.replace(
                replay(study, name, pruners, trials), ended_already=_ended_already(study, pruners, ended_by)
            )
            for name, pruners in named
        ],
    )


def _ended_already(study: Study, pruners: Mapping[str, Pruner], ended_by: Mapping[str | None, int]) -> int:
    """How many trials these pruners ended in the study, with the options with which they are replayed."""
    own = study.space.pruner
    if any(own.get(name) != pruner for name, pruner in pruners.items()):
        return 0
    return sum(ended_by.get(name, 0) for name in pruners)


def recorded_trials(study: Study) -> list[RecordedTrial]:
    """The completed trials of a study, audited ones among them, in the order in which they ended."""
    complete = [chain for chain in study.chains() if chain.last.state is TrialState.COMPLETE]
    complete.sort(key=lambda chain: (chain.last.datetime_complete or datetime.min, chain.last.number))
    found = (_recorded(study, chain.first.number, chain.last) for chain in complete)
    return [trial for trial in found if trial is not None]


def _recorded(study: Study, first: int, trial: FrozenTrial) -> RecordedTrial | None:
    directory = study.run_directory(first)
    rows = tuple(read_metrics(directory.metrics)) if directory.metrics.is_file() else ()
    evaluations = tuple(row for row in rows if row.kind == "eval")
    if not evaluations:
        metric, values = study.space.objective.metric, sorted(curve_of(trial).items())
        evaluations = tuple(MetricRow("eval", 0, epoch, 0.0, {metric: value}) for epoch, value in values)
        rows = ()
    value = score(trial)
    if not evaluations or value is None or not math.isfinite(value):
        return None
    flops = trial.user_attrs.get(attributes.TRAIN_FLOPS)
    return RecordedTrial(
        number=trial.number,
        value=value,
        evaluations=evaluations,
        rows=rows,
        directory=directory,
        train_flops=float(flops) if isinstance(flops, int | float) and flops > 0 else None,
        is_audited=attributes.AUDITED in trial.user_attrs,
    )


def replay(study: Study, name: str, pruners: dict[str, Pruner], trials: Iterable[RecordedTrial]) -> PrunerReplay:
    """What these pruners, in this order, do to the trials.

    name  what people call them. Trials without metrics are left out for a pruner that needs more than the objective.
    """
    metric, goal = study.space.objective.metric, study.space.objective.goal
    needs_metrics = any(pruner.needs_metrics(metric) for pruner in pruners.values())
    reads_files = any(pruner.reads_files for pruner in pruners.values())
    sampler, nothing = optuna.samplers.RandomSampler(seed=0), optuna.pruners.NopPruner()
    again = optuna.create_study(study_name=study.name, direction=goal, sampler=sampler, pruner=nothing)
    replayed, left_out = [], []
    for trial in trials:
        if needs_metrics and not trial.rows:
            left_out.append(trial.number)
            continue
        with warnings.catch_warnings(), _files_of(trial) if reads_files else contextlib.nullcontext() as files:
            warnings.simplefilter("ignore", ExperimentalWarning)  # of pruners that Optuna may still change
            reason = _run_again(again, trial, pruners, metric, files)
        replayed.append(
            ReplayedTrial(
                number=trial.number,
                value=trial.value,
                epochs=trial.epochs,
                ended_at=reason[0] if reason is not None else None,
                reason=reason[1] if reason is not None else "",
                train_flops=trial.train_flops,
            )
        )
    return PrunerReplay(name, tuple(replayed), tuple(left_out))


def _run_again(
    again: optuna.Study, trial: RecordedTrial, pruners: dict[str, Pruner], metric: str, files: _GrowingRun | None
) -> tuple[float, str] | None:
    """Let the trial run until it is condemned; returns at which epoch and why, None when it comes to its end."""
    running = again.ask()
    seen: list[MetricRow] = []
    for row in trial.evaluations:
        seen.append(row)
        value = row.get(metric)
        if value is None or not math.isfinite(value):
            continue
        if files is not None:
            files.grow_to(row)
        running.report(value, step=round(row.epoch))
        frozen = again._storage.get_trial(running._trial_id)
        directory = None if files is None else files.directory.path
        reason = first_verdict(pruners, Progress(again, frozen, tuple(seen), metric, trial.epochs, directory))
        if reason is not None:
            again.tell(running, state=TrialState.PRUNED)
            return row.epoch, reason
    again.tell(running, trial.value)
    return None


class _GrowingRun:
    """A copy of a run directory, without its checkpoints, whose metrics grow as they once did."""

    def __init__(self, trial: RecordedTrial, folder: Path) -> None:
        self.directory = RunDirectory(folder / f"{trial.number:04d}")
        self.directory.path.mkdir()
        self._rows = iter(trial.rows)
        for name in (trial.directory.config, trial.directory.environment):
            if name.is_file():
                shutil.copy(name, self.directory.path)
        status = read_status(trial.directory.status)
        if status is not None:
            still = dataclasses.replace(status, state=State.RUNNING, cause=None, exit_code=None, ended_at=None)
            write_status(self.directory.status, still)

    def grow_to(self, evaluation: MetricRow) -> None:
        """Write the rows up to an evaluation."""
        with MetricsWriter(self.directory.metrics) as metrics:
            for row in self._rows:
                metrics.write(row)
                if row is evaluation:
                    return


@contextlib.contextmanager
def _files_of(trial: RecordedTrial) -> Iterator[_GrowingRun]:
    with tempfile.TemporaryDirectory(prefix="hrm-sweep-") as folder:
        yield _GrowingRun(trial, Path(folder))
