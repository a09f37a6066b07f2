"""A reasoning module on a CPU in float32: what `block.py` defines, in slices of rows that stay in the cache.

Rows of a batch do not depend on each other, so all blocks are computed for some rows before the next rows are looked
at: activations of a whole batch would travel to memory and back between any two operations. Operations work in place,
rotation, scale and the order of heads are one multiplication, and the gradient is written out. `block.py` stays the
definition, and is what runs on any other device; `tests/model/test_sliced.py` holds the two together.

Shapes: N = rows * T positions of a slice, D hidden size, h heads, d = D / h, I inner width of SwiGLU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_SLICE_BYTES = 4 << 20
"""What the widest activations of a slice, and of one thread, may take (docs/performance.md: measured)."""


@dataclass(frozen=True)
class Blocks:
    """What the blocks of one module share.

    turns (3, 1, 1, T, d / 2) complex: what q, k and v are multiplied by, as pairs of numbers: q is rotated and scaled,
    k rotated, v left alone.
    """

    num_heads: int
    eps: float
    turns: Tensor


@dataclass(frozen=True)
class BlockWeights:
    """qkv (3D, D) with the two numbers that rotate together side by side, out (D, D), gate_up (2I, D), down (D, I)."""

    qkv: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True)
class Kept:
    """What the gradient of one block needs of one slice; norms of the two sums as (N, 1)."""

    x: Tensor  # (N, D)
    qkv: Tensor  # (3, rows * h, T, d), rotated
    attention: Tensor  # (rows * h, T, T)
    mixed: Tensor  # (N, D)
    scale: Tensor
    middle: Tensor  # (N, D), the first sum, normed
    gate_up: Tensor  # (N, 2I)
    silu: Tensor  # (N, I)
    second_scale: Tensor
    y: Tensor  # (N, D)


@lru_cache(maxsize=8)
def turns(positions: int, head_dim: int, theta: float | None) -> Tensor:
    """See `Blocks`; `theta` None: no rotation."""
    angles = torch.zeros(positions, head_dim // 2)
    if theta is not None:
        inverse_frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.outer(torch.arange(positions, dtype=torch.float32), inverse_frequency)
    rotation = torch.complex(angles.cos(), angles.sin())
    return torch.stack([rotation * head_dim**-0.5, rotation, torch.ones_like(rotation)])[:, None, None]


def rows_in_cache(positions: int, hidden_size: int, inner: int) -> int:
    """How many rows make a slice, for rows of so many positions."""
    bytes_of_a_row = 4 * positions * (3 * inner + 3 * hidden_size)
    return max(1, torch.get_num_threads() * _SLICE_BYTES // bytes_of_a_row)


def slices(rows: int, size: int) -> Iterator[slice]:
    """Slices of `rows` rows, of at most `size` and about the same length."""
    count = -(-rows // size)
    return (slice(rows * i // count, rows * (i + 1) // count) for i in range(count))


def _paired(qkv: Tensor, num_heads: int) -> Tensor:
    """The rows of `qkv` (3D, D) with x_i and x_(i + d/2) of each q and k head side by side: they rotate together."""
    D = qkv.shape[1]
    q_and_k = qkv[: 2 * D].view(2 * num_heads, 2, -1, D).transpose(1, 2).reshape(2 * D, D)
    return torch.cat([q_and_k, qkv[2 * D :]])


def _unpaired(qkv: Tensor, num_heads: int) -> Tensor:
    """The inverse of `_paired`."""
    D = qkv.shape[1]
    q_and_k = qkv[: 2 * D].view(2 * num_heads, -1, 2, D).transpose(1, 2).reshape(2 * D, D)
    return torch.cat([q_and_k, qkv[2 * D :]])


def _weights(tensors: Sequence[Tensor], num_heads: int) -> list[BlockWeights]:
    blocks = zip(*(tensors[i::4] for i in range(4)), strict=True)
    return [BlockWeights(_paired(qkv, num_heads), out, gate_up, down) for qkv, out, gate_up, down in blocks]


def _scale(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean(x^2) + eps), (N, 1)."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    scale: Tensor = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return scale


def _rotated(projected: Tensor, rows: int, blocks: Blocks) -> Tensor:
    """q, k and v (3, rows * h, T, d) of a projection (N, 3D)."""
    T, d = blocks.turns.shape[-2], 2 * blocks.turns.shape[-1]
    pairs = torch.view_as_complex(projected.view(rows, T, 3, blocks.num_heads, d // 2, 2)).permute(2, 0, 3, 1, 4)
    out = torch.empty(pairs.shape, dtype=pairs.dtype)
    torch.mul(pairs, blocks.turns, out=out)
    return torch.view_as_real(out).view(3, -1, T, d)


def _side_by_side(heads: Tensor, rows: int) -> Tensor:
    """(N, D) of (rows * h, T, d)."""
    _, T, d = heads.shape
    return heads.view(rows, -1, T, d).transpose(1, 2).reshape(rows * T, -1)


def _block(x: Tensor, rows: int, weights: BlockWeights, blocks: Blocks) -> None:
    """Replace x (N, D) by what the block makes of it."""
    q, k, v = _rotated(F.linear(x, weights.qkv), rows, blocks)
    attention = torch.bmm(q, k.transpose(1, 2))
    torch.softmax(attention, dim=-1, out=attention)
    x.addmm_(_side_by_side(torch.bmm(attention, v), rows), weights.out.t())
    x.mul_(_scale(x, blocks.eps))
    gate, up = F.linear(x, weights.gate_up).chunk(2, dim=-1)
    x.addmm_(F.silu(gate).mul_(up), weights.down.t())
    x.mul_(_scale(x, blocks.eps))


def _kept_block(x: Tensor, rows: int, weights: BlockWeights, blocks: Blocks) -> Kept:
    """The same, out of place, with all that the gradient needs; its `y` is the result."""
    qkv = _rotated(F.linear(x, weights.qkv), rows, blocks)
    q, k, v = qkv
    attention = torch.bmm(q, k.transpose(1, 2))
    torch.softmax(attention, dim=-1, out=attention)
    mixed = _side_by_side(torch.bmm(attention, v), rows)
    middle = torch.addmm(x, mixed, weights.out.t())
    scale = _scale(middle, blocks.eps)
    middle.mul_(scale)
    gate_up = F.linear(middle, weights.gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    silu = F.silu(gate)
    y = torch.addmm(middle, silu * up, weights.down.t())
    second_scale = _scale(y, blocks.eps)
    y.mul_(second_scale)
    return Kept(x, qkv, attention, mixed, scale, middle, gate_up, silu, second_scale, y)


def _norm_gradient(g: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """In place, the gradient by x of that by y = x * scale(x): scale * (g - y mean(g y))."""
    along = (g * y).sum(dim=-1, keepdim=True)
    return g.addcmul_(y, along, value=-1 / y.shape[-1]).mul_(scale)


def _block_gradient(
    g: Tensor, rows: int, kept: Kept, weights: BlockWeights, sums: BlockWeights, blocks: Blocks
) -> None:
    """Replace g (N, D), the gradient by y, by that by x, and add those by the weights to `sums`."""
    _norm_gradient(g, kept.y, kept.second_scale)
    gate, up = kept.gate_up.chunk(2, dim=-1)
    sums.down.addmm_(g.t(), kept.silu * up)
    by_product = torch.mm(g, weights.down)
    by_gate_up = torch.empty_like(kept.gate_up)
    by_gate, by_up = by_gate_up.chunk(2, dim=-1)
    torch.mul(by_product, kept.silu, out=by_up)
    torch.ops.aten.silu_backward.grad_input(by_product.mul_(up), gate, grad_input=by_gate)
    sums.gate_up.addmm_(by_gate_up.t(), kept.middle)
    g.addmm_(by_gate_up, weights.gate_up)

    _norm_gradient(g, kept.middle, kept.scale)
    sums.out.addmm_(g.t(), kept.mixed)
    q, k, v = kept.qkv
    T, d = q.shape[-2:]
    by_mixed = torch.mm(g, weights.out).view(rows, T, -1, d).transpose(1, 2).reshape(-1, T, d)
    by_qkv = torch.empty_like(kept.qkv)
    torch.bmm(kept.attention.transpose(1, 2), by_mixed, out=by_qkv[2])
    by_attention = torch.bmm(by_mixed, v.transpose(1, 2))
    by_scores = torch._softmax_backward_data(by_attention, kept.attention, -1, torch.float32)
    torch.bmm(by_scores, k, out=by_qkv[0])
    torch.bmm(by_scores.transpose(1, 2), q, out=by_qkv[1])
    pairs = torch.view_as_complex(by_qkv.view(3, rows, -1, T, d // 2, 2))
    by_projection = torch.empty(rows, T, 3, pairs.shape[2], d // 2, dtype=pairs.dtype)
    torch.mul(pairs, blocks.turns.conj().resolve_conj(), out=by_projection.permute(2, 0, 3, 1, 4))
    flat = torch.view_as_real(by_projection).view(rows * T, -1)
    sums.qkv.addmm_(flat.t(), kept.x)
    g.addmm_(flat, weights.qkv)


class _Learning(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, injection: Tensor, blocks: Blocks, *tensors: Tensor) -> Tensor:
        weights = _weights(tensors, blocks.num_heads)
        rows, _, D = z.shape
        y = torch.empty(z.shape)
        ctx.slices = []
        for part in slices(rows, _rows(z, weights)):
            x = (z[part] + injection[part]).reshape(-1, D)
            kept = []
            for one in weights:
                kept.append(_kept_block(x, part.stop - part.start, one, blocks))
                x = kept[-1].y
            y[part] = x.view_as(y[part])
            ctx.slices.append((part, kept))
        ctx.blocks, ctx.weights = blocks, weights
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_y: Tensor) -> tuple[Tensor | None, ...]:
        blocks, weights, of_slices = ctx.blocks, ctx.weights, ctx.slices
        if of_slices is None:
            raise RuntimeError("the activations of this call are gone: its gradient was taken before")
        ctx.slices = None  # the loss keeps the graph until the next step; it need not keep these
        sums = [
            BlockWeights(*(torch.zeros_like(w) for w in (one.qkv, one.out, one.gate_up, one.down))) for one in weights
        ]
        by_x = by_y.clone(memory_format=torch.contiguous_format)
        for part, kept in of_slices:
            g = by_x[part].view(-1, by_x.shape[-1])
            for one, one_kept, one_sum in zip(reversed(weights), reversed(kept), reversed(sums), strict=True):
                _block_gradient(g, part.stop - part.start, one_kept, one, one_sum, blocks)
        by_weights = (
            tensor for one in sums for tensor in (_unpaired(one.qkv, blocks.num_heads), one.out, one.gate_up, one.down)
        )
        return by_x, by_x, None, *by_weights


def _rows(z: Tensor, weights: list[BlockWeights]) -> int:
    return rows_in_cache(z.shape[1], z.shape[2], weights[0].down.shape[1])


def learning(z: Tensor, injection: Tensor, blocks: Blocks, tensors: Sequence[Tensor]) -> Tensor:
    """blocks(z + injection), (B, T, D), with a gradient. `tensors` are the four weights of each block in turn."""
    y: Tensor = _Learning.apply(z, injection, blocks, *tensors)  # type: ignore[no-untyped-call]
    return y


def inferring(z: Tensor, injection: Tensor, blocks: Blocks, tensors: Sequence[Tensor]) -> Tensor:
    """The same without a gradient."""
    weights = _weights(tensors, blocks.num_heads)
    y = (z + injection).contiguous()
    rows, _, D = y.shape
    for part in slices(rows, _rows(z, weights)):
        x = y[part].view(-1, D)
        for one in weights:
            _block(x, part.stop - part.start, one, blocks)
    return y
