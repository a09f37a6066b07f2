"""Builds the Evidence of a run directory."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.config import load_config
from hrm_sweep.diagnosis.checkpoints import CheckpointFacts, read_checkpoints
from hrm_sweep.diagnosis.data_facts import DataFacts, find_data
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.errors import MetricsError
from hrm_sweep.runs import RunDirectory
from hrm_sweep.runs.formats import Curves, CurvesBuilder, RecordedRun, Source, read_history, read_run


@dataclass(frozen=True)
class Export:
    """The metrics of a run of the reference, exported from Weights & Biases.

    files   the history, in one file or several.
    config  the run's all_config.yaml, where there is no run directory that holds it.
    """

    files: tuple[Path, ...]
    config: Path | None = None


def gather_evidence(
    path: Path | None, *, data: Path | None = None, now: float | None = None, export: Export | None = None
) -> Evidence:
    """Everything known about the run in the folder `path`, and in `export`; one of them may be None.

    `data` names its puzzle folder where the config's data_path no longer leads there; `now` is the time in seconds
    since 1970. Raises RunDirectoryError when `path` is no run directory, DataError when `data` is no puzzle folder,
    MetricsError and ConfigError when the export cannot be read.
    """
    recorded = _without_directory(export) if path is None else read_run(path)
    facts, data_problem = find_data(recorded.config, recorded.path, data)
    if export is not None:
        recorded = _with_history(recorded, export, facts)
    problems = recorded.problems
    evaluations = recorded.evaluations
    checkpoints: tuple[CheckpointFacts, ...] = ()
    if recorded.source is Source.REFERENCE:
        checkpoints, unreadable = read_checkpoints(recorded.weights)
        problems += unreadable
        if facts is not None and recorded.config is not None and checkpoints:
            computed, unevaluated = _evaluate(recorded, facts.path, [each.step for each in checkpoints])
            evaluations = _recorded_and_computed(evaluations, computed)
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


def _without_directory(export: Export | None) -> RecordedRun:
    if export is None:
        raise ValueError("neither a run directory nor an export")
    if export.config is not None:
        return RecordedRun(export.files[0], Source.REFERENCE, load_config(export.config))
    problem = "the configuration of the run is not known, and most rules need it; name its all_config.yaml (--config)"
    return RecordedRun(export.files[0], Source.REFERENCE, problems=(problem,))


def _with_history(recorded: RecordedRun, export: Export, facts: DataFacts | None) -> RecordedRun:
    if recorded.source is not Source.REFERENCE:
        raise MetricsError(
            f"{recorded.path}: a run of hrm-sweep has metrics of its own (metrics.jsonl); an export belongs to a run "
            "directory of the reference, which holds all_config.yaml"
        )
    history = read_history(
        export.files,
        batch_size=recorded.config.global_batch_size if recorded.config is not None else None,
        test_puzzles=facts.test.examples if facts is not None else None,
    )
    return dataclasses.replace(
        recorded,
        train=history.train,
        evaluations=history.evaluations,
        problems=recorded.problems + history.problems,
    )


def _recorded_and_computed(recorded: Curves, computed: Curves) -> Curves:
    """Evaluation rows of the run itself, with what only its checkpoints tell beside them. What both tell is taken from
    the run, which scored all its puzzles."""
    if not recorded.columns:
        return computed
    doubled = {"count", *(name for name in computed.columns if name in recorded.columns)}
    beside = {name: series for name, series in computed.columns.items() if name not in doubled}
    return dataclasses.replace(
        recorded,
        columns={**recorded.columns, **beside},
        histogram_step=computed.histogram_step,
        histogram=computed.histogram,
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
