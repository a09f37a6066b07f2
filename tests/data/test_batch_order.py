"""The order of batches: the reference loader's, exactly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm_sweep.data import Batch, open_folder, test_batches, train_iteration

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
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
