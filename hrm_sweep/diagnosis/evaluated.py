"""Evaluates the last checkpoints of a run that recorded no metrics. Needs torch, so it is imported where it is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_sweep.config import RunConfig
from hrm_sweep.data import Split, open_folder
from hrm_sweep.diagnosis.statistics import Floats, chance_of_order
from hrm_sweep.errors import CheckpointError, DataError
from hrm_sweep.evaluation.accuracy import data_shape
from hrm_sweep.evaluation.act import ActBehaviour, act_behaviour
from hrm_sweep.evaluation.attention_layout import swapped_attention
from hrm_sweep.evaluation.device import Device
from hrm_sweep.evaluation.selection import evenly_spaced
from hrm_sweep.model.checkpoint import apply_weights, load_weights
from hrm_sweep.model.hrm import HRM

CHECKPOINTS = 3
PUZZLES = 200  # a share is then known to 3.5 points
FEWEST_PUZZLES = 16

# What one checkpoint may cost. Half a minute on two CPU cores, a few seconds on a GPU; models of the smallest preset
# stay far below it, the published one is evaluated on FEWEST_PUZZLES puzzles on a CPU and on all PUZZLES on a GPU.
BUDGET_FLOP = {"cpu": 3e12, "cuda": 3e14, "mps": 3e13}


def evaluation_records(
    config: RunConfig, weights: Sequence[tuple[int, Path]], data: Path
) -> Iterator[dict[str, Any] | str]:
    """An evaluation row, as our own runs write it, for each of the last checkpoints; a sentence where that failed."""
    try:
        folder = open_folder(data)
        device = Device.choose(config)
        model = HRM(config.arch, data_shape(folder.train), device.dtype).to(device.torch_device)
        test = folder.test
    except DataError as error:
        yield str(error)
        return
    puzzles = _affordable_puzzles(model, device)
    # Earlier checkpoints serve to see a trend, which takes more puzzles than a large model allows on a CPU.
    last = weights[-CHECKPOINTS:] if puzzles == PUZZLES else weights[-1:]
    for step, path in last:
        try:
            apply_weights(model, load_weights(path), str(path))
            yield _record(config, step, model, test, folder.train, puzzles, device)
        except CheckpointError as error:
            yield str(error)


def _affordable_puzzles(model: HRM, device: Device) -> int:
    """At most PUZZLES; a forward pass costs twice its weights per position, M x H_cycles x (L_cycles + 1) times."""
    arch = model.arch
    weights = sum(parameter.numel() for parameter in model.inner.H_level.parameters())
    positions = model.shape.seq_len + model.inner.puzzle_slots
    cost = arch.halt_max_steps * arch.H_cycles * (arch.L_cycles + 1) * 2 * positions * weights
    passes = 3  # test, train, and test with swapped attention
    budget = BUDGET_FLOP.get(device.torch_device.type, 3e12)
    return int(np.clip(budget / (passes * cost), FEWEST_PUZZLES, PUZZLES))


def _record(
    config: RunConfig, step: int, model: HRM, test: Split, train: Split, puzzles: int, device: Device
) -> dict[str, Any]:
    """Besides what our own rows hold, because there are no train rows to tell: accuracy on training puzzles, both Q
    values over all ACT steps, how well q_halt orders solved puzzles before unsolved ones (q_halt_auc), what would
    happen if halting were allowed (halting, act_histogram), and what the model makes of attention whose heads and
    positions are swapped (swapped)."""
    loss_type = config.arch.loss.loss_type
    watched = act_behaviour(model, test, evenly_spaced(test.n_examples, puzzles), loss_type, device)
    trained = act_behaviour(model, train, evenly_spaced(train.n_examples, puzzles), loss_type, device)
    with swapped_attention(model):
        swapped = act_behaviour(model, test, evenly_spaced(test.n_examples, puzzles), loss_type, device)
    record: dict[str, Any] = {"kind": "eval", "step": step, "epoch": 0.0, "time_s": 0.0, "count": len(watched.solved)}
    if not len(watched.solved):
        return record
    solved = watched.solved[:, -1]
    return record | {
        "act_steps": config.arch.halt_max_steps,
        "lm_loss": float(watched.loss.mean()),
        "accuracy": float(watched.cells[:, -1].mean()),
        "exact_accuracy": float(solved.mean()),
        "q_halt_loss": _binary_cross_entropy(watched.q_halt[:, -1], solved),
        "q_halt_accuracy": float(((watched.q_halt[:, -1] >= 0) == solved).mean()),
        "q_halt_mean": float(watched.q_halt.mean()),
        "q_halt_std": float(watched.q_halt.std()),
        "q_continue_mean": float(watched.q_continue.mean()),
        "q_continue_std": float(watched.q_continue.std()),
        "q_halt_auc": None if solved.all() or not solved.any() else _auc(watched, solved),
        "trained": {
            "exact_accuracy": float(trained.solved[:, -1].mean()),
            "accuracy": float(trained.cells[:, -1].mean()),
            "lm_loss": float(trained.loss.mean()),
        },
        "halting": {"act_steps": float(watched.halts_after.mean()), "exact_accuracy": watched.exact_when_halting},
        "swapped": {"accuracy": float(swapped.cells[:, -1].mean()), "lm_loss": float(swapped.loss.mean())},
        "accuracy_by_act_steps": {
            str(number): float(share) for number, share in enumerate(watched.cells.mean(axis=0), 1)
        },
        "exact_by_act_steps": {str(number): float(share) for number, share in enumerate(watched.exact_by_step, 1)},
        "act_histogram": watched.histogram.tolist(),
    }


def _auc(watched: ActBehaviour, solved: NDArray[np.bool_]) -> float:
    q_halt = watched.q_halt[:, -1]
    return chance_of_order(q_halt[solved], q_halt[~solved])


def _binary_cross_entropy(logits: Floats, target: NDArray[np.bool_]) -> float:
    return float((np.logaddexp(0, logits) - logits * target).mean())
