"""Draws what a puzzle folder holds: facts, and puzzles of any task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hrm_sweep.data import PuzzleFolder, Split, take_examples
from hrm_sweep.data.sudoku import BOARDS, Board

Cells = npt.NDArray[np.int32]

# Tokens of a task we do not know, a character and a colour each; the colours repeat.
_CHARACTERS = "·123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COLOURS = ("bright_black", "white", "cyan", "green", "yellow", "magenta", "blue", "red")
# Rows that are no square are cut into lines of this many cells.
_LINE = 60


def facts(folder: PuzzleFolder) -> RenderableType:
    """A table of both splits side by side."""
    table = Table(title=Text(str(folder.path)), title_justify="left", box=None, pad_edge=False, show_header=True)
    splits = {"train": folder.train, "test": folder.test_split}
    table.add_column("")
    for name in splits:
        table.add_column(name, justify="right")
    rows = [_split_facts(split) for split in splits.values()]
    for key in rows[0]:
        table.add_row(key, *(row.get(key, "none") for row in rows))
    metadata = folder.train.metadata
    ignored = "every label counts" if metadata.ignore_label_id is None else f"{metadata.ignore_label_id} does not count"
    about = (
        f"{metadata.seq_len} cells of {metadata.vocab_size} tokens; "
        f"pad token {metadata.pad_id}; labels: {ignored}; "
        f"{metadata.num_puzzle_identifiers} puzzle identifier{'s' if metadata.num_puzzle_identifiers > 1 else ''}"
    )
    return Group(table, Text(about))


def _split_facts(split: Split | None) -> dict[str, str]:
    if split is None:
        return {}
    sets = split.sets
    groups, puzzles = sum(s.n_groups for s in sets), sum(s.n_puzzles for s in sets)
    return {
        "sets": ", ".join(split.metadata.sets),
        "groups": f"{groups:,}",
        "puzzles": f"{puzzles:,}",
        "examples": f"{split.n_examples:,}",
        "puzzles a group": f"{puzzles / max(1, groups):,.4g}",
        "examples a puzzle": f"{split.n_examples / max(1, puzzles):,.4g}",
    }


def drawings(split: Split, count: int, identifiers: Sequence[str]) -> Iterator[RenderableType]:
    """`count` examples, evenly spaced over the split: the input on the left, the label on the right."""
    count = min(count, split.n_examples)
    chosen = np.linspace(0, split.n_examples - 1, count).astype(np.int64) if count else np.empty(0, np.int64)
    batch = take_examples(split, chosen)
    metadata = split.metadata
    board = BOARDS.get(math.isqrt(metadata.seq_len))
    is_sudoku = board is not None and (board.cells, board.vocab_size) == (metadata.seq_len, metadata.vocab_size)
    draw = partial(_sudoku_grid, board) if board is not None and is_sudoku else _token_grid
    for example, inputs, labels, identifier in zip(
        chosen, batch.inputs, batch.labels, batch.puzzle_identifiers, strict=True
    ):
        name = f", {identifiers[identifier]}" if len(identifiers) > max(1, identifier) else ""
        title = Text(f"\nexample {example}{name}", style="bold")
        yield Group(title, Columns([draw(inputs, inputs), Padding(draw(labels, inputs), (0, 0, 0, 4))]))


def _sudoku_grid(board: Board, cells: Cells, inputs: Cells) -> Text:
    """A sudoku with its boxes; what the inputs leave blank is coloured."""
    n, text = board.size, Text()
    rule = "+".join("-" * (2 * board.box_width + 1) for _ in range(n // board.box_width))
    for row in range(n):
        if row and row % board.box_height == 0:
            text.append(rule[1:] + "\n", style="bright_black")
        for column in range(n):
            if column and column % board.box_width == 0:
                text.append("| ", style="bright_black")
            token, given = int(cells[row * n + column]), int(inputs[row * n + column]) > 1
            digit = str(token - 1) if 2 <= token <= n + 1 else "." if token == 1 else "?"
            text.append(f"{digit} ", style="bold" if given else "cyan")
        text.append("\n")
    return text


def _token_grid(cells: Cells, _: Cells) -> Text:
    """Tokens as characters, in a square when there is one; `_` is a label that does not count."""
    side = math.isqrt(len(cells))
    width = side if side * side == len(cells) else min(_LINE, len(cells))
    text = Text()
    for at, token in enumerate(int(token) for token in cells):
        if at and at % width == 0:
            text.append("\n")
        if token < 0:
            text.append("_", style="bright_black")
        else:
            character = _CHARACTERS[token] if token < len(_CHARACTERS) else "#"
            text.append(character, style=_COLOURS[token % len(_COLOURS)])
    text.append("\n")
    return text
