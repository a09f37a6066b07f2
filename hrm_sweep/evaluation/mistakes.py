"""What is wrong with an answer, and how hard the puzzle was. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hrm_sweep.data import IGNORED_LABEL
from hrm_sweep.data.solver import rate
from hrm_sweep.data.sudoku import BLANK_TOKEN, Board, are_solutions, digits_of_tokens

Cells = NDArray[np.int32]

NEARLY_RIGHT_CELLS = 4
"""So many wrong cells at most are called nearly right: two pairs of digits that changed places."""


class Kind(IntEnum):
    """What became of a puzzle. Each puzzle is of one kind, the first in the order of these that fits.

    Of a task that is no sudoku, only whether an answer is right or nearly right can be told.
    """

    SOLVED = 0
    GIVEN_OVERWRITTEN = 1  # a cell that the puzzle shows is answered otherwise
    NEARLY_RIGHT = 2  # at most NEARLY_RIGHT_CELLS wrong cells
    RULES_BROKEN = 3  # a digit twice in a row, column or box, or a cell without a digit
    OTHER = 4  # of a sudoku: a solution, but not the one of the data

    @property
    def title(self) -> str:
        return self.name.lower().replace("_", " ")


def kinds_of(answers: Cells, inputs: Cells, labels: Cells, board: Board | None) -> NDArray[np.uint8]:
    """The `Kind` of each answer (N,). All are (N, S) tokens; `board` is None where the task is no sudoku."""
    wrong = ((answers != labels) & (labels != IGNORED_LABEL)).sum(axis=1)
    kinds = np.full(len(answers), Kind.OTHER, np.uint8)
    if board is not None:
        kinds[~are_solutions(board, digits_of_tokens(answers))] = Kind.RULES_BROKEN
    kinds[wrong <= NEARLY_RIGHT_CELLS] = Kind.NEARLY_RIGHT
    if board is not None:
        kinds[((inputs > BLANK_TOKEN) & (answers != inputs)).any(axis=1)] = Kind.GIVEN_OVERWRITTEN
    kinds[wrong == 0] = Kind.SOLVED
    return kinds


@dataclass(frozen=True)
class RatingGroup:
    """Ratings from `low` to `high`, inclusive; `high` None has no end."""

    low: int
    high: int | None

    def __str__(self) -> str:
        if self.high is None:
            return f"{self.low} or more"
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"

    def holds(self, ratings: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (ratings >= self.low) & (ratings <= (ratings if self.high is None else self.high))


RATING_GROUPS = tuple(RatingGroup(low, high) for low, high in ((0, 0), (1, 3), (4, 9), (10, 29), (30, 99), (100, None)))
"""Fixed, so that figures of different checkpoints and folders compare. 0: naked and hidden singles suffice."""


def ratings_of(inputs: Cells, board: Board) -> NDArray[np.int64]:
    """The rating (N,) of sudokus (N, cells) in tokens, as `hrm-sweep data sudoku --min-difficulty` means it."""
    return rate(board.size, digits_of_tokens(inputs))
