"""Findings on folders that somebody else made, of any task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_up_data import FIXTURES, Damaged, made_up_split

from hrm_sweep.data import FolderFinding, Level, check_folder, write_folder
from hrm_sweep.errors import DataError

LABELS, INPUTS = "all__labels.npy", "all__inputs.npy"


def lines(findings: list[FolderFinding]) -> list[str]:
    return [f"{finding.level} {finding.file}: {finding.message}" for finding in findings]


@pytest.mark.parametrize("folder", ["sudoku-4x4", "parity/dataset"])
def test_folders_of_the_reference_have_no_findings(folder: str) -> None:
    assert check_folder(FIXTURES / folder) == []


def test_a_folder_of_several_sets_where_every_label_counts_is_understood(tmp_path: Path) -> None:
    """Like ARC: several sets, several examples a puzzle. Two of its test puzzles have identifiers of their own."""
    train = made_up_split([[1, 3], [2]], [[4], [1]], ignore_label_id=None)
    test = made_up_split([[2, 2]], [[1], [1]], seed=9, ignore_label_id=None)
    for puzzle_set, identifiers in zip((*train.sets, *test.sets), ([0, 1, 1], [0, 2], [0, 3], [2, 4]), strict=True):
        puzzle_set.puzzle_identifiers[:] = identifiers
    write_folder(tmp_path / "folder", train=train, test=test, identifiers=list("abcde"))
    assert lines(check_folder(tmp_path / "folder")) == [
        "warning test: 2 of 4 puzzle identifiers never occur in training; their embedding stays zero"
    ]


def test_everything_that_is_wrong_is_listed_errors_first(damaged: Damaged) -> None:
    damaged.truncate(f"train/{INPUTS}", 5000)
    damaged.set_cell(f"train/{LABELS}", (3, 3), 77)
    damaged.set_cell("test/all__group_indices.npy", 5, 99)
    (damaged.path / "identifiers.json").unlink()
    found = lines(check_folder(damaged.path))
    assert [line.partition(": ")[0] for line in found] == [
        "error train/all__inputs.npy",
        "error train/all__labels.npy",
        "error test/all__group_indices.npy",
    ]
    assert "truncated" in found[0]
    assert "found 77" in found[1]
    assert "out of order" in found[2]


def swap_two_labels(damaged: Damaged) -> None:
    labels = damaged.array(f"train/{LABELS}")
    labels[5, :2] = labels[5, 1::-1]
    damaged.save(f"train/{LABELS}", labels)


def change_a_given(damaged: Damaged) -> None:
    inputs = damaged.array(f"test/{INPUTS}")
    given = int(np.flatnonzero(inputs[7] > 1)[0])
    inputs[7, given] = 2 + (inputs[7, given] - 1) % 4
    damaged.save(f"test/{INPUTS}", inputs)


def blank_a_puzzle(damaged: Damaged) -> None:
    inputs = damaged.array(f"test/{INPUTS}")
    inputs[7] = 1
    damaged.save(f"test/{INPUTS}", inputs)


def train_on_test_puzzles(damaged: Damaged) -> None:
    inputs = damaged.array(f"train/{INPUTS}")
    inputs[:3] = damaged.array(f"test/{INPUTS}")[:3]
    damaged.save(f"train/{INPUTS}", inputs)
    labels = damaged.array(f"train/{LABELS}")
    labels[:3] = damaged.array(f"test/{LABELS}")[:3]
    damaged.save(f"train/{LABELS}", labels)


def empty_puzzle(damaged: Damaged) -> None:
    damaged.set_cell("train/all__puzzle_indices.npy", 10, 11)


def stray_set(damaged: Damaged) -> None:
    damaged.save(f"train/more__{INPUTS.partition('__')[2]}", np.zeros((1, 16), np.uint8))


ONE_FINDING: list[tuple[Callable[[Damaged], object], str]] = [
    (
        lambda d: d.set_key("train", "total_groups", 999),
        "error train/dataset.json: total_groups is 999, but the sets have",
    ),
    (
        lambda d: d.set_key("train", "mean_puzzle_examples", 2),
        "warning train/dataset.json: mean_puzzle_examples is 2, but a puzzle has 1 examples on average",
    ),
    (lambda d: d.set_key("test", "seq_len", 17), "error test/all__inputs.npy: rows of 16 cells, but seq_len is 17"),
    (lambda d: d.set_key("test", "num_puzzle_identifiers", 2), "error test/dataset.json: num_puzzle_identifiers is 2"),
    (lambda d: d.drop_key("test", "pad_id"), "error test/dataset.json: pad_id: missing"),
    (lambda d: (d.path / "identifiers.json").unlink(), "warning identifiers.json: missing"),
    (lambda d: (d.path / "identifiers.json").write_text("[]"), "warning identifiers.json: 0 names, but num_puzzle"),
    (lambda d: (d.path / "identifiers.json").write_text("3"), "error identifiers.json: expected a list of names"),
    (lambda d: (d.path / "test").rename(d.path / "exam"), "warning test: no such folder: training works, evaluation"),
    (lambda d: (d.path / "train").rename(d.path / "lessons"), "error train: no such folder: nothing to train on"),
    (swap_two_labels, "error train/all__labels.npy: 1 examples, the first is number 5: labels are no solved sudoku"),
    (change_a_given, "error test/all__labels.npy: 1 examples, the first is number 7: labels contradict the digits"),
    (blank_a_puzzle, "warning test/all__labels.npy: 1 of 200 puzzles looked at have several solutions"),
    (train_on_test_puzzles, "warning test: 3 of 200 test examples have inputs that stand in the train split too"),
    (empty_puzzle, "warning train/all__puzzle_indices.npy: 1 puzzles have no example"),
    (stray_set, "warning train/more__inputs.npy: never read, for more is not among sets in dataset.json"),
]


@pytest.mark.parametrize(("damage", "expected"), ONE_FINDING, ids=[expected[:50] for _, expected in ONE_FINDING])
def test_each_kind_of_damage_is_one_finding(
    damaged: Damaged, damage: Callable[[Damaged], object], expected: str
) -> None:
    damage(damaged)
    (found,) = lines(check_folder(damaged.path))
    assert found.startswith(expected)


def test_examples_without_a_label_that_counts_are_found(tmp_path: Path) -> None:
    train = made_up_split([[1], [1]], [[3]])
    train.sets[1].labels[1:] = 0
    write_folder(tmp_path / "folder", train=train, test=None, identifiers=list("abcde"))
    assert "warning train/set1__labels.npy: 2 examples have no label that counts; each is as good as solved" in lines(
        check_folder(tmp_path / "folder")
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_an_error_where_training_needs_it(tmp_path: Path, split: str) -> None:
    splits = {name: made_up_split([] if name == split else [[1]] * 5) for name in ("train", "test")}
    write_folder(tmp_path / "folder", train=splits["train"], test=splits["test"], identifiers=list("abcde"))
    found = {finding.file: finding.level for finding in check_folder(tmp_path / "folder")}
    assert found[split] == (Level.ERROR if split == "train" else Level.WARNING)


def test_another_task_of_the_shape_of_sudoku_is_not_held_to_its_rules(tmp_path: Path, damaged: Damaged) -> None:
    rng = np.random.default_rng(0)
    for split, examples in (("train", 1000), ("test", 200)):
        damaged.save(f"{split}/{LABELS}", rng.integers(0, 6, (examples, 16)).astype(np.uint8))
    assert check_folder(damaged.path) == []


def test_values_are_looked_at_to_the_last(damaged: Damaged) -> None:
    damaged.set_cell(f"train/{INPUTS}", (999, 15), 6)
    assert [finding.file for finding in check_folder(damaged.path)] == [f"train/{INPUTS}"]


@pytest.mark.parametrize(("make", "found"), [(Path.touch, "a file"), (lambda path: None, "nothing")])
def test_what_is_no_folder_is_an_error_of_its_own(tmp_path: Path, make: Callable[[Path], None], found: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(DataError, match=f"data: expected a puzzle folder, found {found}"):
        check_folder(tmp_path / "data")
