"""What the C library does with memory that tensors have given back."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for the next step needs as much again.

    By default glibc returns blocks above some hundred KB to the system, which hands them out anew page by page, each
    filled with zeros: a fifth to a third of a small model's step (docs/performance.md). Elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
