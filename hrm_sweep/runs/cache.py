"""Where what was measured or compiled on this machine is kept, for all runs and studies of its user."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """HRM_SWEEP_CACHE, or hrm-sweep in the user's cache directory. Nothing in it is lost when it is removed."""
    chosen = os.environ.get("HRM_SWEEP_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        root = str(Path.home() / "Library" / "Caches")
    else:
        root = os.environ.get("XDG_CACHE_HOME")
    return Path(root or Path.home() / ".cache") / "hrm-sweep"
