"""Sweep and diagnose the Hierarchical Reasoning Model. docs/python.md shows what can be done with it from Python.

Nothing is imported before a name is asked for: `import hrm_sweep` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrm_sweep.config import RunConfig, load_config
    from hrm_sweep.diagnosis.loaded_run import LoadedRun, load_run
    from hrm_sweep.sweep.loaded_study import LoadedStudy, load_study

_HOMES = {
    "LoadedRun": "hrm_sweep.diagnosis.loaded_run",
    "LoadedStudy": "hrm_sweep.sweep.loaded_study",
    "RunConfig": "hrm_sweep.config",
    "load_config": "hrm_sweep.config",
    "load_run": "hrm_sweep.diagnosis.loaded_run",
    "load_study": "hrm_sweep.sweep.loaded_study",
}

__all__ = ["LoadedRun", "LoadedStudy", "RunConfig", "load_config", "load_run", "load_study"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
