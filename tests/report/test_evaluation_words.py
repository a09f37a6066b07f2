"""What `evaluate` concludes from its tables."""

from __future__ import annotations

import numpy as np
import pytest

from hrm_sweep.evaluation.scaling import Scaling, Speed
from hrm_sweep.report.evaluation import _against_training


def scaling(**solved_by: int) -> Scaling:
    """Of 100 puzzles the first so many are solved after 1, 2, ... steps, given as `after_1=...`."""
    most = max(int(name.removeprefix("after_")) for name in solved_by)
    solved = np.zeros((100, most), dtype=np.bool_)
    for name, number in solved_by.items():
        solved[:number, int(name.removeprefix("after_")) - 1] = True
    steps = tuple(sorted(int(name.removeprefix("after_")) for name in solved_by))
    nothing, kinds = np.zeros((100, most)), np.zeros((100, len(steps)), dtype=np.uint8)
    return Scaling(steps, solved, nothing, solved, kinds, None, Speed(100, most, 1.0), None, "cpu", 100)


@pytest.mark.parametrize(
    ("found", "trained", "said"),
    [
        (
            scaling(after_1=81, after_2=66),
            2,
            "Best with 1 ACT step: that solves 15 puzzles that the 2 of training do not, and misses 0 that they solve; "
            "chance does not explain it (McNemar's test: p 6.1e-05).",
        ),
        (
            scaling(after_1=10, after_2=50, after_4=55),
            2,
            "No other number of steps is known to solve more than the 2 of training (McNemar's test, corrected for 2 "
            "comparisons).",
        ),
        (scaling(after_2=66), 2, None),
        (scaling(after_1=81, after_2=66), 8, None),
    ],
)
def test_the_number_of_steps_of_training_is_held_to_the_best_other_one(
    found: Scaling, trained: int, said: str | None
) -> None:
    assert next(_against_training(found, trained), None) == said
