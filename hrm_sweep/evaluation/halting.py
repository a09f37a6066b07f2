"""Evaluation with halting switched on: each puzzle stops where its Q values say so, and its slot takes the next puzzle.

The reference trains this way but evaluates every puzzle with all ACT steps: where halting is merely allowed there, a
puzzle that has halted starts over until all of its batch have halted at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_sweep.data import Split, take_examples
from hrm_sweep.evaluation.accuracy import EVALUATION_ROWS
from hrm_sweep.evaluation.device import Device, rows_on
from hrm_sweep.model.hrm import HRM, each_tensor


@dataclass(frozen=True)
class HaltedAnswers:
    """What N puzzles were answered when each halted by itself.

    answers    (N, S) tokens.
    steps      (N,) ACT steps that each took.
    slot_steps ACT steps computed, over all slots: the sum of `steps`, for no slot ever works for nothing.
    seconds    how long it took.
    """

    answers: NDArray[np.int32]
    steps: NDArray[np.int64]
    slot_steps: int
    seconds: float


@torch.no_grad()
def solve_with_halting(
    model: HRM,
    split: Split,
    indices: NDArray[np.int64],
    device: Device,
    *,
    limit: int,
    slots: int = EVALUATION_ROWS,
    on_solved: Callable[[int], None] = lambda puzzles: None,
) -> HaltedAnswers:
    """Solve the examples `indices` of `split`, each until q_halt > q_continue, at most `limit` ACT steps.

    `slots` puzzles are worked on at once. A slot whose puzzle halted takes the next one in the same step; when none is
    left, the batch becomes smaller. `on_solved` hears how many puzzles halted.
    """
    puzzles = len(indices)
    started = time.perf_counter()
    everything = rows_on(take_examples(split, indices), device)
    answers = np.zeros((puzzles, split.metadata.seq_len), np.int32)
    steps = np.zeros(puzzles, np.int64)
    at = np.arange(min(slots, puzzles))  # the puzzle that each slot works on
    waiting, slot_steps = len(at), 0  # the first puzzle that no slot has taken
    batch = each_tensor([everything], lambda one: one[0][: len(at)])
    carry = model.initial_carry(batch)
    while len(at):
        carry = model.solve_until_halted(carry, batch, limit)
        slot_steps += len(at)
        halted = carry.halted.cpu().numpy()
        if not halted.any():
            continue
        done = at[halted]
        answers[done] = model.inner.logits(carry.z_H[carry.halted]).argmax(dim=-1).int().cpu().numpy()
        steps[done] = carry.steps[carry.halted].cpu().numpy()
        on_solved(len(done))
        free = np.flatnonzero(halted)
        taken, idle = free[: puzzles - waiting], free[puzzles - waiting :]
        at[taken] = np.arange(waiting, waiting + len(taken))
        waiting += len(taken)
        if len(idle):
            at = np.delete(at, idle)
            kept = torch.from_numpy(np.delete(np.arange(len(halted)), idle)).to(device.torch_device)
            carry = each_tensor([carry], lambda one, kept=kept: one[0][kept])  # type: ignore[misc]
        where = torch.from_numpy(at).to(device.torch_device)
        batch = each_tensor([everything], lambda one, where=where: one[0][where])  # type: ignore[misc]
    return HaltedAnswers(answers, steps, slot_steps, time.perf_counter() - started)
