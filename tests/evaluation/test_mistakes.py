"""Each answer is of one kind, and each sudoku has the rating that the generator goes by."""

from __future__ import annotations

import numpy as np
import pytest

from hrm_sweep.data import IGNORED_LABEL
from hrm_sweep.data.sudoku import BOARDS
from hrm_sweep.evaluation.mistakes import RATING_GROUPS, Kind, kinds_of, ratings_of

SOLUTION = np.array([1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1], np.int32) + 1
OTHER_SOLUTION = np.array([4, 3, 2, 1, 2, 1, 4, 3, 3, 4, 1, 2, 1, 2, 3, 4], np.int32) + 1
GIVEN = np.zeros(16, bool)
GIVEN[[0, 5]] = True


def changed(cells: dict[int, int]) -> np.ndarray:
    answer = SOLUTION.copy()
    for cell, token in cells.items():
        answer[cell] = token
    return answer


@pytest.mark.parametrize(
    ("answer", "given", "kind"),
    [
        (SOLUTION, GIVEN, Kind.SOLVED),
        (changed({0: 3}), GIVEN, Kind.GIVEN_OVERWRITTEN),
        (changed({15: 3}), GIVEN, Kind.NEARLY_RIGHT),
        (changed(dict.fromkeys((11, 12, 13, 15), 5)), GIVEN, Kind.NEARLY_RIGHT),
        (changed(dict.fromkeys((10, 11, 12, 13, 14, 15, 7), 5)), GIVEN, Kind.RULES_BROKEN),
        (changed(dict.fromkeys((8, 9, 10, 11, 12), 0)), GIVEN, Kind.RULES_BROKEN),  # no digits at all
        (OTHER_SOLUTION, np.zeros(16, bool), Kind.OTHER),
    ],
)
def test_a_sudoku_is_of_the_first_kind_that_fits(answer: np.ndarray, given: np.ndarray, kind: Kind) -> None:
    inputs = np.where(given, SOLUTION, 1).astype(np.int32)
    assert kinds_of(answer[None], inputs[None], SOLUTION[None], BOARDS[4]).tolist() == [kind]


def test_of_another_task_only_the_number_of_wrong_cells_is_known() -> None:
    labels = np.arange(1, 9, dtype=np.int32)
    answers = np.stack([labels, labels + (labels <= 4), labels + (labels <= 5)])
    inputs = np.tile(labels[::-1], (3, 1))
    kinds = kinds_of(answers, inputs, np.tile(labels, (3, 1)), None)
    assert kinds.tolist() == [Kind.SOLVED, Kind.NEARLY_RIGHT, Kind.OTHER]


def test_a_cell_whose_label_does_not_count_is_not_wrong() -> None:
    labels = SOLUTION.copy()
    labels[3] = IGNORED_LABEL
    kinds = kinds_of(changed({3: 2})[None], np.ones((1, 16), np.int32), labels[None], None)
    assert kinds.tolist() == [Kind.SOLVED]


def test_ratings_are_those_of_the_solver_and_each_is_in_one_group() -> None:
    easy = np.where(np.arange(16) == 0, 1, SOLUTION)[None]
    empty = np.ones((1, 16), np.int32)
    assert ratings_of(easy.astype(np.int32), BOARDS[4]).tolist() == [0]
    assert ratings_of(empty, BOARDS[4])[0] > 0
    ratings = np.arange(300)
    assert (sum(group.holds(ratings).astype(int) for group in RATING_GROUPS) == 1).all()
    assert [str(group) for group in RATING_GROUPS] == ["0", "1 to 3", "4 to 9", "10 to 29", "30 to 99", "100 or more"]
