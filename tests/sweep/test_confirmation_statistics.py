"""The statistics of a confirmation: known cases, and simulated studies whose truth is known."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.sweep.confirm.entrants import Confirmation
from hrm_sweep.sweep.confirm.race import Bits, EndedRun, advantage, standing
from hrm_sweep.sweep.confirm.statistics import (
    Difference,
    compare_puzzles,
    difference,
    improvement,
    interquartile_interval,
    interquartile_mean,
    mean_interval,
    student_t_quantile,
    student_t_tail,
)

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from confirmation_race import World, measure, plan

# Student's t with so many degrees of freedom: (tail, t), as printed tables have it.
TABLE = [
    (1, 0.025, 12.706),
    (2, 0.025, 4.303),
    (3, 0.005, 5.841),
    (4, 0.025, 2.776),
    (5, 0.0005, 6.869),
    (9, 0.05, 1.833),
    (30, 0.025, 2.042),
    (120, 0.005, 2.617),
]


@pytest.mark.parametrize(("df", "tail", "t"), TABLE)
def test_students_t_is_that_of_the_tables(df: int, tail: float, t: float) -> None:
    assert student_t_quantile(tail, df) == pytest.approx(t, abs=6e-4)
    assert student_t_tail(t, df) == pytest.approx(tail, rel=2e-3)


@given(st.floats(-50, 50), st.integers(1, 200))
def test_the_tail_of_students_t_is_a_falling_chance_and_symmetric(t: float, df: int) -> None:
    assert 0 <= student_t_tail(t, df) <= 1
    assert student_t_tail(t, df) + student_t_tail(-t, df) == pytest.approx(1)
    assert student_t_tail(t, df) >= student_t_tail(t + 0.5, df) - 1e-15


def test_the_interval_of_a_mean_and_the_mean_of_the_middle_half() -> None:
    scores = [0.5, 0.6, 0.7, 0.8, 0.9]
    interval = mean_interval(scores)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.7 - 0.19632, 0.7 + 0.19632), abs=1e-4)
    assert interquartile_mean(np.array([0.0, 0.6, 0.7, 0.8, 5.0])) == pytest.approx(0.7)
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == pytest.approx(3.0)  # nothing to leave out
    robust = interquartile_interval(scores)
    assert robust is not None
    assert 0.5 <= robust.low < 0.7 < robust.high <= 0.9
    assert mean_interval([0.5]) is None
    assert interquartile_interval(scores[:4]) is None


def test_the_chance_of_improvement_counts_ties_half() -> None:
    found = improvement([0.3, 0.5], [0.1, 0.5])
    assert found is not None
    assert found[0] == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert found[1] is None  # two seeds have no interval
    assert improvement([0.3], [0.1, 0.2]) is None
    five = improvement([0.3, 0.5, 0.4, 0.6, 0.5], [0.1, 0.5, 0.4, 0.3, 0.2])
    assert five is not None
    assert five[1] is not None
    assert 0 < five[1].low < five[0] < five[1].high <= 1


def test_welchs_test_is_that_of_the_textbook() -> None:
    """Means 2 and 4 with variances 1 and 4, four runs each: t = 2 / sqrt(5/4), 4.41 degrees of freedom, taken as 4."""
    found = Difference(2.0, (4, 4), (1.0, 4.0))
    assert found.error == pytest.approx(math.sqrt(1.25))
    assert found.freedom == 4
    assert found.p == pytest.approx(student_t_tail(2 / math.sqrt(1.25), 4))
    assert Difference(-2.0, (4, 4), (1.0, 4.0)).p == 1.0
    assert Difference(2.0, (1, 4), (0.0, 4.0)).p == 1.0


def test_runs_that_agree_by_chance_prove_nothing_of_two_puzzles() -> None:
    """Three runs each that solve 98 and 97 of 100: no scatter between seeds, but the puzzles are only a sample."""
    ours, theirs = np.ones((3, 100), np.bool_), np.ones((3, 100), np.bool_)
    ours[:, :2] = False
    theirs[:, 1:4] = False
    found = difference([0.98] * 3, [0.97] * 3, (ours, theirs))
    assert found.variances == pytest.approx((0.0, 0.0))
    assert found.p > 0.2
    everything = difference([1.0] * 3, [0.0] * 3, (np.ones((3, 100), np.bool_), np.zeros((3, 100), np.bool_)))
    assert everything.p == 0.0


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_of_two_that_are_compared_at_most_one_is_better(ours: list[float], theirs: list[float]) -> None:
    one, other = difference(ours, theirs), difference(theirs, ours)
    assert one.mean == pytest.approx(-other.mean)
    assert max(one.p, other.p) >= 0.5


def test_more_seeds_are_needed_for_a_smaller_difference_and_too_few_puzzles_are_said() -> None:
    needed = [Difference(gap, (5, 5), (0.002, 0.002)).seeds_needed(0.01) for gap in (0.3, 0.1, 0.05, 0.02)]
    assert needed == sorted(needed, key=lambda n: n or 0)
    assert needed[0] is not None
    assert needed[0] <= 5
    assert Difference(0.001, (5, 5), (0.002, 0.002)).seeds_needed(0.01) is None
    assert Difference(0.05, (5, 5), (0.0, 0.0), puzzle_error=0.03, puzzles=200).seeds_needed(0.01) is None


def test_puzzles_that_only_one_solves_are_counted_by_pairs_of_runs() -> None:
    first = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.bool_)
    second = np.array([[1, 0, 0, 0], [1, 0, 0, 1]], np.bool_)
    found = compare_puzzles(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (1.0, 1.5, 0.5, 1.0)
    assert found.difference == pytest.approx(0.25)
    assert found.interval.low <= 0.25 <= found.interval.high


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_bits_come_back(solved: list[bool]) -> None:
    assert Bits.of(np.array(solved)).unpacked().tolist() == solved


def test_levels_of_all_looks_and_opponents_add_up_to_half_of_the_level() -> None:
    for candidates in (2, 3, 4, 10):
        for seeds in (2, 3, 4, 5, 20):
            one = plan(candidates, seeds)
            assert sum(one.level_at(look) for look in one.looks) * (candidates - 1) == pytest.approx(one.level / 2)
            assert one.looks[-1] == seeds


def runs(candidate: int, scores: list[float | None]) -> list[EndedRun]:
    return [EndedRun(candidate, seed, score) for seed, score in enumerate(scores)]


def race(plan: Confirmation, *scores: list[float | None]) -> dict[int, int]:
    """Which candidates are out, and after how many rounds."""
    ended = [run for candidate, each in enumerate(scores) for run in runs(candidate, each)]
    return {place: out.rounds for place, out in standing(plan, ended).out.items()}


def test_a_clear_loser_is_out_at_the_first_look_and_the_leader_never() -> None:
    good, bad = [0.9, 0.91, 0.89, 0.9, 0.9], [0.1, 0.12, 0.11]
    assert race(plan(2, 5), good, bad) == {1: 3}
    assert race(plan(2, 5), good[:3], bad[:2]) == {}  # the look waits for the third run
    assert race(plan(3, 5), good, bad, [0.88, 0.9, 0.92, 0.9, 0.89]) == {1: 3}


def test_a_run_without_a_score_is_left_out() -> None:
    assert race(plan(2, 3), [0.9, None, 0.91], [0.1, 0.1, 0.101]) == {1: 3}
    assert race(plan(2, 3), [None, None, None], [0.1, 0.1, 0.101]) == {0: 3}
    assert advantage(runs(0, [0.9, None]), runs(1, [0.1, 0.2])).p == 1.0


ALIKE = World("alike", (1.0, 1.0, 1.0, 1.0), luck=0.25)
TWO_ALIKE = World("two alike and nobody else", (1.0, 1.0), luck=0.25)
BETTER = World("better", (1.3, 1.0, -0.4, -0.4), luck=0.25)
CLEAR = World("clear", (1.0, -0.4, -0.4, -0.4), luck=0.25)


@pytest.mark.parametrize("world", [ALIKE, TWO_ALIKE, BETTER], ids=lambda world: world.name)
def test_the_race_errs_no_more_often_than_it_says(world: World) -> None:
    """300 studies: of 5 % they would see 15, and the bound is no approximation."""
    found = measure(world, studies=300)
    assert found.best_out <= 0.05
    assert found.wrong <= 0.05


def test_the_race_finds_a_clear_winner_and_spares_runs() -> None:
    found = measure(CLEAR, studies=100)
    assert found.right >= 0.95
    assert found.spared >= 0.15


@pytest.mark.proof
def test_the_race_errs_no_more_often_than_it_says_in_ten_thousand_studies() -> None:
    for world in (ALIKE, TWO_ALIKE, BETTER):
        found = measure(world, studies=10_000, seed=1)
        assert found.best_out <= 0.025
        assert found.wrong <= 0.05
