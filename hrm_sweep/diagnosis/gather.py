"""Builds the Evidence of a run directory."""

from __future__ import annotations

import time
from pathlib import Path

from hrm_sweep.diagnosis.checkpoints import CheckpointFacts, read_checkpoints
from hrm_sweep.diagnosis.data_facts import find_data
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.runs import RunDirectory
from hrm_sweep.runs.formats import Curves, CurvesBuilder, RecordedRun, Source, read_run


def gather_evidence(path: Path, *, data: Path | None = None, now: float | None = None) -> Evidence:
    """Everything known about the run in the folder `path`.

    `data` names its puzzle folder where the config's data_path no longer leads there; `now` is the time in seconds
    since 1970. Raises RunDirectoryError when `path` is no run directory, DataError when `data` is no puzzle folder.
    """
    recorded = read_run(path)
    facts, data_problem = find_data(recorded.config, path, data)
    problems = recorded.problems
    evaluations = recorded.evaluations
    checkpoints: tuple[CheckpointFacts, ...] = ()
    if recorded.source is Source.REFERENCE:
        checkpoints, unreadable = read_checkpoints(recorded.weights)
        problems += unreadable
        if facts is not None and recorded.config is not None and checkpoints:
            evaluations, unevaluated = _evaluate(recorded, facts.path, [each.step for each in checkpoints])
            problems += unevaluated
    return Evidence(
        recorded=recorded,
        data=facts,
        data_problem=data_problem,
        checkpoints=checkpoints,
        evaluations=evaluations,
        process_alive=_process_alive(recorded),
        idle_s=_idle_s(recorded, time.time() if now is None else now),
        problems=problems,
    )


def _evaluate(recorded: RecordedRun, data: Path, readable: list[int]) -> tuple[Curves, tuple[str, ...]]:
    """Evaluation rows of the last readable checkpoints, and what could not be evaluated."""
    from hrm_sweep.diagnosis.evaluated import evaluation_records  # torch

    assert recorded.config is not None
    builder = CurvesBuilder()
    problems: list[str] = []
    weights = [(step, path) for step, path in recorded.weights if step in readable]
    for record in evaluation_records(recorded.config, weights, data):
        if isinstance(record, str):
            problems.append(record)
        else:
            builder.add(record)
    return builder.build(), tuple(problems)


def _process_alive(recorded: RecordedRun) -> bool | None:
    status = recorded.status
    return status.owner.is_alive() if status is not None and status.owner.on_this_host() else None


def _idle_s(recorded: RecordedRun, now: float) -> float | None:
    written = [recorded.status.updated_at] if recorded.status else []
    directory = RunDirectory(recorded.path)
    for path in (directory.metrics, directory.log):
        try:
            written.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(0.0, now - max(written)) if written else None
