"""Recorded runs: what a run left, in one small file, and the same run as it stood at an earlier moment.

A file holds config, environment, status, rows of metrics.jsonl (numbers rounded), and what its checkpoints showed
(facts about the weights, and an evaluation of each), but no weights. Puzzles are made again from their seed.
"""

from __future__ import annotations

import gzip
import json
import math
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from hrm_sweep.config import RunConfig, config_from_mapping
from hrm_sweep.diagnosis import Diagnosis, diagnose
from hrm_sweep.diagnosis.checkpoints import CheckpointFacts, ModuleFacts
from hrm_sweep.diagnosis.data_facts import DataFacts
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.runs import Cause, Owner, RunDirectory, State, Status
from hrm_sweep.runs.environment import Environment
from hrm_sweep.runs.formats import CurvesBuilder, RecordedRun, Source

DIGITS = 4
NO_PROCESS = 2**22 + 1  # larger than the largest process number of Linux
EVALUATED = 3  # `diagnose` evaluates the last checkpoints only

Row = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """One run. `meta` says which one it is: {name, kind (a fault, or "healthy"), size, seed, tuned}."""

    meta: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    status: Mapping[str, Any]
    rows: tuple[Row, ...]
    checkpoints: tuple[Row, ...]  # of CheckpointFacts
    evaluations: tuple[Row, ...]  # of those checkpoints

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(rounded(asdict(self)), separators=(",", ":"))
        with gzip.GzipFile(path, "wb", mtime=0) as file:
            file.write(text.encode())

    @staticmethod
    def read(path: Path) -> Recording:
        content = json.loads(gzip.decompress(path.read_bytes()))
        return Recording(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
        )

    @staticmethod
    def from_directory(path: Path, meta: Mapping[str, Any]) -> Recording:
        """A run directory of ours that holds no checkpoints."""
        run = RunDirectory(path)
        return Recording(
            meta=meta,
            config=yaml.safe_load(run.config.read_text()),
            environment=json.loads(run.environment.read_text()),
            status=json.loads(run.status.read_text()),
            rows=tuple(json.loads(line) for line in run.metrics.read_text().splitlines()),
            checkpoints=(),
            evaluations=(),
        )

    @property
    def kind(self) -> str:
        return str(self.meta["kind"])

    @cached_property
    def run_config(self) -> RunConfig:
        return config_from_mapping(self.config, self.meta["name"])

    @property
    def last_step(self) -> int:
        """The last step of which anything is known."""
        return max([row["step"] for row in (*self.rows, *self.checkpoints)], default=0)

    @property
    def has_checkpoints(self) -> bool:
        """Whether its checkpoints were looked at; a run that never took a step has none, and that was seen."""
        return bool(self.checkpoints) or not self.rows

    def evaluation_points(self) -> list[tuple[int, float]]:
        """(step, epoch) of each evaluation, when a run is looked at while it lives; its end where there is none."""
        points = [(row["step"], row["epoch"]) for row in self.rows if row["kind"] == "eval"]
        return points or [(self.last_step, 0.0)]

    def diagnosed(self, facts: DataFacts | None, until: int | None = None) -> Diagnosis:
        """The diagnosis of the run directory at step `until` (as of a run that lives elsewhere), or at its end."""
        rows = [row for row in self.rows if until is None or row["step"] <= until]
        train, evaluations = CurvesBuilder(), CurvesBuilder()
        for row in rows:
            (evaluations if row["kind"] == "eval" else train).add(row)
        status = _status(self.status) if until is None else _living(self.status, until)
        recorded = RecordedRun(
            path=Path(self.meta["name"]),
            source=Source.OURS,
            config=self.run_config,
            train=train.build(),
            evaluations=evaluations.build(),
            status=status,
            environment=Environment(**self.environment) if self.environment else None,
        )
        return diagnose(
            Evidence(
                recorded=recorded,
                data=facts,
                data_problem="" if facts else "the data folder of the run is not known",
                checkpoints=(),
                evaluations=recorded.evaluations,
                process_alive=None if until is not None else False,
                idle_s=0.0,
                problems=(),
            )
        )

    def diagnosed_by_checkpoints(self, facts: DataFacts | None, until: int | None = None) -> Diagnosis:
        """The diagnosis of what the reference would have left of the same run: all_config.yaml and step_N files."""
        checkpoints = [_facts(row) for row in self.checkpoints if until is None or row["step"] <= until]
        seen = {checkpoint.step for checkpoint in checkpoints[-EVALUATED:]}
        builder = CurvesBuilder()
        for row in self.evaluations:
            if row["step"] in seen and facts is not None:
                builder.add(row)
        recorded = RecordedRun(
            path=Path(self.meta["name"]),
            source=Source.REFERENCE,
            config=self.run_config,
            weights=tuple((checkpoint.step, Path(f"step_{checkpoint.step}")) for checkpoint in checkpoints),
        )
        return diagnose(
            Evidence(
                recorded=recorded,
                data=facts,
                data_problem="" if facts else "the data folder of the run is not known",
                checkpoints=tuple(checkpoints),
                evaluations=builder.build(),
                process_alive=None,
                idle_s=None,
                problems=(),
            )
        )


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value).replace("inf", "Infinity")
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _status(record: Mapping[str, Any]) -> Status | None:
    if not record:
        return None
    owner = Owner(socket.gethostname(), NO_PROCESS, "0")
    cause = Cause(record["cause"]) if record.get("cause") else None
    return Status(**{**record, "state": State(record["state"]), "cause": cause, "owner": owner})


def _living(record: Mapping[str, Any], step: int) -> Status | None:
    if not record:
        return None
    living = {"state": "running", "cause": None, "exit_code": None, "message": "", "ended_at": None, "step": step}
    return _status({**record, **living})


def _facts(record: Mapping[str, Any]) -> CheckpointFacts:
    modules = {}
    for name, facts in record["modules"].items():
        numbers = {key: float(value) if isinstance(value, str) else value for key, value in facts.items()}
        modules[name] = ModuleFacts(**{**numbers, "unchanged": tuple(facts["unchanged"])})
    return CheckpointFacts(**{**record, "modules": modules})
