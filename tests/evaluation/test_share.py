"""What a number of puzzles can tell."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.evaluation.share import mcnemar

FEW = st.integers(0, 40)


@given(first=FEW, second=FEW)
def test_mcnemars_test_counts_how_often_a_coin_falls_as_unevenly(first: int, second: int) -> None:
    n = first + second
    as_uneven = [k for k in range(n + 1) if max(k, n - k) >= max(first, second)]
    expected = sum(math.comb(n, k) for k in as_uneven) / 2**n
    assert mcnemar(first, second) == pytest.approx(expected)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_as_many_puzzles_as_there_are_do_not_overflow() -> None:
    assert mcnemar(200_000, 200_500) == pytest.approx(0.43, abs=0.01)  # a normal law of 0.79 standard deviations
    assert mcnemar(210_000, 190_000) < 1e-200
