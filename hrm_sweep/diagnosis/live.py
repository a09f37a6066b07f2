"""A run that is judged again and again while it is written: what was read once is not read again."""

from __future__ import annotations

from pathlib import Path

from hrm_sweep.diagnosis.data_facts import find_data
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.runs import MetricRow, MetricsFollower, RunDirectory, read_status
from hrm_sweep.runs.environment import read_environment
from hrm_sweep.runs.formats import CurvesBuilder, RecordedRun, Source
from hrm_sweep.runs.formats.ours import config_of


class LiveRun:
    """A run directory of ours whose process lives. Config, environment and puzzles are read once, metrics as they come.

    Made for one attempt: a resume cuts the metrics back, and a LiveRun keeps what it has seen.
    """

    def __init__(self, path: Path) -> None:
        self._directory = RunDirectory(path)
        self._follower = MetricsFollower(self._directory.metrics)
        self._rows = {"train": CurvesBuilder(), "eval": CurvesBuilder()}
        problems: list[str] = []
        self._config = config_of(self._directory.config, problems)
        self._problems = tuple(problems)
        self._environment = read_environment(self._directory.environment)
        self._data, self._data_problem = find_data(self._config, path, None)

    def evidence(self) -> Evidence:
        """Everything known by now."""
        for row in self._follower.new_rows():
            self._rows[row.kind].add(_record(row))
        recorded = RecordedRun(
            path=self._directory.path,
            source=Source.OURS,
            config=self._config,
            train=self._rows["train"].build(),
            evaluations=self._rows["eval"].build(),
            status=read_status(self._directory.status),
            environment=self._environment,
            problems=self._problems,
        )
        return Evidence(
            recorded=recorded,
            data=self._data,
            data_problem=self._data_problem,
            checkpoints=(),
            evaluations=recorded.evaluations,
            process_alive=True,
            idle_s=0.0,
            problems=recorded.problems,
        )


def _record(row: MetricRow) -> dict[str, object]:
    stamp = {"kind": row.kind, "step": row.step, "epoch": row.epoch, "time_s": row.time_s}
    return {**stamp, **row.values, **row.modules, "act_histogram": row.act_histogram}
