"""Puzzles from CSV files in the layout of Sudoku-Extreme: `source,question,answer,rating`, blank cells `.` or `0`.

Read in blocks, each with a fixed number of numpy calls, so that the published file of 3.8 million rows takes seconds
per million and, when a subsample is drawn, no more memory than a block and that subsample. Every row is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hrm_sweep.config import DataConfig
from hrm_sweep.data.folder import IntArray
from hrm_sweep.data.generator import Progress
from hrm_sweep.data.sudoku import BOARDS, Puzzles, agree, are_solutions, concatenated
from hrm_sweep.errors import DataError

HEADER = "source,question,answer,rating"

_BLOCK_BYTES = 1 << 24
_COMMA, _NEWLINE, _RETURN, _QUOTE, _DOT, _ZERO = (ord(character) for character in ',\n\r".0')
# More digits than this overflow the sum below; no solver tries that many values.
_RATING_DIGITS = 9
_DIGITS = "123456789"

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Rows:
    """Rows of a block."""

    puzzles: Puzzles
    ratings: npt.NDArray[np.int64]


def from_csv_files(request: DataConfig, progress: Progress | None = None) -> tuple[Puzzles, Puzzles]:
    """Train and test puzzles of the two files that a resolved request names. Raises DataError with file and line."""
    assert request.csv is not None
    train, test = (Path(name) for name in request.csv)
    return puzzles_of_files(request, train, test)


def puzzles_of_files(request: DataConfig, train: Path, test: Path) -> tuple[Puzzles, Puzzles]:
    """Train and test puzzles of two files. Both are filtered by blanks and difficulty; only train is subsampled."""
    return _read(request, train, request.subsample_size), _read(request, test, None)


def _read(request: DataConfig, path: Path, subsample_size: int | None) -> Puzzles:
    rng = np.random.default_rng(request.seed)
    kept: list[Puzzles] = []
    kept_keys = np.empty(0)
    rows_in_file = 0
    for rows in _blocks(path, request.size):
        rows_in_file += len(rows.puzzles)
        chosen = rows.puzzles.take(_wanted(request, rows))
        kept.append(chosen)
        if subsample_size is None:
            continue
        # Every row gets a random number, and the rows with the smallest are kept: a subsample in one pass.
        kept_keys = np.concatenate([kept_keys, rng.random(len(chosen))])
        if len(kept_keys) > subsample_size:
            smallest = np.argsort(kept_keys)[:subsample_size]
            kept = [concatenated(kept, request.size).take(smallest)]
            kept_keys = kept_keys[smallest]
    puzzles = concatenated(kept, request.size)
    if rows_in_file == 0:
        raise DataError(f"{path}: no puzzle in it; expected rows of {HEADER} below the header")
    if len(puzzles) == 0:
        raise DataError(
            f"{path}: none of its {rows_in_file} puzzles has the blanks and difficulty asked for; widen the range"
        )
    if subsample_size is not None and len(puzzles) < subsample_size:
        raise DataError(
            f"{path}: {len(puzzles)} of its {rows_in_file} puzzles have the blanks and difficulty asked for, fewer "
            f"than subsample_size {subsample_size}; ask for at most {len(puzzles)}, or leave it out to take all"
        )
    return puzzles


def _wanted(request: DataConfig, rows: _Rows) -> npt.NDArray[np.bool_]:
    wanted = np.ones(len(rows.ratings), bool)
    if request.min_difficulty is not None:
        wanted &= rows.ratings >= request.min_difficulty
    if request.max_difficulty is not None:
        wanted &= rows.ratings <= request.max_difficulty
    if request.min_blanks is not None or request.max_blanks is not None:
        blanks = (rows.puzzles.questions == 0).sum(axis=1)
        wanted &= blanks >= (request.min_blanks or 0)
        if request.max_blanks is not None:
            wanted &= blanks <= request.max_blanks
    return wanted


def _blocks(path: Path, size: int) -> Iterator[_Rows]:
    """The rows of a file, block by block. Raises DataError."""
    try:
        with path.open("rb") as file:
            header = file.readline().decode("utf-8-sig", errors="replace").strip().replace('"', "")
            if header.replace(" ", "").lower() != HEADER:
                raise DataError(f"{path}:1: expected the header {HEADER}, found {header[:80]!r}")
            line, rest = 2, b""
            while True:
                data = file.read(_BLOCK_BYTES)
                text = rest + data
                if data:
                    end = text.rfind(b"\n") + 1
                    text, rest = text[:end], text[end:]
                elif text and not text.endswith(b"\n"):
                    text += b"\n"
                if text:
                    block = np.frombuffer(text, np.uint8)
                    yield _parse(path, size, block, line)
                    line += int((block == _NEWLINE).sum())
                if not data:
                    return
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; expected a CSV file of puzzles") from None


def _parse(path: Path, size: int, block: Bytes, first_line: int) -> _Rows:
    """All rows of a block of whole lines. Rows are checked together; one that fails is then explained by itself."""
    cells = size * size
    starts, ends, lines, block = _lines(block, first_line)

    def require(good: npt.NDArray[np.bool_]) -> None:
        if not good.all():
            row = int(good.argmin())
            text = block[starts[row] : ends[row]].tobytes().decode("latin-1")
            raise DataError(f"{path}:{lines[row]}: {what_is_wrong(text, size)}")

    commas = np.flatnonzero(block == _COMMA)
    require(np.diff(np.searchsorted(commas, np.append(starts, len(block)))) == 3)
    after_source, after_question, after_answer = commas.reshape(-1, 3).T
    rating_lengths = ends - after_answer - 1
    require(
        (after_question - after_source == cells + 1)
        & (after_answer - after_question == cells + 1)
        & (rating_lengths >= 1)
        & (rating_lengths <= _RATING_DIGITS)
    )
    questions = block[(after_source + 1)[:, None] + np.arange(cells)]
    questions[questions == _DOT] = _ZERO
    questions -= np.uint8(_ZERO)  # what lies below "0" becomes large
    answers = block[(after_question + 1)[:, None] + np.arange(cells)] - np.uint8(_ZERO)
    ratings = np.zeros(len(starts), np.int64)
    good = (questions <= size).all(axis=1) & are_solutions(BOARDS[size], answers) & agree(questions, answers)
    for place in range(int(rating_lengths.max(initial=0))):
        digit = np.where(rating_lengths > place, block[ends - 1 - place].astype(np.int64) - _ZERO, 0)
        good &= (digit >= 0) & (digit <= 9)
        ratings += digit * 10**place
    require(good)
    return _Rows(Puzzles(size, questions, answers), ratings)


def _lines(block: Bytes, first_line: int) -> tuple[IntArray, IntArray, IntArray, Bytes]:
    """Start, end and number of every line that is not empty, and the block they refer to, without quotes."""
    block = block[block != _QUOTE]
    ends = np.flatnonzero(block == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lines = np.arange(first_line, first_line + len(ends))
    ends = ends - ((ends > starts) & (block[ends - 1] == _RETURN))
    filled = ends > starts
    return starts[filled], ends[filled], lines[filled], block


def what_is_wrong(line: str, size: int) -> str | None:
    """Why a line (without quotes and line end) is no puzzle; None when it is one. The slow twin of `_parse`."""
    cells, fields = size * size, line.split(",")
    if len(fields) != 4:
        return f"expected 4 fields ({HEADER}), found {len(fields)}"
    _, question, answer, rating = fields
    for name, text, valid in (("question", question, ".0" + _DIGITS[:size]), ("answer", answer, _DIGITS[:size])):
        length = len(text)
        if length != cells:
            return f"expected {cells} cells in the {name} for size {size}, found {length}"
        for place, character in enumerate(text):
            if character not in valid:
                return f"cell {place + 1} of the {name} is {character!r}, expected one of {valid}"
    if not (1 <= len(rating) <= _RATING_DIGITS and rating.isascii() and rating.isdigit()):
        return f"expected a whole number as rating, found {rating!r}"
    for place, (given, digit) in enumerate(zip(question, answer, strict=True)):
        if given not in ".0" and given != digit:
            return f"the answer contradicts the question: cell {place + 1} is given as {given} and answered as {digit}"
    if not are_solutions(BOARDS[size], np.array([[int(digit) for digit in answer]], np.uint8))[0]:
        return "the answer is no solved sudoku: a digit stands twice in a row, a column or a box"
    return None
