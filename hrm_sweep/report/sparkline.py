"""A curve in a line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS, _PLAIN = "▁▂▃▄▅▆▇█", ".:-=+*#@"


def sparkline(values: Sequence[float], low: float, high: float, width: int, *, plain: bool = False) -> str:
    """`values` from left to right in at most `width` characters, between `low` (the lowest block) and `high`.

    More values than characters: each character is the last of those that fall on it, so that the line ends with the
    latest. A value that is not finite is a gap. `plain`: for terminals that show nothing but ASCII.
    """
    marks = _PLAIN if plain else _BLOCKS
    n = min(len(values), width)
    shown = [values[(place + 1) * len(values) // n - 1] for place in range(n)]
    return "".join(_mark(value, low, high, marks) for value in shown)


def _mark(value: float, low: float, high: float, marks: str) -> str:
    if not math.isfinite(value):
        return " "
    share = (value - low) / (high - low) if high > low else 0.0
    return marks[min(len(marks) - 1, max(0, int(share * len(marks))))]
