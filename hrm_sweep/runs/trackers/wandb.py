"""Weights & Biases, with the keys that the reference logs there.

WANDB_MODE decides whether it goes online. Without it, and without a key for the server, runs are kept offline in the
folder `wandb` of the run directory, for `wandb sync`: a training never waits for somebody to log in.
"""

from __future__ import annotations

import netrc
import os
import uuid
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import wandb

from hrm_sweep.runs.trackers.base import TrackedRun


class _WandbRun:
    """A run there. Each training of it is a segment, with steps that continue."""

    def __init__(self, run: TrackedRun) -> None:
        self.id = run.id or uuid.uuid4().hex[:12]
        self._run: Any = wandb.init(
            id=self.id,
            resume="allow",
            project=run.project,
            name=run.name,
            config=dict(run.config),
            dir=str(run.directory),
            mode=_mode(),
            # Nothing printed, no statistics of the machine (as the reference), nothing of the program's output.
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Evaluations go under the name of their set, as the reference hands them over: {all: {accuracy: ...}}."""
        told: dict[str, Any] = {}
        for name, value in values.items():
            if name.startswith("all/"):
                told.setdefault("all", {})[name.removeprefix("all/")] = value
            else:
                told[name] = value
        self._run.log(told, step=step)

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def open_tracker(run: TrackedRun) -> _WandbRun:
    return _WandbRun(run)


def _mode() -> Literal["online", "offline"] | None:
    """None leaves it to WANDB_MODE."""
    if os.environ.get("WANDB_MODE"):
        return None
    return "online" if os.environ.get("WANDB_API_KEY") or _is_logged_in() else "offline"


def _is_logged_in() -> bool:
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
