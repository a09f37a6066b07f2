"""What a tracker is, and the names under which it is told values: those that the reference logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hrm_sweep.runs.metrics import MetricRow

_AS_LOGGED = {
    "loss": "loss",
    "lm_loss": "lm_loss",
    "q_halt_loss": "q_halt_loss",
    "q_continue_loss": "q_continue_loss",
    "accuracy": "accuracy",
    "exact_accuracy": "exact_accuracy",
    "q_halt_accuracy": "q_halt_accuracy",
    "act_steps": "steps",
}
_SETS = {"train": "train", "eval": "all"}  # "all" is the name of the only evaluation set of the usual folders


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run.

    directory  of the run, for files of the tracker.
    id         of the run in the tracker; None when it begins there.
    project, name  where it is to be found.
    config     the whole configuration, nested.
    parameters  how many parameters the model has.
    """

    directory: Path
    id: str | None
    project: str
    name: str
    config: Mapping[str, Any]
    parameters: int


class Tracker(Protocol):
    """A module of this package has one of them, `open_tracker`."""

    @property
    def id(self) -> str:
        """Of the run, with which a resume finds it again."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep values by their flat names, `train/lm_loss` or `all/exact_accuracy`, at an optimizer step."""

    def close(self, *, failed: bool) -> None:
        """The training has ended, for now or for good."""


def values_as_logged(row: MetricRow) -> dict[str, float]:
    """The values of a row by the reference's names. What does not exist is absent, where the reference logs 0."""
    kind = _SETS[row.kind]
    values = {f"{kind}/{name}": row.values[ours] for ours, name in _AS_LOGGED.items() if ours in row.values}
    if row.kind == "train":
        values |= {f"train/{name}": row.values[name] for name in ("count", "lr") if name in row.values}
    return values
