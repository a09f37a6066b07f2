"""Engines only start workers; the storage is the single truth of what they do."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from hrm_sweep.errors import UsageError
from hrm_sweep.sweep.engines.base import Engine, WorkerPlan

ENGINES = {
    "local": "hrm_sweep.sweep.engines.local:LocalEngine",
    "debug": "hrm_sweep.sweep.engines.debug:DebugEngine",
    "ray": "hrm_sweep.sweep.engines.ray:RayEngine",
    "slurm": "hrm_sweep.sweep.engines.slurm:SlurmEngine",
}
"""By name, and imported only when asked for: ray and slurm need the extra of their name."""

BEYOND_THIS_MACHINE = ("ray", "slurm")


def require_engine(name: str) -> Callable[[WorkerPlan], Engine]:
    """What makes the engine of this name. Raises UsageError when there is none, or its extra is not installed."""
    if name not in ENGINES:
        raise UsageError(f"--engine: expected {', '.join(sorted(ENGINES))}, found {name!r}")
    module, _, factory = ENGINES[name].partition(":")
    try:
        found: Callable[[WorkerPlan], Engine] = getattr(importlib.import_module(module), factory)
    except ImportError as error:
        raise UsageError(
            f"--engine {name}: not installed ({error}); pip install 'hrm-sweep[{name}]', on every host"
        ) from None
    return found


def make_engine(name: str, plan: WorkerPlan) -> Engine:
    """The engine of this name for one call. Raises UsageError."""
    return require_engine(name)(plan)
