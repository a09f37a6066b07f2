"""MLflow: MLFLOW_TRACKING_URI, or the SQLite file trials/mlflow.db. The client alone, so that nothing is global."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from hrm_sweep.config import flattened
from hrm_sweep.runs.trackers.base import TrackedRun

_FILE = Path("trials") / "mlflow.db"
_PARAMETERS_AT_ONCE = 100  # as many as MLflow takes


class _MlflowRun:
    """A run of the experiment that bears the project's name."""

    def __init__(self, run: TrackedRun) -> None:
        self._client: Any = MlflowClient(tracking_uri=_address())
        if run.id is not None:
            self.id = run.id
            self._client.update_run(self.id, status="RUNNING")
            return
        self.id = self._client.create_run(self._experiment(run.project), run_name=run.name).info.run_id
        parameters = [Param(key, str(value)[:6000]) for key, value in flattened(run.config).items()]
        for start in range(0, len(parameters), _PARAMETERS_AT_ONCE):
            self._client.log_batch(self.id, params=parameters[start : start + _PARAMETERS_AT_ONCE])

    def log(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(self.id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self.id, status="FAILED" if failed else "FINISHED")

    def _experiment(self, name: str) -> str:
        """By its name; another trial may make it at the same moment."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except Exception:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)


def open_tracker(run: TrackedRun) -> _MlflowRun:
    return _MlflowRun(run)


def _address() -> str:
    if given := os.environ.get("MLFLOW_TRACKING_URI"):
        return given
    _FILE.parent.mkdir(exist_ok=True)
    return f"sqlite:///{_FILE.as_posix()}"
