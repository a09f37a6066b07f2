"""`hrm-sweep data` as a user runs it: real processes, their output, exit codes and files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hrm_sweep.data import check_folder, open_folder

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
MINI = FIXTURES / "sudoku-extreme-mini"


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_the_easier_data_set_of_the_note_is_built_by_its_command(folder: Path) -> None:
    """`python dataset/build_sudoku_dataset.py` becomes `hrm-sweep data sudoku`; fewer puzzles here, to be quick."""
    done = hrm_sweep(
        "data", "sudoku", "--output-dir", "data/sudoku-easy-1k", "--subsample-size", "40", "--num-aug", "100",
        "--min-difficulty", "0", folder=folder,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "data/sudoku-easy-1k: built this data",
        "train  40 puzzles, with their symmetric copies 4,040 rows",
        "test   8 puzzles",
        "next: hrm-sweep train hrm_v1 data_path=data/sudoku-easy-1k",
    ]
    opened = open_folder(folder / "data" / "sudoku-easy-1k")
    assert (opened.train.n_examples, opened.train.metadata.total_groups, opened.test.n_examples) == (4040, 40, 8)
    assert opened.train.metadata.vocab_size == 11
    assert check_folder(folder / "data" / "sudoku-easy-1k") == []


def test_every_choice_of_the_generator_reaches_the_folder(folder: Path) -> None:
    arguments = [
        "data", "sudoku", "--output-dir", "here", "--size", "4", "--subsample-size", "50", "--test-size", "7",
        "--min-blanks", "5", "--max-blanks", "6", "--seed", "3",
    ]  # fmt: skip
    done = hrm_sweep(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    opened = open_folder(folder / "here")
    assert (opened.train.n_examples, opened.test.n_examples) == (50, 7)
    for split in (opened.train, opened.test):
        assert set((split.sets[0].inputs == 1).sum(axis=1)) <= {5, 6}
    again = hrm_sweep(*arguments, folder=folder)
    assert again.stdout.splitlines()[0] == "here: already holds this data"
    refused = hrm_sweep(*arguments[:-1], "4", folder=folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "here: holds other puzzles (seed 3, asked for 4)" in refused.stderr
    other = hrm_sweep(*arguments[:-1], "4", "--replace", folder=folder)
    assert other.stdout.splitlines()[0] == "here: built this data"
    assert (open_folder(folder / "here").train.sets[0].inputs != opened.train.sets[0].inputs).any()


def test_csv_files_become_a_folder(folder: Path) -> None:
    done = hrm_sweep(
        "data", "sudoku", "--output-dir", "built", "--csv", str(MINI / "train.csv"), str(MINI / "test.csv"),
        "--subsample-size", "10", "--num-aug", "2", "--max-difficulty", "100", folder=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:3] == [
        "train  10 puzzles, with their symmetric copies 30 rows",
        "test   13 puzzles",
    ]


def test_puzzles_that_both_files_hold_are_pointed_out(folder: Path) -> None:
    done = hrm_sweep("data", "sudoku", "--output-dir", "built", "--csv", *[str(MINI / "train.csv")] * 2, folder=folder)
    assert done.returncode == 0
    assert "warning: 60 training puzzles stand in the test split too" in done.stdout


REFUSED = [
    (["--size", "5"], "error: --size: input should be 4, 6 or 9; found 5"),
    (["--size", "4", "--min-difficulty", "3"], "error: --size 4 with a difficulty: only 9x9 puzzles are rated"),
    (["--csv", "none.csv", "none.csv"], "none.csv: cannot be read: No such file or directory"),
    (["--csv", "a.csv", "b.csv", "--hub", "a/b"], "--csv and --hub are both given: puzzles come from one source"),
    (
        ["--hub", "a/b", "--test-size", "3"],
        "error: --test-size 3: only the generator makes a test split of a given size",
    ),
    (["--size", "4", "--max-blanks", "14"], "error: --max-blanks: found 14, but a 4x4 sudoku needs 4 givens"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_built_is_refused_in_one_line(folder: Path, arguments: list[str], message: str) -> None:
    done = hrm_sweep("data", "sudoku", "--output-dir", "built", *arguments, folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_a_bad_row_of_a_csv_file_is_refused_by_line(folder: Path) -> None:
    rows = (MINI / "train.csv").read_text().splitlines()
    rows[10] = rows[10].replace(",", ",9", 1)
    (folder / "bad.csv").write_text("\n".join(rows))
    done = hrm_sweep("data", "sudoku", "--output-dir", "built", "--csv", "bad.csv", "bad.csv", folder=folder)
    assert done.returncode == 2
    assert done.stderr == "error: bad.csv:11: expected 81 cells in the question for size 9, found 82\n"
    assert not (folder / "built").exists()


def test_a_folder_of_somebody_else_is_not_overwritten(folder: Path) -> None:
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter1.tex").write_text("once")
    done = hrm_sweep("data", "sudoku", "--output-dir", "thesis", "--size", "4", folder=folder)
    assert done.returncode == 2
    assert "thesis: holds something that was not built by `hrm-sweep data`; name another folder" in done.stderr
    assert [path.name for path in (folder / "thesis").iterdir()] == ["chapter1.tex"]


def test_show_draws_facts_and_puzzles_of_a_sudoku(folder: Path, sudoku_4x4: Path) -> None:
    shutil.copytree(sudoku_4x4, folder / "data")
    done = hrm_sweep("data", "show", "data", "--puzzles", "1", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        "data",
        "                   train  test",
        "sets                 all   all",
        "groups             1,000   200",
        "puzzles            1,000   200",
        "examples           1,000   200",
        "puzzles a group        1     1",
        "examples a puzzle      1     1",
        "16 cells of 6 tokens; pad token 0; labels: 0 does not count; 1 puzzle identifier",
        "",
        "example 0",
        ". . | 2 4      3 1 | 2 4",
        ". 4 | . 1      2 4 | 3 1",
        "----+-----     ----+-----",
        ". 2 | . 3      1 2 | 4 3",
        "4 3 | . 2      4 3 | 1 2",
        "",
    ]


def test_show_draws_puzzles_of_any_task(folder: Path) -> None:
    """A 3x3 maze of three tokens with one set and two examples of one puzzle, and no test split."""
    train = folder / "maze" / "train"
    train.mkdir(parents=True)
    (train / "dataset.json").write_text(
        '{"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": 4, "seq_len": 9,'
        '"num_puzzle_identifiers": 2, "total_groups": 1, "mean_puzzle_examples": 2.0, "sets": ["mazes"]}'
    )
    (folder / "maze" / "identifiers.json").write_text('["<blank>", "the maze"]')
    for field, array in {
        "inputs": [[1, 2, 1, 1, 2, 1, 1, 1, 1], [2, 2, 2, 1, 1, 1, 2, 1, 2]],
        "labels": [[3, 2, 1, 3, 2, 1, 3, 3, 3], [2, 2, 2, 3, 3, 0, 2, 1, 2]],
        "puzzle_identifiers": [1],
        "puzzle_indices": [0, 2],
        "group_indices": [0, 1],
    }.items():
        np.save(train / f"mazes__{field}.npy", np.array(array, np.int32))
    done = hrm_sweep("data", "show", "maze", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[1].split() == ["train", "test"]
    assert lines[2].split() == ["sets", "mazes", "none"]
    assert lines[9:] == [
        "",
        "example 0, the maze",
        "121     321",
        "121     321",
        "111     333",
        "",
        "",
        "example 1, the maze",
        "222     222",
        "111     33_",
        "212     212",
        "",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "exam"], "--split exam: expected train or test"),
        (["--split", "test"], "evaluation needs test puzzles"),
    ],
)
def test_show_refuses_a_split_that_is_not_there(
    folder: Path, sudoku_4x4: Path, arguments: list[str], message: str
) -> None:
    shutil.copytree(sudoku_4x4 / "train", folder / "data" / "train")
    done = hrm_sweep("data", "show", "data", *arguments, folder=folder)
    assert done.returncode == 2
    assert message in done.stderr


def test_check_finds_nothing_wrong_with_a_good_folder(folder: Path, sudoku_4x4: Path) -> None:
    done = hrm_sweep("data", "check", str(sudoku_4x4), folder=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{sudoku_4x4}: nothing wrong\n", "")


def test_check_lists_what_is_wrong_and_tells_errors_from_warnings_by_its_exit_code(
    folder: Path, sudoku_4x4: Path
) -> None:
    shutil.copytree(sudoku_4x4, folder / "data")
    (folder / "data" / "identifiers.json").unlink()
    done = hrm_sweep("data", "check", "data", folder=folder)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "warning identifiers.json: missing; puzzles are then known by number only",
        "data: 0 errors, 1 warnings",
    ]
    labels = np.load(folder / "data" / "train" / "all__labels.npy")
    labels[3, 3] = 77
    np.save(folder / "data" / "train" / "all__labels.npy", labels)
    done = hrm_sweep("data", "check", "data", folder=folder)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == (
        "error   train/all__labels.npy: expected values from 0 to 5 (vocab_size in dataset.json is 6), found 77; "
        "correct the file or vocab_size"
    )
    assert done.stdout.splitlines()[-1] == "data: 1 errors, 0 warnings"


def test_check_of_what_is_no_folder_is_bad_input(folder: Path) -> None:
    done = hrm_sweep("data", "check", "nowhere", folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nowhere: expected a puzzle folder, found nothing\n"


def test_help_of_the_data_verbs_needs_no_numpy() -> None:
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from hrm_sweep.cli.data import data_app\n"
        "for verb in ([], ['sudoku'], ['show'], ['check']):\n"
        "    done = CliRunner().invoke(data_app, [*verb, '--help'])\n"
        "    assert done.exit_code == 0 and 'Usage' in done.output, done.output\n"
        "print(sorted({'numpy', 'pandas', 'torch', 'huggingface_hub'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
