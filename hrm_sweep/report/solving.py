"""How a model solves puzzles, step by step: what each cell shows and what its mark means. For terminal and page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.columns import Columns
from rich.console import Console, Group
from rich.text import Text

from hrm_sweep.data import IGNORED_LABEL
from hrm_sweep.data.sudoku import BLANK_TOKEN, BOARDS, Board

Cells = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

_CHARACTERS = "·123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LONGEST_ROW = 60

RIGHT, RIGHT_NOW, WRONG, WRONG_NOW = " ", "+", "x", "*"
LEGEND = (
    (RIGHT_NOW, "just became right"),
    (WRONG, "wrong"),
    (WRONG_NOW, "just became another wrong answer"),
)
"""The marks behind a cell; one that was right before has none."""

_STYLES = {RIGHT: "green", RIGHT_NOW: "bold green", WRONG: "red", WRONG_NOW: "bold red reverse"}


@dataclass(frozen=True)
class Cell:
    """A cell of a board. text: a digit or character. is_given: whether the puzzle shows it. mark: None where it does
    not count."""

    text: str
    is_given: bool
    mark: str | None


@dataclass(frozen=True)
class Frame:
    """A board after one ACT step. cells: row by row, `width` a row. wrong: (row, column, answer, solution), from 1."""

    step: int
    cells: tuple[Cell, ...]
    right: int
    counted: int
    changed: int
    q_halt: float
    q_continue: float
    wrong: tuple[tuple[int, int, str, str], ...]

    @property
    def is_solved(self) -> bool:
        return self.right == self.counted

    @property
    def told(self) -> str:
        """`step 3: 14 of 16 right, 2 changed`."""
        if self.is_solved:
            return f"step {self.step}: solved" + (f", {self.changed} changed" if self.changed else "")
        return f"step {self.step}: {self.right} of {self.counted} right" + (
            f", {self.changed} changed" if self.changed else ""
        )


@dataclass(frozen=True)
class Solving:
    """One puzzle, its answer after every step, and how it is laid out: `width` cells a row, in boxes where it is a
    sudoku. halts_after: the step at which it would halt by itself if halting were allowed; None where only the limit,
    the last step, ends it."""

    example: int
    puzzle: tuple[Cell, ...]
    frames: tuple[Frame, ...]
    width: int
    board: Board | None
    halts_after: int | None

    @property
    def told(self) -> str:
        solved = [frame.step for frame in self.frames if frame.is_solved]
        end = "solved" if self.frames[-1].is_solved else "not solved"
        first = f"solved first after step {solved[0]}, " if solved else ""
        blanks = sum(not cell.is_given for cell in self.puzzle)
        halts = (
            f"it does not halt by itself, the limit is {len(self.frames)}"
            if self.halts_after is None
            else f"it would halt after step {self.halts_after}"
        )
        return f"puzzle {self.example}, {blanks} cells to fill in: {first}{end} at the end; {halts}"


def solving(
    example: int,
    inputs: Cells,
    labels: Cells,
    predictions: Cells,
    q_halt: npt.NDArray[np.float64],
    q_continue: npt.NDArray[np.float64],
    vocab_size: int,
) -> Solving:
    """One puzzle for drawing: inputs and labels (S,), predictions (M, S), Q values (M,)."""
    board = BOARDS.get(math.isqrt(len(inputs)))
    if board is not None and (board.cells, board.vocab_size) != (len(inputs), vocab_size):
        board = None
    side = math.isqrt(len(inputs))
    width = side if side * side == len(inputs) else min(_LONGEST_ROW, len(inputs))
    given = (inputs > BLANK_TOKEN) if board is not None else (inputs == labels)
    frames = []
    for step, answers in enumerate(predictions, start=1):
        before = predictions[step - 2] if step > 1 else answers
        frames.append(
            _frame(step, answers, before, labels, given, width, board, q_halt[step - 1], q_continue[step - 1])
        )
    stops = np.flatnonzero(q_halt > q_continue)
    puzzle = tuple(
        Cell(_text(int(token), board), bool(is_given), None) for token, is_given in zip(inputs, given, strict=True)
    )
    halts_after = int(stops[0]) + 1 if len(stops) else None
    return Solving(example, puzzle, tuple(frames), width, board, halts_after)


def _frame(
    step: int,
    answers: Cells,
    before: Cells,
    labels: Cells,
    given: Flags,
    width: int,
    board: Board | None,
    q_halt: float,
    q_continue: float,
) -> Frame:
    counted = labels != IGNORED_LABEL
    right, changed = (answers == labels) & counted, answers != before
    marks = np.where(right, np.where(changed, RIGHT_NOW, RIGHT), np.where(changed, WRONG_NOW, WRONG))
    cells = tuple(
        Cell(_text(int(token), board), bool(is_given), str(mark) if counts else None)
        for token, is_given, mark, counts in zip(answers, given, marks, counted, strict=True)
    )
    wrong = tuple(
        (at // width + 1, at % width + 1, _text(int(answers[at]), board), _text(int(labels[at]), board))
        for at in np.flatnonzero(counted & ~right).tolist()
    )
    return Frame(
        step,
        cells,
        int(right.sum()),
        int(counted.sum()),
        int((changed & counted).sum()),
        float(q_halt),
        float(q_continue),
        wrong,
    )


def _text(token: int, board: Board | None) -> str:
    """A sudoku token as its digit; any other as a character of its own."""
    if board is not None:
        return str(token - 1) if BLANK_TOKEN < token <= board.size + 1 else "." if token == BLANK_TOKEN else "?"
    return _CHARACTERS[token] if 0 <= token < len(_CHARACTERS) else "#"


# In the terminal ------------------------------------------------------------------------------------------------------


def print_solving(puzzle: Solving, console: Console) -> None:
    """The puzzle and its answer after each step, beside each other as far as there is room."""
    console.print(Text(f"\n{puzzle.told}", style="bold"))
    boards = [Group(Text("the puzzle", style="dim"), _drawn(puzzle, puzzle.puzzle), Text(""))]
    for frame in puzzle.frames:
        halts = " halts" if frame.step == puzzle.halts_after else ""
        heading = Text(f"step {frame.step}: {frame.right}/{frame.counted}{halts}", style="bold" if halts else "")
        boards.append(Group(heading, _drawn(puzzle, frame.cells), Text("")))
    console.print(Columns(boards, padding=(0, 4)))


def print_legend(console: Console) -> None:
    legend = Text("marks: ")
    for mark, meaning in LEGEND:
        legend.append(f"1{mark}", style=_STYLES[mark])
        legend.append(f" {meaning}   ")
    legend.append("none: right, or given", style="dim")
    legend.rstrip()
    console.print(legend)


def _drawn(puzzle: Solving, cells: tuple[Cell, ...]) -> Text:
    return Text("\n").join(_rows(puzzle, cells))


def _rows(puzzle: Solving, cells: tuple[Cell, ...]) -> Iterator[Text]:
    board = puzzle.board
    for row in range(-(-len(cells) // puzzle.width)):
        if board is not None and row and row % board.box_height == 0:
            yield Text(
                "+".join(
                    "-" * (2 * board.box_width + (0 if box == 0 else 1)) for box in range(board.size // board.box_width)
                ),
                style="bright_black",
            )
        line = Text()
        for column, cell in enumerate(cells[row * puzzle.width : (row + 1) * puzzle.width]):
            if board is not None and column and column % board.box_width == 0:
                line.append("| ", style="bright_black")
            mark = cell.mark or RIGHT
            style = (
                _STYLES[mark]
                if cell.mark is not None and not (cell.is_given and mark == RIGHT)
                else "bold"
                if cell.is_given
                else "dim"
            )
            line.append(f"{cell.text}{mark}", style=style)
        yield line
