"""The real training in a process that gets little more memory than it has when it starts."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from hrm_sweep.config import RunConfig
from hrm_sweep.runs import RunDirectory, Status
from hrm_sweep.training import session

NAME = "limited_training:run_training"
ROOM = 110_000_000  # bytes


def run_training(config: RunConfig, directory: RunDirectory, **given: Any) -> Status:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return session.run_training(config, directory, **given)
