"""Engines only start workers; the storage is the single truth of what they do."""

from __future__ import annotations

from hrm_sweep.errors import UsageError
from hrm_sweep.sweep.engines.base import Engine, WorkerPlan
from hrm_sweep.sweep.engines.debug import DebugEngine
from hrm_sweep.sweep.engines.local import LocalEngine

ENGINES: dict[str, type[LocalEngine] | type[DebugEngine]] = {"local": LocalEngine, "debug": DebugEngine}


def require_engine(name: str) -> None:
    """Raises UsageError when there is no engine of this name."""
    if name not in ENGINES:
        raise UsageError(f"--engine: expected {' or '.join(ENGINES)}, found {name!r}")


def make_engine(name: str, plan: WorkerPlan) -> Engine:
    """The engine of this name for one call. Raises UsageError."""
    require_engine(name)
    return ENGINES[name](plan)
