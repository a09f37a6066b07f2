"""What a run costs: parameters of the model, and operations of its training."""

from __future__ import annotations

from hrm_sweep.config import ArchConfig, RunConfig, swiglu_width


def parameter_count(arch: ArchConfig, vocab_size: int, seq_len: int) -> int:
    """Parameters of the model. The puzzle embedding is a buffer and does not count, as in the reference.

    A block has 4 D^2 of attention and 3 D I of SwiGLU, the norms have none; embedding and head V D each; the Q head
    2 D + 2. `tests/planning/test_cost.py` holds it to the model itself.
    """
    D = arch.hidden_size
    inner = swiglu_width(D, arch.expansion)
    blocks = (arch.H_layers + arch.L_layers) * (4 * D * D + 3 * D * inner)
    positions = (_positions(arch, seq_len) * D) if arch.pos_encodings == "learned" else 0
    return blocks + 2 * vocab_size * D + positions + 2 * D + 2


def train_flops(config: RunConfig, seq_len: int, steps: int) -> float:
    """Floating-point operations of `steps` optimizer steps, evaluations left out.

    A call of the L module costs F = layers (2 S (4 D^2 + 3 D I) + 4 S^2 D) a row, and one of the H module with its own
    number of layers. Every step runs the H_cycles (L_cycles + 1) calls once to learn and, with more than one ACT step
    allowed, once more to see the next Q values; the gradient goes back through the last call of each module, at twice
    its cost. Heads and embeddings are left out: below 1 % for the published model.
    """
    arch = config.arch
    low, high = _module_flops(arch, arch.L_layers, seq_len), _module_flops(arch, arch.H_layers, seq_len)
    forward = arch.H_cycles * (arch.L_cycles * low + high)
    passes = 2 if arch.halt_max_steps > 1 else 1
    return float(steps) * config.global_batch_size * (passes * forward + 2 * (low + high))


def evaluation_flops(arch: ArchConfig, seq_len: int, puzzles: int) -> float:
    """Floating-point operations of one evaluation of `puzzles` puzzles: all of halt_max_steps ACT steps, each
    H_cycles (L_cycles + 1) module calls. Heads and embeddings are left out, as in `train_flops`."""
    low, high = _module_flops(arch, arch.L_layers, seq_len), _module_flops(arch, arch.H_layers, seq_len)
    return float(puzzles) * arch.halt_max_steps * arch.H_cycles * (arch.L_cycles * low + high)


def _module_flops(arch: ArchConfig, layers: int, seq_len: int) -> int:
    D, S = arch.hidden_size, _positions(arch, seq_len)
    return layers * (2 * S * (4 * D * D + 3 * D * swiglu_width(D, arch.expansion)) + 4 * S * S * D)


def _positions(arch: ArchConfig, seq_len: int) -> int:
    return seq_len + -(-arch.puzzle_emb_ndim // arch.hidden_size)
