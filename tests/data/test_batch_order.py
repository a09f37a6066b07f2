"""The order of batches: the reference loader's, exactly; and what has to hold for any data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_data import CELLS, FIXTURES, made_up_split

from hrm_sweep.data import Batch, PuzzleSet, Split, open_folder, take_examples, test_batches, train_iteration
from hrm_sweep.data import batches as batches_module

PARITY = FIXTURES / "parity" / "dataset"
EXPECTED = json.loads((PARITY / "expected_batches.json").read_text(encoding="utf-8"))


def as_recorded(name: str, batch: Batch) -> dict[str, object]:
    return {
        "set": name,
        "effective": batch.effective,
        "inputs": batch.inputs.tolist(),
        "labels": batch.labels.tolist(),
        "puzzle_identifiers": batch.puzzle_identifiers.tolist(),
    }


@pytest.mark.parametrize("iteration", [1, 2])
def test_training_batches_are_those_of_the_reference_loader(iteration: int) -> None:
    batches = train_iteration(
        open_folder(PARITY).train,
        seed=EXPECTED["seed"],
        iteration=iteration,
        global_batch_size=EXPECTED["global_batch_size"],
        epochs_per_iter=EXPECTED["epochs_per_iter"],
    )
    assert [as_recorded(name, batch) for name, batch in batches] == EXPECTED["train"][iteration - 1]


def test_test_batches_are_those_of_the_reference_loader() -> None:
    batches = test_batches(open_folder(PARITY).test, batch_size=EXPECTED["global_batch_size"])
    assert [as_recorded(name, batch) for name, batch in batches] == EXPECTED["test"]


def puzzles_by_the_letter(
    puzzle_set: PuzzleSet, seed: int, batch_size: int, epochs: int
) -> Iterator[list[tuple[int, int]]]:
    """HRM_SPEC 4 read word by word, one group after another: (puzzle, examples taken of it) for each full batch."""
    rng = np.random.Generator(np.random.Philox(seed))
    order = np.concatenate([rng.permutation(puzzle_set.n_groups) for _ in range(epochs)])
    batch: list[tuple[int, int]] = []
    filled = 0
    for group in order:
        puzzle = int(rng.integers(puzzle_set.group_indices[group], puzzle_set.group_indices[group + 1]))
        size = int(puzzle_set.puzzle_indices[puzzle + 1] - puzzle_set.puzzle_indices[puzzle])
        taken = min(size, batch_size - filled)
        batch.append((puzzle, taken))
        filled += taken
        if filled == batch_size:
            yield batch
            batch, filled = [], 0


def number_of(batch: Batch) -> list[int]:
    """The numbers of a made-up set's examples, which stand in their first cells."""
    return (batch.inputs[:, :3] @ np.array([1, 12, 144])).tolist()


groups = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), max_size=9)


@settings(max_examples=60, deadline=None)
@given(
    sets=st.lists(groups, min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
    iteration=st.integers(1, 3),
    batch_size=st.integers(1, 9),
    epochs=st.integers(1, 3),
    groups_at_once=st.integers(1, 10),
)
def test_training_takes_the_puzzles_that_the_specification_says(
    sets: list[list[list[int]]], seed: int, iteration: int, batch_size: int, epochs: int, groups_at_once: int
) -> None:
    split = made_up_split(*sets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "_GROUPS_AT_ONCE", groups_at_once)
        batches = list(
            train_iteration(split, seed=seed, iteration=iteration, global_batch_size=batch_size, epochs_per_iter=epochs)
        )
    counter, found = (iteration - 1) * len(sets), iter(batches)
    for puzzle_set in split.sets:
        counter += 1
        for expected in puzzles_by_the_letter(puzzle_set, seed + counter, batch_size, epochs):
            name, batch = next(found)
            assert name == puzzle_set.name
            assert batch.effective == batch_size == len(batch.inputs)
            examples = number_of(batch)
            for puzzle, taken in expected:
                mine, examples = examples[:taken], examples[taken:]
                assert len(set(mine)) == taken
                assert set(mine) <= set(range(puzzle_set.puzzle_indices[puzzle], puzzle_set.puzzle_indices[puzzle + 1]))
            identifiers = [puzzle_set.puzzle_identifiers[puzzle] for puzzle, taken in expected for _ in range(taken)]
            assert batch.puzzle_identifiers.tolist() == identifiers
    assert list(found) == []


SEVERAL = made_up_split([[1, 3], [2], [4, 1]], [[3], [2, 2], [1]])


def recorded(split: Split, **arguments: int) -> list[dict[str, object]]:
    chosen = {"seed": 3, "iteration": 1, "global_batch_size": 4, "epochs_per_iter": 5, **arguments}
    return [as_recorded(name, batch) for name, batch in train_iteration(split, **chosen)]


def test_an_iteration_is_a_function_of_its_arguments() -> None:
    np.random.seed(1)
    first = recorded(SEVERAL)
    np.random.seed(2)
    assert recorded(SEVERAL) == first
    assert recorded(SEVERAL, iteration=2) != first
    assert recorded(SEVERAL, seed=4) != first


@pytest.mark.parametrize("skip", [0, 1, 5, 8, 100])
def test_skipped_batches_leave_the_others_as_they_were(skip: int) -> None:
    assert len(recorded(SEVERAL)) > 8
    assert recorded(SEVERAL, skip=skip) == recorded(SEVERAL)[skip:]


def test_each_set_has_a_generator_of_its_own() -> None:
    """The counter goes up with each set: the second of two equal sets repeats what comes an iteration later."""
    one, two = made_up_split([[1]] * 20), made_up_split([[1]] * 20, [[1]] * 20)
    first, second = (
        number_of(batch)
        for _, batch in train_iteration(two, seed=0, iteration=1, global_batch_size=20, epochs_per_iter=1)
    )
    later = [recorded(one, seed=0, iteration=i, global_batch_size=20, epochs_per_iter=1) for i in (1, 2)]
    inputs = [[np.array(row)[:3] @ np.array([1, 12, 144]) for row in batches[0]["inputs"]] for batches in later]  # type: ignore[attr-defined]
    assert [first, second] == inputs


def test_a_batch_larger_than_an_iteration_gives_nothing() -> None:
    assert recorded(made_up_split([[1]] * 10), global_batch_size=51, epochs_per_iter=5) == []


def test_labels_count_all_when_no_label_is_ignored() -> None:
    split = made_up_split([[1]] * 4, ignore_label_id=None)
    (_, batch), *_ = train_iteration(split, seed=0, iteration=1, global_batch_size=4, epochs_per_iter=1)
    assert batch.labels.min() >= 0
    assert sorted(map(tuple, batch.labels)) == sorted(map(tuple, split.sets[0].labels.astype(np.int32)))


def test_the_last_test_batch_of_every_set_is_padded() -> None:
    batches = list(test_batches(SEVERAL, batch_size=7))
    assert [(name, batch.effective) for name, batch in batches] == [
        ("set0", 7),
        ("set0", 4),
        ("set1", 7),
        ("set1", 1),
    ]
    last = batches[-1][1]
    assert last.inputs.shape == (7, CELLS)
    assert (last.inputs[1:] == 0).all()
    assert (last.labels[1:] == -100).all()
    assert (last.puzzle_identifiers[1:] == 0).all()
    for array in (last.inputs, last.labels, last.puzzle_identifiers):
        assert array.dtype == np.int32


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, SEVERAL.n_examples - 1), max_size=30))
def test_examples_are_taken_by_their_number_over_all_sets(indices: list[int]) -> None:
    rows = [
        row
        for _, batch in test_batches(SEVERAL, batch_size=5)
        for row in list(zip(batch.inputs.tolist(), batch.labels.tolist(), batch.puzzle_identifiers, strict=True))[
            : batch.effective
        ]
    ]
    batch = take_examples(SEVERAL, np.array(indices, dtype=np.int64))
    taken = list(zip(batch.inputs.tolist(), batch.labels.tolist(), batch.puzzle_identifiers, strict=True))
    assert taken == [rows[index] for index in indices]
    assert batch.effective == len(indices)


@pytest.mark.parametrize("index", [-1, SEVERAL.n_examples])
def test_an_example_that_does_not_exist_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match="examples are numbered 0 to 18"):
        take_examples(SEVERAL, np.array([index]))


def test_a_mapped_folder_gives_the_batches_of_the_arrays_in_memory(tmp_path: Path) -> None:
    from hrm_sweep.data import write_folder

    write_folder(tmp_path / "folder", train=SEVERAL, test=SEVERAL, identifiers=[])
    assert recorded(open_folder(tmp_path / "folder").train) == recorded(SEVERAL)
