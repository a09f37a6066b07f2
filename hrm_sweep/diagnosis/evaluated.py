"""Evaluates a checkpoint of a run that recorded no metrics. Needs torch, so it is imported where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hrm_sweep.config import RunConfig
from hrm_sweep.data import open_folder
from hrm_sweep.evaluation.accuracy import data_shape, evaluate
from hrm_sweep.evaluation.device import Device
from hrm_sweep.model.checkpoint import apply_weights, load_weights
from hrm_sweep.model.hrm import HRM


def evaluation_record(config: RunConfig, step: int, checkpoint: Path, data: Path, puzzles: int) -> dict[str, Any]:
    """An evaluation row, as our own runs write it, of `checkpoint` on at most `puzzles` evenly spaced test puzzles.

    Raises CheckpointError when the weights do not fit the configuration, DataError when there are no test puzzles.
    """
    split = open_folder(data).test
    device = Device.choose(config.model_copy(update={"device": "cpu"}))
    model = HRM(config.arch, data_shape(split), device.dtype)
    apply_weights(model, load_weights(checkpoint), str(checkpoint))
    indices = np.unique(np.linspace(0, split.n_examples - 1, puzzles).astype(np.int64))
    result = evaluate(model, split, indices, config.arch.loss.loss_type, device)
    return {
        "kind": "eval",
        "step": step,
        "epoch": 0.0,
        "time_s": 0.0,
        "act_steps": result.act_steps,
        "count": result.count,
        **result.values,
    }
