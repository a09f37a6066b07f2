"""The best checkpoint of a run on the puzzles that no choice was made by, puzzle by puzzle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hrm_sweep.config import RunConfig
from hrm_sweep.data import open_folder, take_examples
from hrm_sweep.data.digest import split_digest
from hrm_sweep.data.resolve import data_folder
from hrm_sweep.errors import DataError
from hrm_sweep.evaluation.accuracy import EVALUATION_ROWS, accuracy_of, load_model
from hrm_sweep.evaluation.device import Device, rows_on
from hrm_sweep.evaluation.selection import subset_indices
from hrm_sweep.model.losses import IGNORED, act_loss
from hrm_sweep.runs.unseen import Unseen


def evaluate_unseen(config: RunConfig, checkpoint: Path, digest: str | None = None) -> Unseen:
    """Solve the unseen puzzles of a run's data with a checkpoint of it.

    digest  that the test split has to have; None for any.

    Raises CheckpointError, and DataError when the puzzles are others, or when none is unseen.
    """
    folder = data_folder(config)
    split = open_folder(folder).test
    found = split_digest(split)
    if digest is not None and found != digest:
        raise DataError(
            f"{folder / 'test'}: holds other puzzles than when the confirmation began (digest {found}, then {digest}); "
            "put the old ones back, or begin another confirmation"
        )
    indices = subset_indices("holdout", split.n_examples, config.eval_puzzles)
    device = Device.choose(config)
    model = load_model(config, checkpoint, split, device)
    sums, counted, solved = [], [], []
    for start in range(0, len(indices), EVALUATION_ROWS):
        rows = rows_on(take_examples(split, indices[start : start + EVALUATION_ROWS]), device)
        carry, output = model.solve(rows)
        with torch.no_grad():
            loss = act_loss(carry, output, model.arch.loss.loss_type)
            counts = rows.labels != IGNORED  # (B, S)
            right = (output.logits.argmax(dim=-1) == rows.labels) | ~counts
        sums.append({name: float(value) for name, value in loss.sums.items()})
        counted.append(counts.any(dim=-1).cpu().numpy())
        solved.append(right.all(dim=-1).cpu().numpy())
    if not len(indices) or not np.concatenate(counted).any():
        raise DataError(f"{folder / 'test'}: no unseen puzzle in it, every one is used for selection; add test puzzles")
    is_counted, is_solved = np.concatenate(counted), np.concatenate(solved)
    return Unseen(
        values=accuracy_of(sums, model.arch.halt_max_steps).values,
        solved=tuple(indices[is_counted & is_solved].tolist()),
        not_solved=tuple(indices[is_counted & ~is_solved].tolist()),
        digest=found,
    )
