"""How many puzzles a model solves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_sweep.config import RunConfig
from hrm_sweep.data import Split, open_folder, take_examples
from hrm_sweep.errors import DataError
from hrm_sweep.evaluation.device import Device, rows_on
from hrm_sweep.evaluation.selection import Subset, subset_indices
from hrm_sweep.model.checkpoint import apply_weights, config_of_checkpoint, load_weights
from hrm_sweep.model.hrm import HRM, DataShape
from hrm_sweep.model.losses import act_loss

EVALUATION_ROWS = 256
"""Puzzles evaluated at once; larger batches gained nothing measurable on CPU (tests/benchmarks/speed.py)."""


@dataclass(frozen=True)
class Accuracy:
    """The result of an evaluation after `act_steps` ACT steps, means over `count` puzzles.

    exact_accuracy: share of puzzles solved; accuracy: mean share of right cells; losses are per puzzle.
    With no puzzle (`count` 0) `values` is empty: a mean over nothing does not exist.
    """

    count: int
    act_steps: int
    values: dict[str, float]

    @property
    def exact_accuracy(self) -> float | None:
        return self.values.get("exact_accuracy")


def evaluate(
    model: HRM, split: Split, indices: NDArray[np.int64], loss_type: str, device: Device, *, steps: int | None = None
) -> Accuracy:
    """Solve the examples `indices` of `split` with `steps` ACT steps (default halt_max_steps), halting off."""
    steps = model.arch.halt_max_steps if steps is None else steps
    return accuracy_of([evaluation_sums(model, split, indices, loss_type, device, steps=steps)], steps)


def evaluation_sums(
    model: HRM,
    split: Split,
    indices: NDArray[np.int64],
    loss_type: str,
    device: Device,
    *,
    steps: int,
    rows_at_once: int | None = None,
) -> dict[str, float]:
    """Sums over the examples `indices`, of which `accuracy_of` makes an evaluation; empty for no examples."""
    size = rows_at_once or EVALUATION_ROWS
    totals: dict[str, float] = {}
    for start in range(0, len(indices), size):
        batch = take_examples(split, indices[start : start + size])
        carry, output = model.solve(rows_on(batch, device), steps)
        with torch.no_grad():
            sums = act_loss(carry, output, loss_type).sums
        _add(totals, {name: float(value) for name, value in sums.items()})
    return totals


def accuracy_of(parts: Iterable[Mapping[str, float]], steps: int) -> Accuracy:
    """The evaluation after `steps` ACT steps whose `evaluation_sums` were taken in `parts`."""
    totals: dict[str, float] = {}
    for part in parts:
        _add(totals, part)
    count = round(totals.pop("count", 0))
    totals.pop("steps", None)
    return Accuracy(count, steps, {name: value / count for name, value in totals.items()} if count else {})


def _add(totals: dict[str, float], sums: Mapping[str, float]) -> None:
    for name, value in sums.items():
        totals[name] = totals.get(name, 0.0) + value


def evaluate_checkpoint(config: RunConfig, checkpoint: Path, subset: Subset) -> Accuracy:
    """Evaluate a checkpoint of a run with configuration `config` on one of the two subsets of its test puzzles.

    Raises CheckpointError or DataError.
    """
    if config.data_path is None:
        raise DataError("data_path is not set: name the folder of puzzles to evaluate on, as in data_path=data/sudoku")
    split = open_folder(Path(config.data_path)).test
    device = Device.choose(config)
    model = load_model(config, checkpoint, split, device)
    indices = subset_indices(subset, split.n_examples, config.eval_puzzles)
    return evaluate(model, split, indices, model.arch.loss.loss_type, device)


def load_model(config: RunConfig, checkpoint: Path, split: Split, device: Device) -> HRM:
    """The model of a checkpoint of a run with configuration `config`, as the stage has it in which it was written.

    Raises CheckpointError when it does not fit the configuration or the data.
    """
    config = config_of_checkpoint(config, checkpoint)
    model = HRM(config.arch, data_shape(split), device.dtype)
    apply_weights(model, load_weights(checkpoint), str(checkpoint))
    return model.to(device.torch_device)


def data_shape(split: Split) -> DataShape:
    """What the data decides of the model."""
    facts = split.metadata
    return DataShape(facts.vocab_size, facts.seq_len, facts.num_puzzle_identifiers)
