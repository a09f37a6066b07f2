"""A model at work: what it answers after each ACT step, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_sweep.config import RunConfig
from hrm_sweep.data import IGNORED_LABEL, Split, SplitMetadata, take_examples
from hrm_sweep.evaluation.accuracy import EVALUATION_ROWS, load_model
from hrm_sweep.evaluation.device import Device, rows_on
from hrm_sweep.model.hrm import HRM

Cells = NDArray[np.int32]


@dataclass(frozen=True)
class Watched:
    """N puzzles with S cells each, through M ACT steps (halt_max_steps unless asked otherwise). Cells hold tokens.

    examples     (N,) which examples of the split.
    inputs       (N, S)
    labels       (N, S) IGNORED_LABEL where a cell does not count.
    predictions  (N, M, S) after 1, 2, ..., M steps.
    q_halt, q_continue  (N, M) Q values.
    """

    metadata: SplitMetadata
    examples: NDArray[np.int64]
    inputs: Cells
    labels: Cells
    predictions: Cells
    q_halt: NDArray[np.float64]
    q_continue: NDArray[np.float64]

    @property
    def steps(self) -> int:
        return int(self.predictions.shape[1])

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(N, S) whether a cell counts."""
        return np.asarray(self.labels != IGNORED_LABEL, dtype=np.bool_)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(N, M, S) whether a cell counts and is answered wrongly."""
        differs = self.predictions != self.labels[:, None]
        return np.asarray(differs & self.counted[:, None], dtype=np.bool_)

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(N, M, S) whether the answer is another one than a step before; nothing has changed after the first."""
        before = np.concatenate([self.predictions[:, :1], self.predictions[:, :-1]], axis=1)
        return np.asarray(self.predictions != before, dtype=np.bool_)

    @property
    def solved(self) -> NDArray[np.bool_]:
        """(N, M) whether every counted cell is right."""
        return np.asarray(~self.wrong.any(axis=2), dtype=np.bool_)

    @property
    def halts_after(self) -> NDArray[np.int64]:
        """(N,) the first step at which q_halt > q_continue, M where there is none: as `ActBehaviour.halts_after`."""
        stops = self.q_halt > self.q_continue
        stops[:, -1] = True
        return np.asarray(np.argmax(stops, axis=1) + 1, dtype=np.int64)


@torch.no_grad()
def watch(model: HRM, split: Split, indices: NDArray[np.int64], device: Device, *, steps: int | None = None) -> Watched:
    """Watch `model` solve the examples `indices` of `split`, halting off, as evaluation does.

    `steps` is the number of ACT steps, default halt_max_steps; it may be larger than that.
    """
    batch = take_examples(split, indices)
    predictions, halting, going_on = [], [], []
    for start in range(0, len(indices), EVALUATION_ROWS):
        rows = rows_on(batch, device, slice(start, start + EVALUATION_ROWS))
        seen = [(o.logits.argmax(dim=-1).int(), o.q_halt, o.q_continue) for o in model.solve_by_step(rows, steps)]
        answers, q_halt, q_continue = (torch.stack(each, dim=1).cpu() for each in zip(*seen, strict=True))
        predictions.append(answers.numpy())  # (B, M, S)
        halting.append(q_halt.double().numpy())
        going_on.append(q_continue.double().numpy())
    return Watched(
        split.metadata,
        np.asarray(indices, dtype=np.int64),
        batch.inputs,
        batch.labels,
        np.concatenate(predictions),
        np.concatenate(halting),
        np.concatenate(going_on),
    )


def watch_checkpoint(config: RunConfig, checkpoint: Path, split: Split, indices: NDArray[np.int64]) -> Watched:
    """Watch the model of a checkpoint. Raises CheckpointError when it does not fit the configuration or the data."""
    device = Device.choose(config)
    return watch(load_model(config, checkpoint, split, device), split, indices, device)
