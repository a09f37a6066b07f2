"""CSV files in the layout of Sudoku-Extreme: read fast, and refused by line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_data import FIXTURES

from hrm_sweep.config import DataConfig
from hrm_sweep.data.sources import csv_files
from hrm_sweep.data.sources.csv_files import HEADER, from_csv_files, what_is_wrong
from hrm_sweep.data.sudoku import Puzzles
from hrm_sweep.errors import DataError

MINI = FIXTURES / "sudoku-extreme-mini"
QUESTION, ANSWER = "12.4....2.4..3.1", "1234341221434321"
ROW = f"made up,{QUESTION},{ANSWER},7"


def request_for(train: Path, test: Path = MINI / "test.csv", **choices: object) -> DataConfig:
    return DataConfig.model_validate({"source": "csv", "csv": (str(train), str(test)), **choices})


def read_4x4(path: Path, text: str, **choices: object) -> Puzzles:
    """The puzzles of a 4x4 file with this text."""
    (path / "test.csv").write_text(f"{HEADER}\n{ROW}\n")
    (path / "train.csv").write_bytes(text.encode("latin-1"))
    return from_csv_files(request_for(path / "train.csv", path / "test.csv", size=4, **choices))[0]


def rows_of(name: str) -> list[dict[str, str]]:
    with (MINI / name).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("block_bytes", [1 << 24, 1000, 7])
def test_real_files_are_read_as_pythons_own_csv_reads_them(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", block_bytes)
    for puzzles, name in zip(from_csv_files(request_for(MINI / "train.csv")), ("train.csv", "test.csv"), strict=True):
        rows = rows_of(name)
        questions = [[int(cell) for cell in row["question"].replace(".", "0")] for row in rows]
        assert puzzles.questions.tolist() == questions
        assert puzzles.answers.tolist() == [[int(cell) for cell in row["answer"]] for row in rows]


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{ROW}\n",
        f"{HEADER}\n{ROW}",
        f"{HEADER}\r\n{ROW}\r\n",
        f"\xef\xbb\xbf{HEADER}\n{ROW}\n",
        f"Source, Question, Answer, Rating\n{ROW}\n\n\n",
        f'"source","question","answer","rating"\n"made up","{QUESTION}","{ANSWER}","7"\n',
        f"{HEADER}\n{ROW.replace('.', '0')}\n",
        f"{HEADER}\n\n{ROW}\n",
        f"{HEADER}\n\xff\xfe,{QUESTION},{ANSWER},0\n",
    ],
    ids=[
        "plain",
        "no last newline",
        "windows",
        "byte order mark",
        "header case",
        "quoted",
        "zeros",
        "empty lines",
        "bytes",
    ],
)
def test_every_way_to_write_the_layout_is_read(tmp_path: Path, text: str) -> None:
    puzzles = read_4x4(tmp_path, text)
    assert puzzles.questions.tolist() == [[int(cell) for cell in QUESTION.replace(".", "0")]]
    assert puzzles.answers.tolist() == [[int(cell) for cell in ANSWER]]


REFUSED = [
    ("a field missing", f"x,{QUESTION},{ANSWER}", r"expected 4 fields \(source,question,answer,rating\), found 3"),
    ("a field more", f"x,{QUESTION},{ANSWER},7,8", r"expected 4 fields .*, found 5"),
    ("a comma in the source", f'"a,b",{QUESTION},{ANSWER},7', r"expected 4 fields .*, found 5"),
    ("a short question", f"x,{QUESTION[1:]},{ANSWER},7", r"expected 16 cells in the question for size 4, found 15"),
    ("a long answer", f"x,{QUESTION},{ANSWER}1,7", r"expected 16 cells in the answer for size 4, found 17"),
    (
        "a letter",
        f"x,{QUESTION[:5]}x{QUESTION[6:]},{ANSWER},7",
        r"cell 6 of the question is 'x', expected one of \.01234",
    ),
    ("a large digit", f"x,5{QUESTION[1:]},{ANSWER},7", r"cell 1 of the question is '5', expected one of \.01234"),
    ("a blank answer", f"x,{QUESTION},{ANSWER[:-1]}.,7", r"cell 16 of the answer is '\.', expected one of 1234"),
    (
        "a contradiction",
        f"x,2{QUESTION[1:]},{ANSWER},7",
        r"the answer contradicts the question: cell 1 is given as 2 and answered as 1",
    ),
    (
        "no solution",
        f"x,{'.' * 16},{ANSWER[:-2]}12,7",
        r"the answer is no solved sudoku: a digit stands twice in a row, a column or a box",
    ),
    ("a rating that is no number", f"x,{QUESTION},{ANSWER},hard", r"expected a whole number as rating, found 'hard'"),
    ("a fraction", f"x,{QUESTION},{ANSWER},1.5", r"expected a whole number as rating, found '1\.5'"),
    ("no rating", f"x,{QUESTION},{ANSWER},", r"expected a whole number as rating, found ''"),
    ("a negative rating", f"x,{QUESTION},{ANSWER},-3", r"expected a whole number as rating, found '-3'"),
    ("a rating too long", f"x,{QUESTION},{ANSWER},1234567890", r"expected a whole number as rating"),
]


@pytest.mark.parametrize(("row", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_bad_row_is_refused_with_file_and_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_4x4(tmp_path, f"{HEADER}\n{ROW}\n\n{ROW}\n{row}\n{ROW}\n")
    assert str(caught.value).startswith(f"{tmp_path / 'train.csv'}:5: ")


def test_lines_are_counted_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 100)
    with pytest.raises(DataError, match=r"train\.csv:42: expected 4 fields"):
        read_4x4(tmp_path, f"{HEADER}\n" + f"{ROW}\n" * 40 + "nonsense\n")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_rows_are_refused_exactly_when_the_slow_reader_refuses_them(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    row = list(ROW)
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(0, len(row) - 1))
        row[place : place + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from(["", *'1234509,.x-"\xe9/:']))
    text = "".join(row)
    wrong = what_is_wrong(text.replace('"', ""), 4)
    folder = tmp_path_factory.mktemp("csv")
    if wrong is None:
        assert len(read_4x4(folder, f"{HEADER}\n{text}\n")) == 1
    else:
        with pytest.raises(DataError) as caught:
            read_4x4(folder, f"{HEADER}\n{text}\n")
        assert str(caught.value) == f"{folder / 'train.csv'}:2: {wrong}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train\.csv:1: expected the header source,question,answer,rating, found ''"),
        (f"{ROW}\n", r"train\.csv:1: expected the header source,question,answer,rating, found 'made up,"),
        (
            "question,answer\n",
            r"train\.csv:1: expected the header source,question,answer,rating, found 'question,answer'",
        ),
        (f"{HEADER}\n", r"train\.csv: no puzzle in it"),
    ],
)
def test_a_file_without_header_or_puzzles_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_4x4(tmp_path, text)


@pytest.mark.parametrize("missing", [Path("missing.csv"), Path()])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, missing: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*; expected a CSV file of puzzles"):
        from_csv_files(request_for(tmp_path / missing))


@pytest.mark.parametrize(("low", "high"), [(None, 0), (0, None), (1, None), (20, 100), (2, 2)])
def test_difficulty_keeps_the_rows_from_low_to_high_of_both_files(low: int | None, high: int | None) -> None:
    chosen = from_csv_files(request_for(MINI / "train.csv", min_difficulty=low, max_difficulty=high))
    for puzzles, name in zip(chosen, ("train.csv", "test.csv"), strict=True):
        kept = [
            row["answer"]
            for row in rows_of(name)
            if (low is None or int(row["rating"]) >= low) and (high is None or int(row["rating"]) <= high)
        ]
        assert ["".join(map(str, answer)) for answer in puzzles.answers] == kept


def test_blanks_keep_the_rows_from_low_to_high() -> None:
    train, test = from_csv_files(request_for(MINI / "train.csv", min_blanks=60, max_blanks=63))
    assert 0 < len(train) < 60
    assert 0 < len(test) < 20
    for puzzles in (train, test):
        assert {int(blanks) for blanks in (puzzles.questions == 0).sum(axis=1)} <= set(range(60, 64))


def test_a_subsample_is_drawn_from_train_only_and_from_the_seed() -> None:
    everything = from_csv_files(request_for(MINI / "train.csv"))
    first, again, other = (
        from_csv_files(request_for(MINI / "train.csv", subsample_size=10, seed=seed)) for seed in (1, 1, 2)
    )
    assert (first[0].questions == again[0].questions).all()
    assert (first[0].questions != other[0].questions).any()
    assert (first[1].questions == everything[1].questions).all()
    known = {row.tobytes() for row in everything[0].questions}
    assert len({row.tobytes() for row in first[0].questions} & known) == 10


def test_a_subsample_does_not_depend_on_how_the_file_is_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = from_csv_files(request_for(MINI / "train.csv", subsample_size=10))[0]
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 1000)
    assert (from_csv_files(request_for(MINI / "train.csv", subsample_size=10))[0].questions == whole.questions).all()


def test_every_row_is_as_likely_in_a_subsample(tmp_path: Path) -> None:
    rows = {row["answer"]: 0 for row in rows_of("train.csv")}
    for seed in range(300):
        drawn, _ = from_csv_files(request_for(MINI / "train.csv", subsample_size=6, seed=seed))
        for answer in drawn.answers:
            rows["".join(map(str, answer))] += 1
    counts = np.array(list(rows.values()))  # 30 expected of each, standard deviation 5.2
    assert counts.min() > 8
    assert counts.max() < 56


def test_a_subsample_larger_than_what_is_left_is_refused() -> None:
    with pytest.raises(DataError, match=r"train\.csv: \d+ of its 60 puzzles .* fewer than subsample_size 60; ask"):
        from_csv_files(request_for(MINI / "train.csv", subsample_size=60, min_difficulty=1))


def test_a_range_without_puzzles_is_refused() -> None:
    with pytest.raises(DataError, match=r"train\.csv: none of its 60 puzzles has the blanks and difficulty asked for"):
        from_csv_files(request_for(MINI / "train.csv", min_difficulty=10**8))
