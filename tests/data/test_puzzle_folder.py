"""The on-disk format: read, written, and refused with a reason."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_up_data import Damaged, made_up_split

from hrm_sweep.data import Split, open_folder, write_folder
from hrm_sweep.data.folder import FIELDS, read_split
from hrm_sweep.data.sudoku import IDENTIFIERS, sudoku_split
from hrm_sweep.errors import DataError


def same(left: Split, right: Split) -> bool:
    arrays = all(
        np.array_equal(getattr(a, field), getattr(b, field))
        for a, b in zip(left.sets, right.sets, strict=True)
        for field in FIELDS
    )
    return arrays and left.metadata == right.metadata


def test_a_folder_of_the_reference_is_read_as_it_is(sudoku_4x4: Path) -> None:
    folder = open_folder(sudoku_4x4)
    assert (folder.train.n_examples, folder.test.n_examples) == (1000, 200)
    assert folder.identifiers == ("<blank>",)
    metadata = folder.train.metadata
    assert (metadata.vocab_size, metadata.seq_len, metadata.total_groups, metadata.ignore_label_id) == (6, 16, 1000, 0)
    assert metadata.sets == ("all",)


def test_arrays_are_mapped_and_cannot_be_written(sudoku_4x4: Path) -> None:
    inputs = open_folder(sudoku_4x4).train.sets[0].inputs
    assert isinstance(inputs.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        inputs[0, 0] = 1


def test_our_folder_is_byte_for_byte_that_of_the_reference(sudoku_4x4: Path, tmp_path: Path) -> None:
    splits = {}
    for name in ("train", "test"):
        puzzle_set = open_folder(sudoku_4x4).__getattribute__(name).sets[0]
        splits[name] = sudoku_split(4, np.array(puzzle_set.inputs), np.array(puzzle_set.labels), 1)
    write_folder(tmp_path / "ours", train=splits["train"], test=splits["test"], identifiers=IDENTIFIERS)
    theirs = {path.relative_to(sudoku_4x4): path.read_bytes() for path in sudoku_4x4.rglob("*") if path.is_file()}
    ours = {path.relative_to(tmp_path / "ours"): path.read_bytes() for path in (tmp_path / "ours").rglob("*.*")}
    assert ours == theirs


@pytest.mark.parametrize("ignore_label_id", [None, 0])
def test_a_folder_of_several_sets_and_examples_survives_the_disk(tmp_path: Path, ignore_label_id: int | None) -> None:
    train = made_up_split([[1, 3], [2]], [[1]], ignore_label_id=ignore_label_id)
    test = made_up_split([[2], [1]], [[4]], seed=1, ignore_label_id=ignore_label_id)
    write_folder(tmp_path / "folder", train=train, test=test, identifiers=["a", "b"])
    folder = open_folder(tmp_path / "folder")
    assert same(folder.train, train)
    assert same(folder.test, test)
    assert folder.identifiers == ("a", "b")


@pytest.mark.parametrize("test", [None, made_up_split([], seed=1)], ids=["no test split", "an empty one"])
def test_a_folder_without_test_puzzles_can_be_trained_on_but_not_evaluated(tmp_path: Path, test: Split | None) -> None:
    write_folder(tmp_path / "folder", train=made_up_split([[1]]), test=test, identifiers=[])
    folder = open_folder(tmp_path / "folder")
    assert folder.train.n_examples == 1
    with pytest.raises(DataError, match=r"evaluation needs test puzzles"):
        _ = folder.test


def test_a_folder_without_identifiers_has_no_names(tmp_path: Path, damaged: Damaged) -> None:
    (damaged.path / "identifiers.json").unlink()
    assert open_folder(damaged.path).identifiers == ()


def test_labels_that_do_not_count_may_lie_outside_the_vocabulary(tmp_path: Path) -> None:
    split = made_up_split([[1], [1]], ignore_label_id=-100)
    labels = split.sets[0].labels.astype(np.int32)
    labels[0, 0] = -100
    object.__setattr__(split.sets[0], "labels", labels)
    write_folder(tmp_path / "folder", train=split, test=None, identifiers=[])
    assert open_folder(tmp_path / "folder").train.sets[0].labels[0, 0] == -100


def test_indices_of_a_foreign_type_are_read(damaged: Damaged) -> None:
    for field in ("puzzle_indices", "group_indices", "puzzle_identifiers"):
        name = f"train/all__{field}.npy"
        damaged.save(name, damaged.array(name).astype(">u8"))
    assert open_folder(damaged.path).train.sets[0].group_indices.dtype == np.int64


Damage = Callable[[Damaged], object]
TRAIN_INPUTS, TRAIN_LABELS = "train/all__inputs.npy", "train/all__labels.npy"

REFUSED: list[tuple[str, Damage, str]] = [
    (
        "a missing array",
        lambda d: (d.path / TRAIN_LABELS).unlink(),
        r"train/all__labels\.npy: missing",
    ),
    ("a truncated array", lambda d: d.truncate(TRAIN_INPUTS, 5000), r"train/all__inputs\.npy: truncated"),
    ("a truncated header", lambda d: d.truncate(TRAIN_INPUTS, 50), r"train/all__inputs\.npy: truncated"),
    ("an empty file", lambda d: d.truncate(TRAIN_INPUTS, 0), r"train/all__inputs\.npy: truncated"),
    (
        "floats",
        lambda d: d.save(TRAIN_LABELS, d.array(TRAIN_LABELS).astype(np.float32)),
        r"train/all__labels\.npy: expected an array of integers, found float32",
    ),
    (
        "objects",
        lambda d: np.save(d.path / TRAIN_LABELS, np.array([{}], dtype=object), allow_pickle=True),
        r"train/all__labels\.npy: truncated, or not a \.npy file",
    ),
    (
        "flat inputs",
        lambda d: d.save(TRAIN_INPUTS, d.array(TRAIN_INPUTS).ravel()),
        r"train/all__inputs\.npy: expected 2 dimension\(s\), found the shape \(16000,\)",
    ),
    (
        "rows of another length",
        lambda d: d.save(TRAIN_INPUTS, d.array(TRAIN_INPUTS)[:, :15]),
        r"train/all__inputs\.npy: rows of 15 cells, but seq_len is 16",
    ),
    (
        "fewer labels than inputs",
        lambda d: d.save(TRAIN_LABELS, d.array(TRAIN_LABELS)[:-1]),
        r"train/all__labels\.npy: expected the shape of the inputs, \(1000, 16\), found \(999, 16\)",
    ),
    (
        "an input outside the vocabulary",
        lambda d: d.set_cell(TRAIN_INPUTS, (7, 3), 6),
        r"train/all__inputs\.npy: expected values from 0 to 5 \(vocab_size in dataset\.json is 6\), found 6",
    ),
    (
        "a label outside the vocabulary, in the test split",
        lambda d: d.set_cell("test/all__labels.npy", (0, 0), 200),
        r"test/all__labels\.npy: expected values from 0 to 5 .* found 200",
    ),
    (
        "an identifier without a row in the embedding",
        lambda d: d.set_cell("train/all__puzzle_identifiers.npy", 999, 1),
        r"train/all__puzzle_identifiers\.npy: expected values from 0 to 0 .*num_puzzle_identifiers.* found 1",
    ),
    (
        "a puzzle that ends before it starts",
        lambda d: d.set_cell("train/all__puzzle_indices.npy", 500, 600),
        r"train/all__puzzle_indices\.npy: out of order: entry 501 is 501 after 600; expected never falling",
    ),
    (
        "a group without puzzles",
        lambda d: d.set_cell("train/all__group_indices.npy", 10, 9),
        r"train/all__group_indices\.npy: out of order: entry 10 is 9 after 9; expected rising",
    ),
    (
        "puzzles beyond the examples",
        lambda d: d.set_cell("train/all__puzzle_indices.npy", 1000, 1001),
        r"train/all__puzzle_indices\.npy: expected to run from 0 to 1000, the number of examples, found 0 to 1001",
    ),
    (
        "more identifiers than puzzles",
        lambda d: d.save("train/all__puzzle_identifiers.npy", np.zeros(1001, np.int32)),
        r"train/all__puzzle_indices\.npy: expected 1002 entries \(one more than puzzle_identifiers\), found 1001",
    ),
    ("no metadata", lambda d: (d.path / "train/dataset.json").unlink(), r"train/dataset\.json: missing"),
    ("broken metadata", lambda d: d.truncate("train/dataset.json", 40), r"train/dataset\.json: not valid JSON"),
    (
        "metadata that is a list",
        lambda d: (d.path / "train/dataset.json").write_text("[]"),
        r"train/dataset\.json: expected a JSON object, found list",
    ),
    ("a missing key", lambda d: d.drop_key("train", "seq_len"), r"train/dataset\.json: seq_len: missing"),
    (
        "a key of a wrong type",
        lambda d: d.set_key("train", "vocab_size", "6"),
        r"train/dataset\.json: vocab_size: expected a whole number >= 1, found '6'",
    ),
    (
        "true for a number",
        lambda d: d.set_key("train", "pad_id", True),
        r"train/dataset\.json: pad_id: expected a whole number >= 0, found True",
    ),
    (
        "a mean that is no number",
        lambda d: d.set_key("train", "mean_puzzle_examples", float("nan")),
        r"train/dataset\.json: mean_puzzle_examples: expected a number >= 0, found nan",
    ),
    (
        "no sets",
        lambda d: d.set_key("train", "sets", []),
        r"train/dataset\.json: sets: expected a list of at least",
    ),
    (
        "a pad token outside the vocabulary",
        lambda d: d.set_key("train", "pad_id", 6),
        r"train/dataset\.json: pad_id: expected a value from 0 to 5, found 6",
    ),
    (
        "a set without files",
        lambda d: d.set_key("train", "sets", ["all", "more"]),
        r"train/more__inputs\.npy: missing",
    ),
    (
        "a test split of another task",
        lambda d: d.set_key("test", "vocab_size", 7),
        r"test/dataset\.json: vocab_size is 7, but 6 in the train split",
    ),
    (
        "identifiers that are no list",
        lambda d: (d.path / "identifiers.json").write_text('{"a": 1}'),
        r"identifiers\.json: expected a list of names",
    ),
    ("no train split", lambda d: (d.path / "train").rename(d.path / "other"), r"train/dataset\.json: missing"),
]


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_damaged_folder_is_refused_with_file_and_reason(damaged: Damaged, damage: Damage, message: str) -> None:
    damage(damaged)
    with pytest.raises(DataError, match=message) as caught:
        open_folder(damaged.path)
    assert str(caught.value).startswith(str(damaged.path))


def test_an_archive_under_the_name_of_an_array_is_refused(damaged: Damaged) -> None:
    with zipfile.ZipFile(damaged.path / TRAIN_INPUTS, "w") as archive:
        archive.writestr("inputs.npy", b"")
    with pytest.raises(DataError, match=r"expected an array, found an archive"):
        open_folder(damaged.path)


@pytest.mark.parametrize(("make", "found"), [(Path.touch, "a file"), (lambda path: None, "nothing")])
def test_what_is_no_folder_is_refused(tmp_path: Path, make: Callable[[Path], None], found: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(DataError, match=f"expected a puzzle folder, found {found}; build one with"):
        open_folder(tmp_path / "data")


def test_an_empty_train_split_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", train=made_up_split([]), test=None, identifiers=[])
    with pytest.raises(DataError, match=r"train: no example in it"):
        open_folder(tmp_path / "folder")


def test_a_large_split_is_looked_at_in_samples_when_it_is_opened_and_whole_on_request(damaged: Damaged) -> None:
    damaged.set_cell(TRAIN_INPUTS, (1, 0), 99)
    assert read_split(damaged.path / "train", scan_bytes=1600).n_examples == 1000  # every tenth row
    with pytest.raises(DataError, match="found 99"):
        read_split(damaged.path / "train", scan_bytes=None)


def test_a_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    write_folder(path, train=made_up_split([[1]]), test=made_up_split([[1]]), identifiers=["old"])
    write_folder(path, train=made_up_split([[2], [1]]), test=None, identifiers=["new"], notes={"note.txt": "hello"})
    folder = open_folder(path)
    assert (folder.train.n_examples, folder.test_split, folder.identifiers) == (3, None, ("new",))
    assert (path / "note.txt").read_text() == "hello"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"folder: could not be written, the disk is full .* free"),
        (
            OSError(errno.EACCES, "Permission denied"),
            r"folder: could not be written: Permission denied; choose",
        ),
    ],
)
def test_a_folder_that_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    path = tmp_path / "folder"
    write_folder(path, train=made_up_split([[1]]), test=None, identifiers=["old"])
    written = []

    def save(file: Path, _: object) -> None:
        written.append(file)
        file.write_bytes(b"half")
        if len(written) == 3:
            raise error

    monkeypatch.setattr("hrm_sweep.data.folder._save_array", save)
    with pytest.raises(DataError, match=message):
        write_folder(path, train=made_up_split([[2]]), test=None, identifiers=["new"])
    assert open_folder(path).identifiers == ("old",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_write_that_the_system_refuses_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the system refuses in the middle of an array."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from hrm_sweep.config import DataConfig\n"
        "from hrm_sweep.data import build_folder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))\n"
        "build_folder(DataConfig(size=4, subsample_size=1000), Path(sys.argv[1]) / 'built')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"hrm_sweep.errors.DataError: {tmp_path / 'built'}: could not be written: File too large; "
        "choose another place, or make this one writable"
    )
    assert list(tmp_path.iterdir()) == []


def test_metadata_is_written_as_the_reference_writes_it() -> None:
    split = made_up_split([[1, 1], [4]])
    assert json.loads(split.metadata.to_json()) == {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": 12,
        "seq_len": 6,
        "num_puzzle_identifiers": 5,
        "total_groups": 2,
        "mean_puzzle_examples": 2,
        "sets": ["set0"],
    }
