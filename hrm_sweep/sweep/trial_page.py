"""What the dashboard shows of a trial: attributes, artifacts and a note, written before it is told.

Optuna refuses changes of a trial afterwards. Nothing that goes wrong here costs anybody their trial, but for a storage
that stays away.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import TrialState
from optuna_dashboard.artifact import get_artifact_path

from hrm_sweep.config.schedule import RunLength
from hrm_sweep.planning.cost import parameter_count, train_flops_of_first
from hrm_sweep.report.markdown import plain
from hrm_sweep.report.trial_note import RunCost, TrialNote
from hrm_sweep.runs import Cause
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.audit import audit_mark
from hrm_sweep.sweep.budget import Claim
from hrm_sweep.sweep.goals import score
from hrm_sweep.sweep.holdout import best_trial
from hrm_sweep.sweep.notes import write_trial_note
from hrm_sweep.sweep.outcome import Outcome
from hrm_sweep.sweep.remedies import prescribed, remedy_mark
from hrm_sweep.sweep.storage import patiently
from hrm_sweep.sweep.study import ARTIFACTS, Study

if TYPE_CHECKING:
    from hrm_sweep.diagnosis import Diagnosis, Evidence

PICTURE, TABLE = "curves.png", "metrics.csv"
_LARGEST_ATTACHED = 1_000_000  # bytes of a file


def write_trial_page(
    study: Study, claim: Claim, outcome: Outcome, diagnosis: Diagnosis | None, say: Callable[[str], None]
) -> None:
    """Give the trial its attributes, artifacts and note.

    Raises UpdateFinishedTrialError when somebody else has ended the trial, StorageError when the storage stays away.
    """
    goes_on = outcome.failure is not None and outcome.failure.cause is Cause.PREEMPTED
    judged = None if goes_on else diagnosis  # of a run that goes on later there is nothing to say yet
    cost = RunCost() if diagnosis is None else run_cost(diagnosis.evidence)
    for name, value in _attributes(study, claim, outcome, judged, cost).items():
        patiently(lambda name=name, value=value: claim.trial.set_user_attr(name, value))  # type: ignore[misc]
    addresses = _attach(claim, outcome, diagnosis, say)
    note = TrialNote(
        how_it_ended=_how_it_ended(study, outcome),
        marks="; ".join(filter(None, (remedy_mark(claim.trial.user_attrs), audit_mark(claim.trial.user_attrs)))),
        diagnosis=judged,
        cost=cost,
        run_directory=claim.directory.path.as_posix(),
        picture=addresses.get(PICTURE),
        report=addresses.get(claim.directory.report.name),
    )
    text, is_telling = note.markdown(), outcome.state is not TrialState.COMPLETE or _is_best(study, outcome)
    patiently(lambda: write_trial_note(study, claim.trial._trial_id, text, is_telling=is_telling))


def run_cost(run: Evidence) -> RunCost:
    """What a run took, as far as its files tell."""
    config, data = run.recorded.config, run.data
    times = np.concatenate([run.rows.time_s, run.evaluations.time_s])
    times = times[np.isfinite(times)]
    act_steps = _mean_act_steps(run)
    parameters = flops = None
    if config is not None and data is not None:
        parameters = parameter_count(config.arch, data.vocab_size, data.seq_len)
        length = RunLength.of(config, data.total_groups, data.mean_puzzle_examples)
        flops = train_flops_of_first(config, data.seq_len, length, run.steps_done)
    return RunCost(
        parameters=parameters,
        train_flops=flops,
        seconds=round(float(times.max()), 3) if len(times) else None,
        peak_bytes=None if run.status is None else run.status.peak_bytes,
        act_steps=None if act_steps is None else round(act_steps, 3),
    )


def _mean_act_steps(run: Evidence) -> float | None:
    """Over the last fifth of the train rows, as the goal `act_steps` has it; None where nothing halted."""
    from hrm_sweep.diagnosis import MissingEvidence  # loaded by whoever made the evidence
    from hrm_sweep.diagnosis.signals import recent_mean

    try:
        mean = recent_mean(run, "act_steps")
    except MissingEvidence:
        return None
    return mean if math.isfinite(mean) else None


def _attributes(
    study: Study, claim: Claim, outcome: Outcome, diagnosis: Diagnosis | None, cost: RunCost
) -> dict[str, Any]:
    found: dict[str, Any] = {
        attributes.PARAMETERS: cost.parameters,
        attributes.TRAIN_FLOPS: cost.train_flops,
        attributes.SECONDS: cost.seconds,
        attributes.PEAK_BYTES: cost.peak_bytes,
        attributes.ACT_STEPS: cost.act_steps,
        attributes.PRUNED_BY: outcome.pruned_by,
    }
    if outcome.failure is not None:
        found |= {attributes.CAUSE: str(outcome.failure.cause), attributes.MESSAGE: outcome.failure.message}
    if diagnosis is not None:
        found[attributes.VERDICT] = diagnosis.leading.title if diagnosis.leading else diagnosis.verdict
        if outcome.state is not TrialState.COMPLETE:
            found[attributes.REMEDY] = prescribed(study.space, claim.values, diagnosis)
    return {name: value for name, value in found.items() if value is not None}


def _how_it_ended(study: Study, outcome: Outcome) -> str:
    """In Markdown, in one line."""
    if outcome.pruned_by is not None:
        return f"**pruned by**: {plain(outcome.pruned_by)}"
    if outcome.failure is not None:
        return f"**failed**, cause {outcome.failure.cause}: {plain(outcome.failure.message)}"
    goals = zip(study.space.objective.goals, outcome.values or (), strict=True)
    values = ", ".join(f"{goal.metric} {value:.4g}" for goal, value in goals)
    broken = f"; **violates a constraint**: {plain(outcome.violations.said)}" if outcome.violations.said else ""
    return f"**complete**: {values}{broken}"


def _is_best(study: Study, outcome: Outcome) -> bool:
    """Whether no trial that completed before is better by the main goal."""
    if outcome.violations.said:
        return False
    before = best_trial(study)
    value = None if before is None else score(before)
    if value is None or outcome.value is None:
        return True
    objective = study.space.objective
    return objective.worth(outcome.value) > objective.worth(value)


def _attach(claim: Claim, outcome: Outcome, diagnosis: Diagnosis | None, say: Callable[[str], None]) -> dict[str, str]:
    """Copies for the dashboard, which shows only what lies in its artifact folder; the address of each by its name."""
    directory, addresses = claim.directory, dict[str, str]()
    kept = (directory.report, directory.config, directory.diagnosis, directory.log)
    try:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        store = FileSystemArtifactStore(ARTIFACTS)
        with _drawn(claim, outcome, diagnosis, say) as drawn:
            for path in (*drawn, *kept):
                if path.is_file() and path.stat().st_size <= _LARGEST_ATTACHED:
                    addresses[path.name] = _upload(store, path, claim)
    except OSError as error:
        say(f"trial {claim.number}: not everything is attached for the dashboard: {error}")
    return addresses


def _upload(store: FileSystemArtifactStore, path: Path, claim: Claim) -> str:
    identifier = patiently(
        lambda: upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=claim.trial)
    )
    return str(get_artifact_path(claim.trial, identifier))


@contextmanager
def _drawn(
    claim: Claim, outcome: Outcome, diagnosis: Diagnosis | None, say: Callable[[str], None]
) -> Iterator[list[Path]]:
    """The picture of the curves and the table of metrics, as files for the moment; none where there is nothing."""
    with tempfile.TemporaryDirectory(prefix="hrm-sweep-") as name:
        picture_file, table_file = Path(name) / PICTURE, Path(name) / TABLE
        try:
            if diagnosis is not None:
                from hrm_sweep.report.metrics_csv import metrics_csv
                from hrm_sweep.report.run_picture import run_picture

                run, state = diagnosis.evidence, outcome.state.name.lower()
                picture = run_picture(diagnosis, f"trial {claim.number}, {state}: {diagnosis.verdict}")
                if picture is not None:
                    picture.save(picture_file, optimize=False)
                if len(run.rows) or len(run.evaluations):
                    table_file.write_text(metrics_csv(run), encoding="utf-8")
        except Exception as error:
            say(f"trial {claim.number}: its curves could not be drawn: {type(error).__name__}: {error}")
        yield [path for path in (picture_file, table_file) if path.is_file()]
