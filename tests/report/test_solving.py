"""Puzzles as a model solves them: marks, words, terminal and page."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console
from test_diagnosis_page import Page

from hrm_sweep.data import IGNORED_LABEL
from hrm_sweep.report.solving import Solving, print_legend, print_solving, solving
from hrm_sweep.report.solving_page import solving_page

SOLUTION = np.array([2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2], dtype=np.int32)


@pytest.fixture
def puzzle() -> Solving:
    """4x4; four cells to fill in. The last three are wrong, then one becomes right and one changes, then all are
    right."""
    inputs = SOLUTION.copy()
    inputs[12:] = 1
    steps = np.tile(SOLUTION, (3, 1))
    steps[0, 13:] = (5, 5, 5)
    steps[1, 13:] = (4, 2, 5)
    q = np.array([-1.0, -1.0, 2.0])
    return solving(7, inputs, SOLUTION, steps, q, np.zeros(3), vocab_size=6)


def marks(puzzle: Solving, step: int) -> str:
    return "".join(cell.mark or "?" for cell in puzzle.frames[step - 1].cells)[12:]


def test_every_cell_is_right_wrong_or_changed(puzzle: Solving) -> None:
    assert [marks(puzzle, step) for step in (1, 2, 3)] == [" xxx", " +*x", "  ++"]
    assert [frame.told for frame in puzzle.frames] == [
        "step 1: 13 of 16 right",
        "step 2: 14 of 16 right, 2 changed",
        "step 3: solved, 2 changed",
    ]
    assert puzzle.frames[1].wrong == ((4, 3, "1", "2"), (4, 4, "4", "1"))
    assert puzzle.told == (
        "puzzle 7, 4 cells to fill in: solved first after step 3, solved at the end; it would halt after step 3"
    )


def test_a_cell_that_does_not_count_has_no_mark() -> None:
    labels = SOLUTION.copy()
    labels[:12] = IGNORED_LABEL
    one = solving(0, SOLUTION, labels, SOLUTION[None], np.zeros(1), np.ones(1), vocab_size=6)
    assert [cell.mark for cell in one.frames[0].cells] == [None] * 12 + [" "] * 4
    assert one.frames[0].told == "step 1: solved"
    assert one.halts_after is None


def test_the_limit_is_not_taken_for_a_wish_to_halt(puzzle: Solving) -> None:
    """A tie of the Q values means going on: only halt_max_steps ends it."""
    ties = np.zeros(3)
    answers = np.tile(SOLUTION, (3, 1))
    tireless = solving(7, SOLUTION, SOLUTION, answers, ties, ties, vocab_size=6)
    assert tireless.told.endswith("; it does not halt by itself, the limit is 3")
    assert [line for line in text_of(tireless) if "halts" in line] == []
    assert "it would halt here" not in solving_page("Title", "run", [tireless])
    assert solving_page("Title", "run", [puzzle]).count("<strong> it would halt here</strong>") == 1


def text_of(puzzle: Solving, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_legend(console)
    print_solving(puzzle, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_terminal_draws_steps_beside_each_other_and_reads_without_colour(puzzle: Solving) -> None:
    lines = text_of(puzzle)
    assert any("step 1: 13/16    step 2: 14/16    step 3: 16/16 halts" in line for line in lines)
    assert [row[:4].strip() for row in last_rows(lines)] == [". .", "4 4x", "4 3+", "4 3"]
    assert [row[-4:].strip() for row in last_rows(lines)] == [". .", "4x4x", "1*4x", "2+1+"]
    assert max(map(len, lines)) <= 80
    narrow = text_of(puzzle, width=40)
    assert max(map(len, narrow)) <= 40
    assert re.findall(r"step (\d): ", "\n".join(narrow)) == ["1", "2", "3"]


def last_rows(lines: list[str]) -> list[str]:
    """The last row of each board; four columns of boards stand beside each other."""
    row = next(line for line in reversed(lines) if "|" in line)
    return [each.strip() for each in re.split(r" {3,}", row.strip())]


def test_any_task_is_drawn_as_characters() -> None:
    tokens = np.arange(70, dtype=np.int32)
    one = solving(0, tokens, tokens, tokens[None], np.zeros(1), np.zeros(1), vocab_size=100)
    assert (one.board, one.width) == (None, 60)
    assert [cell.text for cell in one.puzzle[:12]] == list("·123456789ab")
    assert one.puzzle[-1].text == "#"


def test_the_page_holds_every_step_in_marks_and_in_words(puzzle: Solving) -> None:
    page = Page(solving_page("Title", "run", [puzzle, puzzle]).replace("<br/>", ""))
    assert page.classes()["step"] == 6
    wrong = "Wrong: row 4 column 3 is 1, should be 2; row 4 column 4 is 4, should be 1."
    assert page.values("aria-label").count(f"step 2: 14 of 16 right, 2 changed. {wrong}") == 2
    assert page.values("src") == []
    assert "http" not in page.text


def test_the_script_is_the_only_one_and_fetches_nothing(puzzle: Solving) -> None:
    content = solving_page("Title", "run", [puzzle])
    assert content.count("<script>") == content.count("</script>") == 1
    assert not [word for word in ("http", "fetch(", "import ", "url(") if word in content]
