"""What a run takes of memory and of the disk, in bytes. Estimates: docs/planning.md has them beside measured peaks."""

from __future__ import annotations

from dataclasses import dataclass

from hrm_sweep.config import RunConfig, swiglu_width
from hrm_sweep.data import SplitMetadata
from hrm_sweep.planning.cost import parameter_count, positions

_FLOAT32 = 4
_METRICS_ROW = 2_300
"""Bytes of a train row in metrics.jsonl with its norms by module, as written for hrm_v1_tiny."""

_EVALUATED_AT_ONCE = 256  # evaluation.accuracy.EVALUATION_ROWS, which stands in a file that loads torch


@dataclass(frozen=True)
class Memory:
    """Of one process that trains alone; what torch itself takes (some 300 MiB on a CPU) is not in it.

    weights, gradients  float32.
    moments             both of AdamATan2, float32.
    optimizer           what a step and its row of metrics hold for a moment: as much as the weights, three times.
    activations         of the part that carries a gradient: the last call of each module and the loss. Neither cycles
                        nor halt_max_steps change it.
    carry               both states and the puzzles of every row of the batch, before and after a step.
    evaluation          of the puzzles that are evaluated at once, while they are.
    """

    weights: int
    gradients: int
    moments: int
    optimizer: int
    activations: int
    carry: int
    evaluation: int

    @property
    def total(self) -> int:
        """The peak: what a step, its optimizers and an evaluation need for a moment, they need one after the other."""
        kept = self.weights + self.gradients + self.moments + self.carry
        return kept + max(self.activations, self.optimizer, self.evaluation)

    @staticmethod
    def of(config: RunConfig, train: SplitMetadata, processes: int = 1, *, halves: bool) -> Memory:
        """`halves`: whether activations are bfloat16, as on a GPU that has it, and not float32."""
        arch = config.arch
        D, T = arch.hidden_size, positions(arch, train.seq_len)
        inner = swiglu_width(D, arch.expansion)
        size = 2 if halves and arch.forward_dtype == "bfloat16" else _FLOAT32
        weights = _FLOAT32 * parameter_count(arch, train.vocab_size, train.seq_len)
        table = _FLOAT32 * train.num_puzzle_identifiers * arch.puzzle_emb_ndim

        # Of a position in a block: input, qkv, rotated q and k, mixed heads twice, normed; two sums in float32; the
        # gate, up, silu(gate) and their product.
        block = size * (9 * D + 4 * inner) + 2 * _FLOAT32 * D
        # Alive for a moment: what the backward pass of one block makes, above all its gradients of gate and up, and
        # what a block makes without a gradient.
        backward, forward = size * (8 * D + 12 * inner), size * (5 * D + 4 * inner)
        loss = 6 * 8 * train.vocab_size  # logits and stablemax in float64, forward and backward
        rows = config.global_batch_size // processes
        rows_at_once = min(rows, config.micro_batch_size or rows)
        kept = (arch.H_layers + arch.L_layers) * block + backward
        activations = rows_at_once * (T * kept + train.seq_len * loss)
        cast = weights * size // _FLOAT32 if size < _FLOAT32 else 0  # the weights in the dtype of the activations

        carry = rows * 2 * (2 * T * D * size + 2 * _FLOAT32 * train.seq_len)
        evaluated = min(_EVALUATED_AT_ONCE, config.eval_puzzles, config.micro_batch_size or _EVALUATED_AT_ONCE)
        evaluation = evaluated * (T * (forward + 6 * D * size) + train.seq_len * loss // 2)
        return Memory(weights + table, weights, 2 * weights, 3 * weights, activations + cast, carry, evaluation + cast)


def disk_bytes(config: RunConfig, train: SplitMetadata, steps: int) -> int:
    """Bytes of a run directory when the run ends by itself: last.pt and best.pt, which hold the weights, both moments
    and the carry; the weights once more; a row of metrics each log_interval steps."""
    memory = Memory.of(config, train, halves=False)
    state = memory.weights + memory.moments + memory.carry // 2
    evaluations = config.epochs // config.eval_interval
    copies = evaluations if config.checkpoint_every_eval else 1
    kept = 2 * state + copies * memory.weights if config.checkpoint else 0
    return kept + _METRICS_ROW * (-(-steps // config.log_interval)) + 500 * evaluations


def spelled_bytes(total: int) -> str:
    """`310 MiB`, `4.2 GiB`."""
    gib = total / 2**30
    return f"{gib:.1f} GiB" if gib >= 1 else f"{max(1, round(total / 2**20))} MiB"
