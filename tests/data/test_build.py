"""Folders built from a request: what is in them, once, whole, and whoever asks at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from made_up_data import FIXTURES

from hrm_sweep.config import DataConfig
from hrm_sweep.data import build, build_folder, check_folder, data_folder_for, ensure_data, open_folder
from hrm_sweep.data.request import resolved
from hrm_sweep.data.solver import rate
from hrm_sweep.data.sudoku import BOARDS, agree, are_solutions
from hrm_sweep.errors import ConfigError, DataError

MINI = FIXTURES / "sudoku-extreme-mini"
SMALL = DataConfig(size=4, subsample_size=30, test_size=10)


def from_csv(**choices: object) -> DataConfig:
    return DataConfig.model_validate(
        {"source": "csv", "csv": (str(MINI / "train.csv"), str(MINI / "test.csv")), **choices}
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_of_a_request_holds_groups_of_originals_and_copies(tmp_path: Path) -> None:
    built = build_folder(from_csv(num_aug=4), tmp_path / "built")
    assert (built.train_puzzles, built.train_rows, built.test_puzzles, built.reused) == (60, 300, 20, False)
    folder = open_folder(tmp_path / "built")
    train, test = folder.train.sets[0], folder.test.sets[0]
    assert train.group_indices.tolist() == list(range(0, 301, 5))
    assert train.puzzle_indices.tolist() == list(range(301))
    assert test.group_indices.tolist() == test.puzzle_indices.tolist() == list(range(21))
    assert folder.train.metadata.total_groups == 60
    assert folder.train.metadata.mean_puzzle_examples == 1
    for puzzle_set in (train, test):
        assert are_solutions(BOARDS[9], puzzle_set.labels - np.uint8(1)).all()
        assert agree(puzzle_set.inputs - np.uint8(1), puzzle_set.labels - np.uint8(1)).all()
    plain = build_folder(from_csv(), tmp_path / "plain").path
    assert (open_folder(plain).train.sets[0].inputs == train.inputs[::5]).all()
    assert (open_folder(plain).test.sets[0].inputs == test.inputs).all()
    assert check_folder(tmp_path / "built") == []


def test_the_same_request_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    request = from_csv(num_aug=2, subsample_size=20)
    first, again = (files_of(build_folder(request, tmp_path / name).path) for name in ("first", "again"))
    other = files_of(build_folder(request.model_copy(update={"seed": 1}), tmp_path / "other").path)
    assert first == again
    assert first["train/all__inputs.npy"] != other["train/all__inputs.npy"]
    assert first["test/all__inputs.npy"] == other["test/all__inputs.npy"]


def test_the_test_split_of_the_generator_stays_when_more_training_puzzles_are_asked_for(tmp_path: Path) -> None:
    for size in (30, 60):
        build_folder(SMALL.model_copy(update={"subsample_size": size}), tmp_path / str(size))
    small, large = (open_folder(tmp_path / str(size)) for size in (30, 60))
    assert (small.test.sets[0].inputs == large.test.sets[0].inputs).all()
    assert (small.train.sets[0].inputs == large.train.sets[0].inputs[:30]).all()


@pytest.mark.parametrize("seed", range(3))
def test_no_copy_of_a_training_puzzle_is_a_test_puzzle(tmp_path: Path, seed: int) -> None:
    """4x4 with one or two blanks: most of the few thousand puzzles are symmetric to one of the test split."""
    request = DataConfig(size=4, subsample_size=40, test_size=3000, min_blanks=1, max_blanks=2, num_aug=100, seed=seed)
    folder = open_folder(build_folder(request, tmp_path / "built").path)
    train, test = ({row.tobytes() for row in split.sets[0].inputs} for split in (folder.train, folder.test))
    assert len(test) == 3000
    assert not train & test
    assert (are_solutions(BOARDS[4], folder.train.sets[0].labels - np.uint8(1))).all()


def test_a_copy_that_cannot_be_kept_out_of_the_test_split_becomes_its_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_REDRAWS", 0)
    request = DataConfig(size=4, subsample_size=40, test_size=3000, min_blanks=1, max_blanks=2, num_aug=20)
    folder = open_folder(build_folder(request, tmp_path / "built").path)
    inputs = folder.train.sets[0].inputs
    assert not {row.tobytes() for row in inputs} & {row.tobytes() for row in folder.test.sets[0].inputs}
    assert (inputs.reshape(40, 21, 16)[:, 1:] == inputs.reshape(40, 21, 16)[:, :1]).all(axis=2).any()


def test_puzzles_that_two_files_share_are_counted(tmp_path: Path) -> None:
    request = DataConfig(source="csv", csv=(str(MINI / "train.csv"), str(MINI / "train.csv")))
    assert build_folder(request, tmp_path / "built").shared_puzzles == 60
    assert build_folder(from_csv(), tmp_path / "other").shared_puzzles == 0


def test_a_difficulty_is_met_by_generated_puzzles(tmp_path: Path) -> None:
    request = DataConfig(size=9, subsample_size=5, test_size=2, min_difficulty=2, max_difficulty=30)
    folder = open_folder(build_folder(request, tmp_path / "built").path)
    for split in (folder.train, folder.test):
        ratings = rate(9, split.sets[0].inputs - np.uint8(1))
        assert ratings.min() >= 2
        assert ratings.max() <= 30


def test_identical_work_is_not_done_twice(tmp_path: Path) -> None:
    first = build_folder(SMALL, tmp_path / "built")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "built").rglob("*")}
    again = build_folder(SMALL, tmp_path / "built")
    assert again == type(first)(**{**vars(first), "reused": True})
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "built").rglob("*")} == stamps


def test_puzzles_that_runs_may_need_are_replaced_only_when_that_is_asked_for(tmp_path: Path) -> None:
    build_folder(SMALL, tmp_path / "built")
    before = files_of(tmp_path / "built")
    other = SMALL.model_copy(update={"subsample_size": 31})
    with pytest.raises(DataError, match=r"built: holds other puzzles \(subsample_size 30, asked for 31\), .*--replace"):
        build_folder(other, tmp_path / "built")
    assert files_of(tmp_path / "built") == before
    built = build_folder(other, tmp_path / "built", replace=True)
    assert (built.train_puzzles, built.reused) == (31, False)
    assert open_folder(tmp_path / "built").train.n_examples == 31


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    assert not build_folder(SMALL, tmp_path / "built").reused


@pytest.mark.parametrize("name", ["thesis.tex", "train", "build.json"])
def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("{")
    with pytest.raises(DataError, match="holds something that was not built by `hrm-sweep data`; name another folder"):
        build_folder(SMALL, tmp_path / "mine")
    assert files_of(tmp_path / "mine") == {name: b"{"}


def test_a_file_in_the_way_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("thesis")
    with pytest.raises(DataError, match="not built by"):
        build_folder(SMALL, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "thesis"


def test_a_damaged_folder_of_ours_is_built_again(tmp_path: Path) -> None:
    whole = files_of(build_folder(SMALL, tmp_path / "built").path)
    (tmp_path / "built" / "train" / "all__labels.npy").unlink()
    assert not build_folder(SMALL, tmp_path / "built").reused
    assert files_of(tmp_path / "built") == whole


def test_a_request_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        build_folder(from_csv(min_difficulty=10**8), tmp_path / "built")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/built: could not be written: .*choose another place"):
        build_folder(SMALL, tmp_path / "file" / "built")
    with pytest.raises(DataError, match=r"file: cannot be written: .*make it writable"):
        ensure_data(SMALL, tmp_path / "file")


def test_data_is_built_on_first_use_and_kept(tmp_path: Path) -> None:
    assert not data_folder_for(SMALL, tmp_path).exists()
    folder = ensure_data(SMALL, tmp_path)
    assert folder == data_folder_for(SMALL, tmp_path)
    assert folder.name.startswith("sudoku-4x4-")
    before = files_of(tmp_path)
    assert ensure_data(SMALL, tmp_path) == folder
    assert files_of(tmp_path) == before
    assert open_folder(folder).train.n_examples == 30


def test_a_damaged_folder_of_the_cache_is_built_again(tmp_path: Path) -> None:
    folder = ensure_data(SMALL, tmp_path)
    before = files_of(folder)
    (folder / "train" / "dataset.json").unlink()
    assert files_of(ensure_data(SMALL, tmp_path)) == before


def test_requests_that_mean_the_same_share_a_folder(tmp_path: Path) -> None:
    spelled_out = resolved(SMALL)
    assert spelled_out != SMALL
    assert data_folder_for(spelled_out, tmp_path) == data_folder_for(SMALL, tmp_path)
    changes: list[dict[str, int]] = [
        {"seed": 1},
        {"subsample_size": 31},
        {"max_blanks": 7},
        {"num_aug": 1},
        {"size": 6},
    ]
    folders = {data_folder_for(SMALL.model_copy(update=change), tmp_path) for change in changes}
    assert len(folders | {data_folder_for(SMALL, tmp_path)}) == 6


def test_a_changed_csv_file_has_another_folder(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_bytes((MINI / name).read_bytes())
    request = DataConfig(source="csv", csv=(str(tmp_path / "train.csv"), str(tmp_path / "test.csv")))
    before = data_folder_for(request, tmp_path)
    lines = (MINI / "train.csv").read_text().splitlines(keepends=True)
    (tmp_path / "train.csv").write_text("".join(lines[:-1]))
    assert data_folder_for(request, tmp_path) != before


def test_processes_that_ask_at_the_same_time_get_one_whole_folder(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hrm_sweep.config import DataConfig\n"
        "from hrm_sweep.data import build, ensure_data, open_folder\n"
        "real = build.write_folder\n"
        "def counted(path, **rest):\n"
        "    with open(sys.argv[1] + '/builds', 'a') as file: file.write('x')\n"
        "    real(path, **rest)\n"
        "build.write_folder = counted\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "folder = ensure_data(DataConfig(size=4, subsample_size=200), Path(sys.argv[1]))\n"
        "print(folder.name, open_folder(folder).train.n_examples)\n"
    )
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in asking:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = []
    for process in asking:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in asking:
        answers.append(process.communicate()[0])
        assert process.returncode == 0
    assert len(set(answers)) == 1
    assert answers[0].endswith(" 200\n")
    assert (tmp_path / "builds").read_text() == "x"


def test_a_build_leaves_no_lock_also_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        ensure_data(from_csv(min_difficulty=10**8), tmp_path)
    assert list(tmp_path.iterdir()) == []
    folder = ensure_data(SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == [folder]


def test_who_waited_for_a_lock_that_was_removed_waits_for_the_next_one(tmp_path: Path) -> None:
    import fcntl

    folder = data_folder_for(SMALL, tmp_path)
    lock = tmp_path / f".{folder.name}.lock"
    with lock.open("a") as first:
        fcntl.flock(first.fileno(), fcntl.LOCK_EX)
        waiting = threading.Thread(target=ensure_data, args=(SMALL, tmp_path))
        waiting.start()
        time.sleep(0.5)
        lock.unlink()  # as its holder does at its end; another process begins before this one is told
        with lock.open("a") as second:
            fcntl.flock(second.fileno(), fcntl.LOCK_EX)
            fcntl.flock(first.fileno(), fcntl.LOCK_UN)
            waiting.join(0.5)
            assert waiting.is_alive()
            assert not folder.exists()
    waiting.join(60)
    assert folder.exists()
    assert not lock.exists()


def test_a_build_that_is_killed_leaves_no_folder_and_is_made_good(tmp_path: Path) -> None:
    """The process is killed between two of its files; the next build also removes what it left."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from hrm_sweep.config import DataConfig\n"
        "from hrm_sweep.data import ensure_data, folder\n"
        "real = folder._save_array\n"
        "def save(path, array):\n"
        "    if 'labels' in path.name:\n"
        "        print('writing', flush=True)\n"
        "        sys.stdin.readline()\n"
        "    real(path, array)\n"
        "folder._save_array = save\n"
        "ensure_data(DataConfig(size=4, subsample_size=30, test_size=10), Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.kill()
    process.communicate()
    folder = data_folder_for(SMALL, tmp_path)
    assert not folder.exists()
    assert ensure_data(SMALL, tmp_path) == folder
    assert open_folder(folder).train.n_examples == 30
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name]


REFUSED = [
    ({"size": 4, "min_difficulty": 0}, r"size 4 with a difficulty: only 9x9 puzzles are rated"),
    ({"size": 6, "max_difficulty": 9}, r"size 6 with a difficulty"),
    ({"min_blanks": 10, "max_blanks": 9}, r"min_blanks 10 is larger than max_blanks 9"),
    ({"min_difficulty": 10, "max_difficulty": 9}, r"min_difficulty 10 is larger than max_difficulty 9"),
    ({"size": 4, "max_blanks": 13}, r"data.max_blanks: found 13, but a 4x4 sudoku needs 4 givens .* at most 12 blanks"),
    (
        {"size": 9, "min_blanks": 65},
        r"data.min_blanks: found 65, but a 9x9 sudoku needs 17 givens .* at most 64 blanks",
    ),
    ({"csv": ("a", "b")}, r"csv is given, but source is generator; set source to csv"),
    ({"hub": "a/b"}, r"hub is given, but source is generator; set source to hub"),
    ({"source": "csv"}, r"source is csv, but csv names no files"),
    ({"source": "hub"}, r"source is hub, but hub names no data set"),
    ({"source": "hub", "hub": "a/b", "test_size": 5}, r"test_size 5: only the generator makes a test split of a given"),
]


@pytest.mark.parametrize(("choices", "message"), REFUSED)
def test_a_request_that_contradicts_itself_is_refused(choices: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        data_folder_for(DataConfig.model_validate(choices))


def test_a_missing_csv_file_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    request = DataConfig(source="csv", csv=(str(tmp_path / "none.csv"), str(MINI / "test.csv")))
    with pytest.raises(DataError, match=r"none\.csv: cannot be read: .*; expected a CSV file of puzzles"):
        data_folder_for(request, tmp_path)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"size": 4}, (4, 8, 1000, 200)),
        ({"size": 4, "max_blanks": 2}, (2, 2, 1000, 200)),
        ({"size": 4, "min_blanks": 10}, (10, 10, 1000, 200)),
        ({"size": 6, "subsample_size": 3}, (10, 20, 3, 1)),
        ({"size": 9}, (40, 56, 1000, 200)),
        ({"size": 9, "min_difficulty": 0}, (40, 56, 1000, 200)),
        ({"size": 9, "min_difficulty": 1}, (52, 64, 1000, 200)),
        ({"size": 9, "min_difficulty": 1, "max_blanks": 50}, (50, 50, 1000, 200)),
        ({"size": 4, "min_blanks": 0, "max_blanks": 0}, (0, 0, 1000, 200)),
        ({"size": 4, "max_blanks": 0}, (0, 0, 1000, 200)),
    ],
)
def test_what_is_not_asked_for_is_filled_in(choices: dict[str, int], expected: tuple[int, int, int, int]) -> None:
    request = resolved(DataConfig.model_validate(choices))
    assert (request.min_blanks, request.max_blanks, request.subsample_size, request.test_size) == expected


def test_build_json_says_what_a_folder_was_built_from(tmp_path: Path) -> None:
    folder = build_folder(SMALL, tmp_path / "built").path
    record = json.loads((folder / "build.json").read_text())
    assert record["fingerprint"]["request"]["subsample_size"] == 30
    assert record["built"] == {"train_puzzles": 30, "train_rows": 30, "test_puzzles": 10, "shared_puzzles": 0}
