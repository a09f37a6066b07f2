"""How many test puzzles the trials of a study decide by, where nobody says.

One number for the whole study, and so the same puzzles for all of its trials: a comparison of two scores must not rest
on different puzzles. So it cannot follow the cycles or ACT steps of a trial; the costliest combination decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from hrm_sweep.planning.evaluation_share import affordable_puzzles
from hrm_sweep.sweep.space import SearchSpace

if TYPE_CHECKING:
    from hrm_sweep.sweep.space_lint import Combination

EVAL_PUZZLES = "eval_puzzles"


def leaves_open(space: SearchSpace) -> bool:
    """Whether neither a space nor its base says how many puzzles decide."""
    base = space.frozen().base
    assert isinstance(base, Mapping)
    return EVAL_PUZZLES not in base and EVAL_PUZZLES not in space.overrides and EVAL_PUZZLES not in space.parameters


def deciding_puzzles(space: SearchSpace, combinations: Iterable[Combination]) -> int | None:
    """As many as every combination of a space can afford to evaluate by; None where the space says how many."""
    if not leaves_open(space):
        return None
    return min(
        (
            affordable_puzzles(one.config, one.puzzles.train.seq_len, one.length.steps_per_interval)
            for one in combinations
        ),
        default=None,
    )
