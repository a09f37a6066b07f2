"""A reasoning module on a CPU in float32: what `block.py` defines, in slices of rows that stay in the cache.

Rows of a batch do not depend on each other, so all blocks are computed for some rows before the next rows are looked
at: activations of a whole batch would travel to memory and back between any two operations. Operations work in place,
rotation, scale and the order of heads are one multiplication; `sliced_gradient.py` has the gradient, written out.
`block.py` stays the definition, and is what runs on any other device; `tests/model/test_sliced.py` holds them together.

Shapes: N = rows * T positions of a slice, D hidden size, h heads, d = D / h, I inner width of SwiGLU.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

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


def unpaired(qkv: Tensor, num_heads: int) -> Tensor:
    """The inverse of `_paired`."""
    D = qkv.shape[1]
    q_and_k = qkv[: 2 * D].view(2 * num_heads, -1, 2, D).transpose(1, 2).reshape(2 * D, D)
    return torch.cat([q_and_k, qkv[2 * D :]])


def weights_of(tensors: Sequence[Tensor], num_heads: int) -> list[BlockWeights]:
    blocks = zip(*(tensors[i::4] for i in range(4)), strict=True)
    return [BlockWeights(_paired(qkv, num_heads), out, gate_up, down) for qkv, out, gate_up, down in blocks]


class Room:
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
def _room(thread: int, rows: int, positions: int, num_heads: int, hidden_size: int, inner: int) -> Room:
    return Room(rows, positions, num_heads, hidden_size, inner)


def own_room(rows: int, blocks: Blocks, weights: BlockWeights) -> Room:
    """The room of this thread for slices of so many rows."""
    positions, (hidden_size, inner) = blocks.turns.shape[-2], weights.down.shape
    return _room(threading.get_ident(), rows, positions, blocks.num_heads, hidden_size, inner)


def norm(x: Tensor, eps: float, scale: Tensor) -> None:
    """x (N, D) <- x * scale, in place, with the scale 1 / sqrt(mean(x^2) + eps), (N, 1), left in `scale`."""
    torch.linalg.vector_norm(x, dim=-1, keepdim=True, out=scale)
    x.mul_(scale.square_().div_(x.shape[-1]).add_(eps).rsqrt_())


def heads_of(rotated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v, each (rows * h, T, d), of complex (3, rows, h, T, d / 2)."""
    T, half = rotated.shape[-2:]
    q, k, v = torch.view_as_real(rotated).view(3, -1, T, 2 * half)
    return q, k, v


def attend(x: Tensor, weights: BlockWeights, blocks: Blocks, room: Room, rotated: Tensor, attention: Tensor) -> None:
    """Put the attention of x (N, D), before its last projection, into `room.mixed`; fill `rotated` and `attention`."""
    torch.mm(x, weights.qkv.t(), out=room.projected)
    torch.mul(room.pairs, blocks.turns, out=rotated)
    q, k, v = heads_of(rotated)
    torch.bmm(q, k.transpose(1, 2), out=attention)
    torch.softmax(attention, dim=-1, out=attention)
    torch.bmm(attention, v, out=room.heads)
    room.mixed_by_head.copy_(room.heads_by_row)


def feed(x: Tensor, weights: BlockWeights, room: Room, gate_up: Tensor, silu: Tensor) -> Tensor:
    """silu(gate) * up (N, I) of x (N, D), before the last projection; fill `gate_up` and `silu`."""
    torch.mm(x, weights.gate_up.t(), out=gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    torch.ops.aten.silu.out(gate, out=silu)
    return torch.mul(silu, up, out=room.product)


def _block(x: Tensor, weights: BlockWeights, blocks: Blocks, room: Room) -> None:
    """Replace x (N, D) by what the block makes of it."""
    attend(x, weights, blocks, room, room.rotated, room.attention)
    x.addmm_(room.mixed, weights.out.t())
    norm(x, blocks.eps, room.scale)
    x.addmm_(feed(x, weights, room, room.gate_up, room.product), weights.down.t())
    norm(x, blocks.eps, room.scale)


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
    norm(y, blocks.eps, scale)
    gate, up = torch.mm(y, weights.gate_up.t()).chunk(2, dim=-1)
    y.addmm_(F.silu(gate).mul_(up), weights.down.t())
    norm(y, blocks.eps, scale)
    return y


def rows_of(z: Tensor, weights: list[BlockWeights]) -> int:
    return rows_in_cache(z.shape[1], z.shape[2], weights[0].down.shape[1])


def inferring(z: Tensor, injection: Tensor, blocks: Blocks, tensors: Sequence[Tensor]) -> Tensor:
    """blocks(z + injection), (B, T, D), without a gradient. `tensors` are the four weights of each block in turn."""
    weights = weights_of(tensors, blocks.num_heads)
    y = torch.empty(z.shape)
    for part in slices(len(y), rows_of(z, weights)):
        torch.add(z[part], injection[part], out=y[part])
        _run(y[part], weights, blocks)
    return y


def inferring_first(z: Tensor, injection: Tensor, blocks: Blocks, tensors: Sequence[Tensor]) -> Tensor:
    """The first position, (B, 1, D), of the same."""
    weights = weights_of(tensors, blocks.num_heads)
    firsts = []
    for part in slices(len(z), rows_of(z, weights)):
        x = _run((z[part] + injection[part]).contiguous(), weights[:-1], blocks)
        firsts.append(_first_of_block(x, part.stop - part.start, weights[-1], blocks))
    return torch.cat(firsts).unsqueeze(1)


def _run(y: Tensor, weights: list[BlockWeights], blocks: Blocks) -> Tensor:
    """Replace y (rows, T, D) by what the blocks make of it; the same as (N, D)."""
    x = y.view(-1, y.shape[-1])
    for one in weights:
        _block(x, one, blocks, own_room(len(y), blocks, one))
    return x
