"""How a model solves puzzles, as a page that is stepped through. Without its script, and on paper, all steps show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hrm_sweep.report.figures_html import Figure, figures
from hrm_sweep.report.html import Html, element, joined, page
from hrm_sweep.report.solving import RIGHT, RIGHT_NOW, WRONG, WRONG_NOW, Cell, Frame, Solving
from hrm_sweep.report.svg import Chart, Line, line_chart

_STYLES = 7  # colours of the style sheet
_CLASSES = {RIGHT: "right", RIGHT_NOW: "right now", WRONG: "wrong", WRONG_NOW: "wrong now"}
_SHOWN = {RIGHT: "", RIGHT_NOW: "+", WRONG: "\u00d7", WRONG_NOW: "\u00d7"}  # a cross: the multiplication sign
_WIDE = 12  # cells a row, from which on they are drawn small
_MOST_NAMED = 12  # wrong cells that are named in words


def solving_page(title: str, where: str, puzzles: Sequence[Solving]) -> Html:
    """One self-contained page: each puzzle with its board after every ACT step."""
    head = element(
        "header",
        element("p", where, class_="path"),
        element("h1", title),
        element(
            "p",
            f"{len(puzzles)} puzzle{'' if len(puzzles) == 1 else 's'}, {len(puzzles[0].frames)} ACT steps.",
            class_="headline",
        ),
        element(
            "p", "Arrow keys step through the puzzle that was touched last; Home and End go to its ends.", class_="keys"
        ),
        _legend(),
    )
    foot = element("footer", "Made by ", element("code", "hrm-sweep show"), ".")
    body = element("main", head, (_puzzle(one) for one in puzzles), figures([_by_step(puzzles)]), foot)
    return page(f"{title} · hrm-sweep", body, styles=["solving.css"], scripts=["stepping.js"])


def _legend() -> Html:
    samples = (
        (Cell("4", True, RIGHT), "given"),
        (Cell("4", False, RIGHT), "right"),
        (Cell("4", False, RIGHT_NOW), "just became right"),
        (Cell("4", False, WRONG), "wrong"),
        (Cell("4", False, WRONG_NOW), "just became another wrong answer"),
    )
    rows = (
        element("li", element("span", _inside(cell), class_=f"sample {_class(cell)}"), meaning)
        for cell, meaning in samples
    )
    return element("ul", rows, class_="legend cells", aria_label="Legend")


def _puzzle(one: Solving) -> Html:
    steps = (_step(one, frame) for frame in one.frames)
    return element(
        "section",
        element("h2", f"Puzzle {one.example}"),
        element("p", f"{one.told[:1].upper()}{one.told[1:]}."),
        element(
            "div",
            element(
                "figure", element("figcaption", "the puzzle"), _board(one, one.puzzle, "The puzzle"), class_="start"
            ),
            element("div", steps, class_="steps"),
            class_="boards",
        ),
        class_="puzzle",
        id=f"puzzle-{one.example}",
        aria_label=f"Puzzle {one.example}",
    )


def _step(one: Solving, frame: Frame) -> Html:
    halts = element("strong", " it would halt here") if frame.step == one.halts_after else None
    q = f"q_halt {frame.q_halt:.2f}, q_continue {frame.q_continue:.2f}"
    return element(
        "figure",
        element("figcaption", frame.told, element("br"), element("span", q, class_="unit"), halts),
        _board(one, frame.cells, _in_words(frame)),
        class_="step",
        data_told=f"{frame.told}; {q}" + ("; it would halt here" if halts else ""),
    )


def _in_words(frame: Frame) -> str:
    named = "; ".join(
        f"row {row} column {column} is {answer}, should be {solution}"
        for row, column, answer, solution in frame.wrong[:_MOST_NAMED]
    )
    more = f"; and {len(frame.wrong) - _MOST_NAMED} more" if len(frame.wrong) > _MOST_NAMED else ""
    return f"{frame.told}. {f'Wrong: {named}{more}.' if named else 'Nothing is wrong.'}"


def _board(one: Solving, cells: tuple[Cell, ...], in_words: str) -> Html:
    rows = (element("tr", _row(one, cells, row)) for row in range(-(-len(cells) // one.width)))
    look = "board dense" if one.width > _WIDE else "board"
    return element("table", element("tbody", rows), class_=look, role="img", aria_label=in_words)


def _row(one: Solving, cells: tuple[Cell, ...], row: int) -> Iterator[Html]:
    board = one.board
    for column, cell in enumerate(cells[row * one.width : (row + 1) * one.width]):
        edges = ""
        if board is not None:
            edges += " top" if row and row % board.box_height == 0 else ""
            edges += " left" if column and column % board.box_width == 0 else ""
        yield element("td", _inside(cell), class_=_class(cell) + edges)


def _class(cell: Cell) -> str:
    kind = "plain" if cell.mark is None else _CLASSES[cell.mark]
    return f"given {kind}" if cell.is_given else kind


def _inside(cell: Cell) -> Html:
    mark = _SHOWN[cell.mark or RIGHT]
    return joined("" if cell.text == "." else cell.text, element("i", mark) if mark else None)


def _by_step(puzzles: Sequence[Solving]) -> Figure:
    lines = [
        Line(
            f"puzzle {one.example}",
            np.array([frame.step for frame in one.frames], dtype=np.float64),
            np.array([frame.right / max(1, frame.counted) for frame in one.frames]),
            number % _STYLES,
            number >= _STYLES,
        )
        for number, one in enumerate(puzzles)
    ]
    title = "Cells right after each ACT step"
    steps = float(len(puzzles[0].frames))
    chart = Chart(title, "share", "ACT steps", steps, lines, percent=True, log=False)
    legend = tuple((line.look, line.name) for line in lines)
    return Figure("by-step", title, "share of the cells that count", line_chart(chart, "by-step"), legend)
