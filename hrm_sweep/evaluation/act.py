"""How a model uses its ACT steps: what it has solved after each, and where it would halt if it were allowed to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_sweep.data import IGNORED_LABEL, Split, take_examples
from hrm_sweep.evaluation.accuracy import EVALUATION_ROWS
from hrm_sweep.evaluation.device import Device, rows_on
from hrm_sweep.model.hrm import HRM
from hrm_sweep.model.losses import CROSS_ENTROPIES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ActBehaviour:
    """ACT on N puzzles with at least one counted label; M = halt_max_steps.

    solved       (N, M) whether the puzzle is solved after 1, 2, ..., M steps.
    cells        (N, M) share of its counted cells that are right.
    q_halt, q_continue  (N, M) Q values.
    loss         (N,) mean token loss after the last step.
    """

    solved: NDArray[np.bool_]
    cells: Floats
    q_halt: Floats
    q_continue: Floats
    loss: Floats

    @property
    def halts_after(self) -> NDArray[np.int64]:
        """(N,) the first step at which q_halt > q_continue, M where there is none: what halting would do, without
        exploration."""
        stops = self.q_halt > self.q_continue
        stops[:, -1] = True
        return np.asarray(np.argmax(stops, axis=1) + 1, dtype=np.int64)

    @property
    def histogram(self) -> NDArray[np.int64]:
        """(M,) how many puzzles would halt after 1, 2, ..., M steps."""
        return np.bincount(self.halts_after - 1, minlength=self.solved.shape[1])

    @property
    def exact_by_step(self) -> Floats:
        """(M,) exact accuracy after each step."""
        return np.asarray(self.solved.mean(axis=0), dtype=np.float64)

    @property
    def exact_when_halting(self) -> float:
        """Exact accuracy when each puzzle stops where it would halt."""
        return float(self.solved[np.arange(len(self.solved)), self.halts_after - 1].mean())


@torch.no_grad()
def act_behaviour(model: HRM, split: Split, indices: NDArray[np.int64], loss_type: str, device: Device) -> ActBehaviour:
    """Watch `model` solve the examples `indices` of `split`. Costs one evaluation."""
    parts: list[Floats] = []
    losses: list[Floats] = []
    for start in range(0, len(indices), EVALUATION_ROWS):
        rows = rows_on(take_examples(split, indices[start : start + EVALUATION_ROWS]), device)
        counted = rows.labels != IGNORED_LABEL  # (B, S)
        n = counted.sum(dim=-1)
        steps = []
        for output in model.solve_by_step(rows):
            right = ((output.logits.argmax(dim=-1) == rows.labels) & counted).sum(dim=-1)
            cells = right / n.clamp(min=1)
            steps.append(torch.stack([(right == n).double(), cells.double(), output.q_halt, output.q_continue]))
        token_loss = CROSS_ENTROPIES[loss_type](output.logits, rows.labels)  # (B, S)
        losses.append((token_loss.sum(dim=-1) / n.clamp(min=1))[n > 0].double().cpu().numpy())
        parts.append(torch.stack(steps, dim=-1)[:, n > 0].double().cpu().numpy())  # (4, B, M)
    everything = np.concatenate(parts, axis=1) if parts else np.zeros((4, 0, model.arch.halt_max_steps))
    solved_after, cells_after, q_halt, q_continue = everything
    return ActBehaviour(solved_after > 0, cells_after, q_halt, q_continue, np.concatenate([np.zeros(0), *losses]))
