"""Tells a tracker what a run does, each step once, however often the run is interrupted; and never ends a run."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.errors import ConfigError
from hrm_sweep.runs.directory import RunDirectory
from hrm_sweep.runs.metrics import MetricRow, read_metrics
from hrm_sweep.runs.trackers.base import TrackedRun, Tracker, values_as_logged

EXTRAS: Mapping[str, str] = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""The extra of our package that brings a tracker, by the tracker's name, which is also that of its module."""


def missing_tracker(config: RunConfig) -> str | None:
    """What to do when the package of the tracker that is asked for is not installed; None when all is well."""
    name = config.tracker
    if name is None:
        return None
    try:
        if importlib.util.find_spec(name) is not None:
            return None
    except (ImportError, ValueError):
        pass
    return f"{name} is not installed; install it with `pip install 'hrm-sweep[{EXTRAS[name]}]'`, or leave tracker out"


def require_tracker(config: RunConfig) -> None:
    """Raises ConfigError when the package of the tracker that is asked for is not installed."""
    if problem := missing_tracker(config):
        raise ConfigError(f"tracker: {problem}")


@dataclass
class _Told:
    """tracker.json: what the tracker calls the run, and up to which step it knows the rows of each kind."""

    tracker: str
    id: str | None = None
    steps: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def read(path: Path, tracker: str) -> _Told:
        """What was told to this tracker before; nothing when the file is missing, damaged or of another one."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            steps = {str(kind): int(step) for kind, step in record["steps"].items()}
            told = _Told(str(record["tracker"]), record["id"], steps)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _Told(tracker)
        return told if told.tracker == tracker else _Told(tracker)

    def write(self, path: Path) -> None:
        """At once and whole. Not synchronised with the disk: a row told twice after a power cut does no harm."""
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(
            json.dumps({"tracker": self.tracker, "id": self.id, "steps": self.steps}), encoding="utf-8"
        )
        temporary.replace(path)


class Tracking:
    """The tracker of one run, from when its training begins until it ends. Any error of it is one line in the log, and
    the end of tracking; the next resume makes up for what it has missed, from metrics.jsonl."""

    def __init__(
        self, config: RunConfig, directory: RunDirectory, parameters: Callable[[], int], say: Callable[[str], None]
    ) -> None:
        self._config, self._directory, self._parameters, self._say = config, directory, parameters, say
        self._tracker: Tracker | None = None
        self._told = _Told(config.tracker or "")

    def open(self) -> None:
        """Begin in the tracker, or go on there; nothing where the configuration asks for none."""
        if self._config.tracker is not None:
            self._safely(self._open)

    def row(self, row: MetricRow) -> None:
        """A row was written to metrics.jsonl."""
        self._safely(lambda: self._tell(row))

    def close(self, *, failed: bool) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            self._safely(lambda: tracker.close(failed=failed))

    def _open(self) -> None:
        config, path = self._config, self._directory.path
        self._told = _Told.read(self._directory.tracker, str(config.tracker))
        run = TrackedRun(
            directory=path,
            id=self._told.id,
            project=config.project_name or "hrm-sweep",
            name=config.run_name or "/".join(path.resolve().parts[-2:]),
            config=config.to_mapping(),
            parameters=self._parameters(),
        )
        module = importlib.import_module(f"hrm_sweep.runs.trackers.{config.tracker}")
        tracker: Tracker = module.open_tracker(run)
        self._tracker = tracker
        if self._told.id is None:
            tracker.log({"num_params": run.parameters}, 0)
        self._told.id = tracker.id
        self._told.write(self._directory.tracker)
        for row in read_metrics(self._directory.metrics):
            self._tell(row)

    def _tell(self, row: MetricRow) -> None:
        if self._tracker is None or row.step <= self._told.steps.get(row.kind, 0):
            return
        self._tracker.log(values_as_logged(row), row.step)
        self._told.steps[row.kind] = row.step
        self._told.write(self._directory.tracker)

    def _safely(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever a tracker does, the run goes on
            self._tracker = None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._say(f"tracker {self._config.tracker}: {reason}; nothing more is tracked, the run goes on")
