"""What a run costs: parameters of the model, operations of its training and of its evaluations.

A call of the L module costs F = layers (2 S (4 D^2 + 3 D I) + 4 S^2 D) a row, and one of the H module with its own
number of layers; S counts the puzzle slots too. Heads and embeddings are left out: below 1 % for the published model.
"""

from __future__ import annotations

from hrm_sweep.config import ArchConfig, RunConfig, swiglu_width
from hrm_sweep.config.schedule import RunLength


def parameter_count(arch: ArchConfig, vocab_size: int, seq_len: int) -> int:
    """Parameters of the model. The puzzle embedding is a buffer and does not count, as in the reference.

    A block has 4 D^2 of attention and 3 D I of SwiGLU, the norms have none; embedding and head V D each; the Q head
    2 D + 2. `tests/planning/test_cost.py` holds it to the model itself.
    """
    D = arch.hidden_size
    inner = swiglu_width(D, arch.expansion)
    blocks = (arch.H_layers + arch.L_layers) * (4 * D * D + 3 * D * inner)
    learned = positions(arch, seq_len) * D if arch.pos_encodings == "learned" else 0
    return blocks + 2 * vocab_size * D + learned + 2 * D + 2


def train_flops(config: RunConfig, seq_len: int, steps: int) -> float:
    """Floating-point operations of `steps` optimizer steps, evaluations left out.

    Every step runs the H_cycles (L_cycles + 1) calls once to learn and, with more than one ACT step allowed, once more
    to see the next Q values; the gradient goes back through the last call of each module, at twice its cost. Of a run
    with stages, a step costs the mean over its epochs; `train_flops_of_first` knows which stage a step belongs to.
    """
    each = sum(share * _train_step_flops(stage.arch, seq_len) for stage, share in config.stage_shares)
    return float(steps) * config.global_batch_size * each


def train_flops_of_first(config: RunConfig, seq_len: int, length: RunLength, steps: int) -> float:
    """Floating-point operations of the first `steps` optimizer steps of a run of this length: of a run with stages,
    each step at what its stage costs."""
    total, done, epochs = 0.0, 0, 0.0
    stages = config.stage_shares
    for number, (stage, share) in enumerate(stages, start=1):
        epochs += share * config.epochs
        end = steps if number == len(stages) else min(steps, length.step_at(round(epochs)))
        total += max(0, end - done) * config.global_batch_size * _train_step_flops(stage.arch, seq_len)
        done = max(done, end)
    return total


def _train_step_flops(arch: ArchConfig, seq_len: int) -> float:
    """Of one row."""
    passes = 2 if arch.halt_max_steps > 1 else 1
    backward = 2 * (_module_flops(arch, arch.L_layers, seq_len) + _module_flops(arch, arch.H_layers, seq_len))
    return passes * act_step_flops(arch, seq_len) + backward


def evaluation_flops(config: RunConfig, seq_len: int, puzzles: int) -> float:
    """Floating-point operations of one evaluation of `puzzles` puzzles: all of halt_max_steps ACT steps, each once. Of
    a run with stages, the mean over its evaluations."""
    return puzzles * sum(
        share * stage.arch.halt_max_steps * act_step_flops(stage.arch, seq_len) for stage, share in config.stage_shares
    )


def act_step_flops(arch: ArchConfig, seq_len: int) -> int:
    """Floating-point operations of one ACT step of one row, forward: H_cycles (L_cycles + 1) calls."""
    low, high = _module_flops(arch, arch.L_layers, seq_len), _module_flops(arch, arch.H_layers, seq_len)
    return arch.H_cycles * (arch.L_cycles * low + high)


def positions(arch: ArchConfig, seq_len: int) -> int:
    """Positions of a row in the model: the puzzle slots and the cells."""
    return seq_len + -(-arch.puzzle_emb_ndim // arch.hidden_size)


def _module_flops(arch: ArchConfig, layers: int, seq_len: int) -> int:
    D, S = arch.hidden_size, positions(arch, seq_len)
    return layers * (2 * S * (4 * D * D + 3 * D * swiglu_width(D, arch.expansion)) + 4 * S * S * D)
