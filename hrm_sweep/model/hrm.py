"""The Hierarchical Reasoning Model (arXiv 2506.21734) and its ACT step. HRM_SPEC 1 and 2.

Shapes: B batch, S cells, P puzzle slots, T = P + S positions, D hidden size, V vocabulary, M = halt_max_steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hrm_sweep.config import ArchConfig
from hrm_sweep.model.block import ReasoningModule
from hrm_sweep.model.layers import Embedding, Linear, RotaryPositions, truncated_normal

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class DataShape:
    """What the data decides of the model: vocabulary V, cells S, and how many puzzle identifiers there are."""

    vocab_size: int
    seq_len: int
    num_puzzle_identifiers: int


@dataclass(frozen=True)
class Rows:
    """Puzzles of a batch: inputs (B, S) and labels (B, S) with -100 where no label counts, identifiers (B,)."""

    inputs: Tensor
    labels: Tensor
    puzzle_identifiers: Tensor


@dataclass(frozen=True)
class Carry:
    """What a batch remembers between ACT steps. A slot is a row of the batch and keeps its puzzle until it halts.

    z_H, z_L (B, T, D) in the dtype of the activations; steps (B,) int32; halted (B,) bool; rows: the current puzzles.
    """

    z_H: Tensor
    z_L: Tensor
    steps: Tensor
    halted: Tensor
    rows: Rows


@dataclass(frozen=True)
class StepOutput:
    """What one ACT step computed.

    logits (B, S, V) in the dtype of the activations; q_halt, q_continue (B,) float32; target_q_continue (B,) float32 or
    None where it is not learned (M = 1, evaluation); puzzle_leaf (B, ndim) float32, the tensor whose gradient moves the
    puzzle embedding, or None without one.
    """

    logits: Tensor
    q_halt: Tensor
    q_continue: Tensor
    target_q_continue: Tensor | None
    puzzle_leaf: Tensor | None


Parts = TypeVar("Parts", Rows, Carry, StepOutput)


def each_tensor(parts: Sequence[Parts], combine: Callable[[list[Tensor]], Tensor]) -> Parts:
    """One of the same kind, each of whose tensors is `combine` of that tensor in all `parts`; None stays None.

    A slice of rows is `each_tensor([rows], lambda one: one[0][:n])`, and `each_tensor(slices, torch.cat)` joins them.
    """

    def of(values: list[Any]) -> Any:
        if is_dataclass(values[0]):
            return each_tensor(values, combine)
        return None if values[0] is None else combine(values)

    return type(parts[0])(*(of([getattr(part, field.name) for part in parts]) for field in fields(parts[0])))


class PuzzleEmbedding(nn.Module):
    """The table (identifiers, ndim): float32, zero at the start, a buffer that has an optimizer of its own."""

    weights: Tensor

    def __init__(self, identifiers: int, ndim: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(identifiers, ndim))


class Inner(nn.Module):
    """The network: embeddings, the two recurrent modules, the heads. Its names are those of published checkpoints."""

    H_init: Tensor
    L_init: Tensor

    def __init__(self, arch: ArchConfig, shape: DataShape, dtype: torch.dtype) -> None:
        super().__init__()
        D = arch.hidden_size
        self.arch = arch
        self.dtype = dtype
        self.puzzle_slots = -(-arch.puzzle_emb_ndim // D)
        positions = self.puzzle_slots + shape.seq_len

        self.embed_tokens = Embedding(shape.vocab_size, D, dtype)
        if arch.puzzle_emb_ndim:
            self.puzzle_emb = PuzzleEmbedding(shape.num_puzzle_identifiers, arch.puzzle_emb_ndim)
        self.rotary: RotaryPositions | None = None
        if arch.pos_encodings == "rope":
            self.rotary = RotaryPositions(positions, D // arch.num_heads, arch.rope_theta)
        else:
            self.embed_pos = Embedding(positions, D, dtype)

        self.H_level = ReasoningModule(arch, arch.H_layers)
        self.L_level = ReasoningModule(arch, arch.L_layers)
        self.register_buffer("H_init", truncated_normal(D, std=1.0).to(dtype))
        self.register_buffer("L_init", truncated_normal(D, std=1.0).to(dtype))

        self.lm_head = Linear(D, shape.vocab_size)
        self.q_head = Linear(D, 2, bias=True)
        with torch.no_grad():  # nothing halts at first: both Q values are -5 and a tie means "go on"
            self.q_head.weight.zero_()
            assert self.q_head.bias is not None
            self.q_head.bias.fill_(-5.0)

    def embed(self, inputs: Tensor, puzzle_rows: Tensor | None) -> Tensor:
        """Input embedding (B, T, D) of cells (B, S) and puzzle rows (B, ndim), the puzzle slots first."""
        arch = self.arch
        x: Tensor = self.embed_tokens(inputs)  # (B, S, D)
        if puzzle_rows is not None:
            padding = self.puzzle_slots * arch.hidden_size - arch.puzzle_emb_ndim
            slots = nn.functional.pad(puzzle_rows.to(self.dtype), (0, padding))
            x = torch.cat([slots.view(-1, self.puzzle_slots, arch.hidden_size), x], dim=1)  # (B, T, D)
        if arch.pos_encodings == "learned":
            x = math.sqrt(0.5) * (x + self.embed_pos.embedding_weight.to(self.dtype))
        return math.sqrt(arch.hidden_size) * x

    def reason(self, z_H: Tensor, z_L: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """H_cycles x L_cycles of recurrence; only the last L call and the last H call carry a gradient (paper 2)."""
        z_H, z_L = self._reason_up_to_the_last_calls(z_H, z_L, x)
        z_L = self.L_level(z_L, z_H + x, self.rotary)
        z_H = self.H_level(z_H, z_L, self.rotary)
        return z_H, z_L

    @torch.no_grad()
    def next_q_values(self, z_H: Tensor, z_L: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The Q values after `reason`, without a gradient, and without what they do not need of its last call."""
        z_H, z_L = self._reason_up_to_the_last_calls(z_H, z_L, x)
        z_L = self.L_level(z_L, z_H + x, self.rotary)
        return self.q_values(self.H_level.first_position(z_H, z_L, self.rotary))

    @torch.no_grad()
    def _reason_up_to_the_last_calls(self, z_H: Tensor, z_L: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        for cycle in range(self.arch.H_cycles):
            final = cycle == self.arch.H_cycles - 1
            for _ in range(self.arch.L_cycles - final):
                z_L = self.L_level(z_L, z_H + x, self.rotary)
            if not final:
                z_H = self.H_level(z_H, z_L, self.rotary)
        return z_H, z_L

    def q_values(self, z_H: Tensor) -> tuple[Tensor, Tensor]:
        """(q_halt, q_continue), each (B,) float32, read at position 0."""
        q = self.q_head(z_H[:, 0]).float()
        return q[:, 0], q[:, 1]

    def logits(self, z_H: Tensor) -> Tensor:
        """(B, S, V) logits of the cells."""
        logits: Tensor = self.lm_head(z_H)[:, self.puzzle_slots :]
        return logits


class HRM(nn.Module):
    """The model with its ACT step. `dtype` is that of the activations; parameters and the puzzle table are float32."""

    def __init__(self, arch: ArchConfig, shape: DataShape, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.arch = arch
        self.shape = shape
        self.inner = Inner(arch, shape, dtype or DTYPES[arch.forward_dtype])

    @property
    def puzzle_table(self) -> Tensor | None:
        """The puzzle embedding (identifiers, ndim), or None when puzzle_emb_ndim is 0."""
        return self.inner.puzzle_emb.weights if self.arch.puzzle_emb_ndim else None

    def initial_carry(self, rows: Rows) -> Carry:
        """A carry in which every slot is halted, so that the first step takes all rows of its batch."""
        B = rows.inputs.shape[0]
        positions = self.inner.puzzle_slots + self.shape.seq_len
        z = self.inner.H_init.new_zeros(B, positions, self.arch.hidden_size)
        device = rows.inputs.device
        steps = torch.zeros(B, dtype=torch.int32, device=device)
        return Carry(z, z, steps, torch.ones(B, dtype=torch.bool, device=device), rows)

    def train_step(self, carry: Carry, batch: Rows, minimum_steps: Tensor | None = None) -> tuple[Carry, StepOutput]:
        """One ACT step of training: halted slots take their row of `batch`, the others go on. HRM_SPEC 2.

        `minimum_steps` (B,), see `explore`, is the number of steps before which a slot may not halt; None lets all.
        The returned carry is detached.
        """
        inner, M = self.inner, self.arch.halt_max_steps
        rows, z_H, z_L, steps = self._restart_halted(carry, batch)
        leaf = self._puzzle_rows(rows.puzzle_identifiers, leaf=True)
        x = inner.embed(rows.inputs, leaf)
        z_H, z_L = inner.reason(z_H, z_L, x)
        logits, (q_halt, q_continue) = inner.logits(z_H), inner.q_values(z_H)
        z_H, z_L = z_H.detach(), z_L.detach()

        with torch.no_grad():
            steps = steps + 1
            last = steps >= M
            halted = last
            target: Tensor | None = None
            if M > 1:
                halted = last | (q_halt > q_continue)
                if minimum_steps is not None:
                    halted = halted & (steps >= minimum_steps)
                next_halt, next_continue = inner.next_q_values(z_H, z_L, x.detach())
                target = torch.sigmoid(torch.where(last, next_halt, torch.maximum(next_halt, next_continue)))
        output = StepOutput(logits, q_halt, q_continue, target, leaf)
        return Carry(z_H, z_L, steps, halted, rows), output

    @torch.no_grad()
    def solve(self, rows: Rows, steps: int | None = None) -> tuple[Carry, StepOutput]:
        """Evaluation: `steps` ACT steps (default M) from a fresh carry with halting off; the output of the last one."""
        inner = self.inner
        steps = self.arch.halt_max_steps if steps is None else steps
        _, z_H, z_L, taken = self._restart_halted(self.initial_carry(rows), rows)
        x = inner.embed(rows.inputs, self._puzzle_rows(rows.puzzle_identifiers, leaf=False))
        for _ in range(steps):
            z_H, z_L = inner.reason(z_H, z_L, x)
        q_halt, q_continue = inner.q_values(z_H)
        carry = Carry(z_H, z_L, taken + steps, torch.ones_like(taken, dtype=torch.bool), rows)
        return carry, StepOutput(inner.logits(z_H), q_halt, q_continue, None, None)

    @torch.no_grad()
    def solve_by_step(self, rows: Rows, steps: int | None = None) -> Iterator[StepOutput]:
        """Evaluation with halting off, watched: the output after each of `steps` ACT steps (default M)."""
        inner = self.inner
        _, z_H, z_L, _ = self._restart_halted(self.initial_carry(rows), rows)
        x = inner.embed(rows.inputs, self._puzzle_rows(rows.puzzle_identifiers, leaf=False))
        for _ in range(self.arch.halt_max_steps if steps is None else steps):
            z_H, z_L = inner.reason(z_H, z_L, x)
            yield StepOutput(inner.logits(z_H), *inner.q_values(z_H), None, None)

    @torch.no_grad()
    def solve_until_halted(self, carry: Carry, batch: Rows, limit: int) -> Carry:
        """Evaluation with halting on, one ACT step: slots that have halted take their row of `batch`, the others go on.

        A slot halts where q_halt > q_continue, and after `limit` steps. Its answer is then in `inner.logits` of its
        z_H, which stays as it is until the slot takes another row.
        """
        inner = self.inner
        rows, z_H, z_L, steps = self._restart_halted(carry, batch)
        x = inner.embed(rows.inputs, self._puzzle_rows(rows.puzzle_identifiers, leaf=False))
        z_H, z_L = inner.reason(z_H, z_L, x)
        q_halt, q_continue = inner.q_values(z_H)
        steps = steps + 1
        return Carry(z_H, z_L, steps, (steps >= limit) | (q_halt > q_continue), rows)

    def _restart_halted(self, carry: Carry, batch: Rows) -> tuple[Rows, Tensor, Tensor, Tensor]:
        halted = carry.halted
        slot = halted.view(-1, 1)
        rows = Rows(
            torch.where(slot, batch.inputs, carry.rows.inputs),
            torch.where(slot, batch.labels, carry.rows.labels),
            torch.where(halted, batch.puzzle_identifiers, carry.rows.puzzle_identifiers),
        )
        z_H = torch.where(halted.view(-1, 1, 1), self.inner.H_init, carry.z_H)
        z_L = torch.where(halted.view(-1, 1, 1), self.inner.L_init, carry.z_L)
        return rows, z_H, z_L, torch.where(halted, 0, carry.steps)

    def _puzzle_rows(self, identifiers: Tensor, *, leaf: bool) -> Tensor | None:
        table = self.puzzle_table
        if table is None:
            return None
        rows = table[identifiers.long()]
        return rows.requires_grad_() if leaf else rows

    def explore(self, slots: int, generator: torch.Generator | None = None) -> Tensor | None:
        """The number of steps (`slots`,), on the CPU, before which each slot may not halt in one ACT step: with
        probability halt_exploration_prob uniform in 2..M, otherwise 0. None, and nothing drawn, when M is 1."""
        M = self.arch.halt_max_steps
        if M == 1:
            return None
        drawn = torch.rand(slots, generator=generator) < self.arch.halt_exploration_prob
        return torch.where(drawn, torch.randint(2, M + 1, (slots,), generator=generator), 0)
