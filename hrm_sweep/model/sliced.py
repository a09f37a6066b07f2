"""A reasoning module on a CPU in float32: what `block.py` defines, in slices of rows that stay in the cache.

Rows of a batch do not depend on each other, so all blocks are computed for some rows before the next rows are looked
at: activations of a whole batch would travel to memory and back between any two operations. Operations work in place,
rotation, scale and the order of heads are one multiplication, and the gradient is written out. `block.py` stays the
definition, and is what runs on any other device; `tests/model/test_sliced.py` holds the two together.

Shapes: N = rows * T positions of a slice, D hidden size, h heads, d = D / h, I inner width of SwiGLU.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_SLICE_BYTES, _SLICE_POSITIONS = 6 << 20, 640
"""A slice has activations of so many bytes a thread, which stay in the cache, but so many positions at least, or the
weights would come from memory too often. The optimum is broad (docs/performance.md)."""


@dataclass(frozen=True)
class Blocks:
    """What the blocks of one module share.

    turns (3, 1, 1, T, d / 2) complex: what q, k and v are multiplied by, as pairs of numbers: q is rotated and scaled,
    k rotated, v left alone.
    """

    num_heads: int
    eps: float
    turns: Tensor

    @property
    def turns_back(self) -> Tensor:
        """What the gradients by q, k and v are multiplied by."""
        return self.turns.conj().resolve_conj()


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
    rotated: Tensor  # (3, rows, h, T, d / 2) complex
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
    return max(-(-_SLICE_POSITIONS // positions), torch.get_num_threads() * _SLICE_BYTES // bytes_of_a_row)


def slices(rows: int, size: int) -> Iterator[slice]:
    """Slices of `rows` rows, of at most `size`: all of one length, for which there is one room, but the last."""
    length = -(-rows // -(-rows // size))
    return (slice(start, min(start + length, rows)) for start in range(0, rows, length))


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


class _Room:
    """Memory for what one slice computes on its way, used again for the next slice, block and step: it stays cached."""

    def __init__(self, rows: int, positions: int, num_heads: int, hidden_size: int, inner: int) -> None:
        h, d = num_heads, hidden_size // num_heads
        self.projected = torch.empty(rows * positions, 3 * hidden_size)
        as_pairs = torch.view_as_complex(self.projected.view(rows, positions, 3, h, d // 2, 2))
        self.pairs = as_pairs.permute(2, 0, 3, 1, 4)  # (3, rows, h, T, d / 2) complex, of `projected`
        self.rotated = torch.empty(self.pairs.shape, dtype=self.pairs.dtype)
        self.attention = torch.empty(rows * h, positions, positions)
        self.heads = torch.empty(rows * h, positions, d)
        self.mixed = torch.empty(rows * positions, hidden_size)
        self.gate_up = torch.empty(rows * positions, 2 * inner)
        self.product = torch.empty(rows * positions, inner)
        self.scale = torch.empty(rows * positions, 1)
        self.mixed_by_head = self.mixed.view(rows, positions, h, d).transpose(1, 2)  # (rows, h, T, d) of `mixed`
        self.heads_by_row = self.heads.view(rows, h, positions, d)


@lru_cache(maxsize=8)
def _room(thread: int, rows: int, positions: int, num_heads: int, hidden_size: int, inner: int) -> _Room:
    return _Room(rows, positions, num_heads, hidden_size, inner)


def _own_room(rows: int, blocks: Blocks, weights: BlockWeights) -> _Room:
    """The room of this thread for slices of so many rows."""
    positions, (hidden_size, inner) = blocks.turns.shape[-2], weights.down.shape
    return _room(threading.get_ident(), rows, positions, blocks.num_heads, hidden_size, inner)


def _norm(x: Tensor, eps: float, scale: Tensor) -> None:
    """x (N, D) <- x * scale, in place, with the scale 1 / sqrt(mean(x^2) + eps), (N, 1), left in `scale`."""
    torch.linalg.vector_norm(x, dim=-1, keepdim=True, out=scale)
    x.mul_(scale.square_().div_(x.shape[-1]).add_(eps).rsqrt_())


def _heads(rotated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v, each (rows * h, T, d), of complex (3, rows, h, T, d / 2)."""
    T, half = rotated.shape[-2:]
    q, k, v = torch.view_as_real(rotated).view(3, -1, T, 2 * half)
    return q, k, v


def _attend(x: Tensor, weights: BlockWeights, blocks: Blocks, room: _Room, rotated: Tensor, attention: Tensor) -> None:
    """Put the attention of x (N, D), before its last projection, into `room.mixed`; fill `rotated` and `attention`."""
    torch.mm(x, weights.qkv.t(), out=room.projected)
    torch.mul(room.pairs, blocks.turns, out=rotated)
    q, k, v = _heads(rotated)
    torch.bmm(q, k.transpose(1, 2), out=attention)
    torch.softmax(attention, dim=-1, out=attention)
    torch.bmm(attention, v, out=room.heads)
    room.mixed_by_head.copy_(room.heads_by_row)


def _feed(x: Tensor, weights: BlockWeights, room: _Room, gate_up: Tensor, silu: Tensor) -> Tensor:
    """silu(gate) * up (N, I) of x (N, D), before the last projection; fill `gate_up` and `silu`."""
    torch.mm(x, weights.gate_up.t(), out=gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    torch.ops.aten.silu.out(gate, out=silu)
    return torch.mul(silu, up, out=room.product)


def _block(x: Tensor, weights: BlockWeights, blocks: Blocks, room: _Room) -> None:
    """Replace x (N, D) by what the block makes of it."""
    _attend(x, weights, blocks, room, room.rotated, room.attention)
    x.addmm_(room.mixed, weights.out.t())
    _norm(x, blocks.eps, room.scale)
    x.addmm_(_feed(x, weights, room, room.gate_up, room.product), weights.down.t())
    _norm(x, blocks.eps, room.scale)


def _first_of_block(x: Tensor, rows: int, weights: BlockWeights, blocks: Blocks) -> Tensor:
    """The first position (rows, D) of what the block makes of x (N, D): of the others it takes keys and values."""
    D, h = x.shape[1], blocks.num_heads
    T, half = blocks.turns.shape[-2:]
    first = x.view(rows, T, D)[:, 0]
    q = (
        torch.view_as_complex(torch.mm(first, weights.qkv[:D].t()).view(rows, h, 1, half, 2))
        * blocks.turns[0, :, :, :1]
    )
    pairs = torch.view_as_complex(torch.mm(x, weights.qkv[D:].t()).view(rows, T, 2, h, half, 2))
    k, v = torch.view_as_real(pairs.permute(2, 0, 3, 1, 4) * blocks.turns[1:]).reshape(2, rows * h, T, 2 * half)
    attention = torch.bmm(torch.view_as_real(q).view(rows * h, 1, 2 * half), k.transpose(1, 2)).softmax(dim=-1)
    y = torch.addmm(first, torch.bmm(attention, v).view(rows, D), weights.out.t())
    scale = torch.empty(rows, 1)
    _norm(y, blocks.eps, scale)
    gate, up = torch.mm(y, weights.gate_up.t()).chunk(2, dim=-1)
    y.addmm_(F.silu(gate).mul_(up), weights.down.t())
    _norm(y, blocks.eps, scale)
    return y


def _kept_block(x: Tensor, weights: BlockWeights, blocks: Blocks, room: _Room) -> Kept:
    """The same, out of place, with all that the gradient needs; its `y` is the result."""
    rotated, attention = torch.empty_like(room.rotated), torch.empty_like(room.attention)
    _attend(x, weights, blocks, room, rotated, attention)
    mixed = room.mixed.clone()
    middle = torch.addmm(x, mixed, weights.out.t())
    scale, second_scale = torch.empty(2, *room.scale.shape)
    _norm(middle, blocks.eps, scale)
    gate_up, silu = torch.empty_like(room.gate_up), torch.empty_like(room.product)
    y = torch.addmm(middle, _feed(middle, weights, room, gate_up, silu), weights.down.t())
    _norm(y, blocks.eps, second_scale)
    return Kept(x, rotated, attention, mixed, scale, middle, gate_up, silu, second_scale, y)


def _norm_gradient(g: Tensor, y: Tensor, scale: Tensor, room: _Room) -> None:
    """In place, the gradient by x of that by y = x * scale(x): scale * (g - y mean(g y))."""
    torch.mul(g, y, out=room.mixed)
    torch.sum(room.mixed, dim=-1, keepdim=True, out=room.scale)
    g.addcmul_(y, room.scale, value=-1 / y.shape[-1]).mul_(scale)


def _block_gradient(
    g: Tensor, kept: Kept, weights: BlockWeights, sums: BlockWeights, blocks: Blocks, room: _Room
) -> None:
    """Replace g (N, D), the gradient by y, by that by x, and add those by the weights to `sums`."""
    _norm_gradient(g, kept.y, kept.second_scale, room)
    _feed_gradient(g, kept, weights, sums, room)
    _norm_gradient(g, kept.middle, kept.scale, room)
    _attention_gradient(g, kept, weights, sums, blocks, room)


def _feed_gradient(g: Tensor, kept: Kept, weights: BlockWeights, sums: BlockWeights, room: _Room) -> None:
    gate, up = kept.gate_up.chunk(2, dim=-1)
    sums.down.addmm_(g.t(), torch.mul(kept.silu, up, out=room.product))
    by_product = torch.mm(g, weights.down, out=room.product)
    by_gate, by_up = room.gate_up.chunk(2, dim=-1)
    torch.mul(by_product, kept.silu, out=by_up)
    torch.ops.aten.silu_backward.grad_input(by_product.mul_(up), gate, grad_input=by_gate)
    sums.gate_up.addmm_(room.gate_up.t(), kept.middle)
    g.addmm_(room.gate_up, weights.gate_up)


def _attention_gradient(
    g: Tensor, kept: Kept, weights: BlockWeights, sums: BlockWeights, blocks: Blocks, room: _Room
) -> None:
    sums.out.addmm_(g.t(), kept.mixed)
    torch.mm(g, weights.out, out=room.mixed)
    room.heads_by_row.copy_(room.mixed_by_head)
    q, k, v = _heads(kept.rotated)
    by_q, by_k, by_v = _heads(room.rotated)
    torch.bmm(kept.attention.transpose(1, 2), room.heads, out=by_v)
    by_attention = torch.bmm(room.heads, v.transpose(1, 2), out=room.attention)
    by_scores = torch._softmax_backward_data(by_attention, kept.attention, -1, torch.float32)
    torch.bmm(by_scores, k, out=by_q)
    torch.bmm(by_scores.transpose(1, 2), q, out=by_k)
    torch.mul(room.rotated, blocks.turns_back, out=room.pairs)
    sums.qkv.addmm_(room.projected.t(), kept.x)
    g.addmm_(room.projected, weights.qkv)


class _Learning(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, injection: Tensor, blocks: Blocks, *tensors: Tensor) -> Tensor:
        weights = _weights(tensors, blocks.num_heads)
        rows, _, D = z.shape
        y = torch.empty(z.shape)
        ctx.slices = []
        for part in slices(rows, _rows(z, weights)):
            x = (z[part] + injection[part]).reshape(-1, D)
            room = _own_room(part.stop - part.start, blocks, weights[0])
            kept = []
            for one in weights:
                kept.append(_kept_block(x, one, blocks, room))
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
            room = _own_room(part.stop - part.start, blocks, weights[0])
            for one, one_kept, one_sum in zip(reversed(weights), reversed(kept), reversed(sums), strict=True):
                _block_gradient(g, one_kept, one, one_sum, blocks, room)
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
    y = torch.empty(z.shape)
    for part in slices(len(y), _rows(z, weights)):
        torch.add(z[part], injection[part], out=y[part])
        _run(y[part], weights, blocks)
    return y


def inferring_first(z: Tensor, injection: Tensor, blocks: Blocks, tensors: Sequence[Tensor]) -> Tensor:
    """The first position, (B, 1, D), of the same."""
    weights = _weights(tensors, blocks.num_heads)
    firsts = []
    for part in slices(len(z), _rows(z, weights)):
        x = _run((z[part] + injection[part]).contiguous(), weights[:-1], blocks)
        firsts.append(_first_of_block(x, part.stop - part.start, weights[-1], blocks))
    return torch.cat(firsts).unsqueeze(1)


def _run(y: Tensor, weights: list[BlockWeights], blocks: Blocks) -> Tensor:
    """Replace y (rows, T, D) by what the blocks make of it; the same as (N, D)."""
    x = y.view(-1, y.shape[-1])
    for one in weights:
        _block(x, one, blocks, _own_room(len(y), blocks, one))
    return x
