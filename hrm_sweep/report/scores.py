"""Which scores are shares of puzzles, so that their number tells how sure they are."""

from __future__ import annotations


def is_share(metric: str) -> bool:
    """Whether a metric is a share of puzzles, so that its interval follows from their number. That of cells is none:
    the cells of one puzzle are right or wrong together."""
    return metric == "exact_accuracy"
