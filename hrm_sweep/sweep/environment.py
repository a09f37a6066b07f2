"""What the processes of a sweep hand on to each other. Imports nothing, for it comes first in each of them."""

from __future__ import annotations

import os

STORAGE_VARIABLE = "HRM_SWEEP_STORAGE"
DRAIN = "drain"
"""What a parent writes to a worker that is to take no further trial."""


def limit_threads(threads: int) -> None:
    """Keep the numeric libraries of children, which inherit this environment, to their share of the cores."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
