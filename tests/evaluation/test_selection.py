"""The puzzles that decide and the puzzles that are never seen while deciding."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.evaluation.selection import HOLDOUT_LIMIT, subset_indices


@given(n=st.integers(0, 3000), wanted=st.integers(1, 4000))
def test_the_two_subsets_never_overlap_and_selection_is_at_most_half(n: int, wanted: int) -> None:
    selection, holdout = (subset_indices(subset, n, wanted) for subset in ("selection", "holdout"))
    assert len(np.intersect1d(selection, holdout)) == 0
    assert len(selection) == min(n, wanted, max(1, n // 2))
    assert len(selection) + len(holdout) == n
    for indices in (selection, holdout):
        assert (np.diff(indices) > 0).all()
        assert ((indices >= 0) & (indices < n)).all()


def test_a_published_test_set_is_held_out_up_to_the_limit() -> None:
    assert len(subset_indices("selection", 422_786, 1000)) == 1000
    assert len(subset_indices("holdout", 422_786, 1000)) == HOLDOUT_LIMIT


def test_the_split_is_a_property_of_the_data_alone() -> None:
    assert subset_indices("selection", 10, 4).tolist() == subset_indices("selection", 10, 4).tolist()
    smaller, larger = subset_indices("selection", 100, 10), subset_indices("selection", 100, 20)
    assert set(smaller) <= set(larger)
