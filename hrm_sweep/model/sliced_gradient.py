"""The gradient of a reasoning module on a CPU, slice by slice, written out. Shapes as in `sliced.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_sweep.model import sliced
from hrm_sweep.model.sliced import Blocks, BlockWeights, Room


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


def _kept_block(x: Tensor, weights: BlockWeights, blocks: Blocks, room: Room) -> Kept:
    """The same, out of place, with all that the gradient needs; its `y` is the result."""
    rotated, attention = torch.empty_like(room.rotated), torch.empty_like(room.attention)
    sliced.attend(x, weights, blocks, room, rotated, attention)
    mixed = room.mixed.clone()
    middle = torch.addmm(x, mixed, weights.out.t())
    scale, second_scale = torch.empty(2, *room.scale.shape)
    sliced.norm(middle, blocks.eps, scale)
    gate_up, silu = torch.empty_like(room.gate_up), torch.empty_like(room.product)
    y = torch.addmm(middle, sliced.feed(middle, weights, room, gate_up, silu), weights.down.t())
    sliced.norm(y, blocks.eps, second_scale)
    return Kept(x, rotated, attention, mixed, scale, middle, gate_up, silu, second_scale, y)


def _norm_gradient(g: Tensor, y: Tensor, scale: Tensor, room: Room) -> None:
    """In place, the gradient by x of that by y = x * scale(x): scale * (g - y mean(g y))."""
    torch.mul(g, y, out=room.mixed)
    torch.sum(room.mixed, dim=-1, keepdim=True, out=room.scale)
    g.addcmul_(y, room.scale, value=-1 / y.shape[-1]).mul_(scale)


def _block_gradient(
    g: Tensor, kept: Kept, weights: BlockWeights, sums: BlockWeights, blocks: Blocks, room: Room
) -> None:
    """Replace g (N, D), the gradient by y, by that by x, and add those by the weights to `sums`."""
    _norm_gradient(g, kept.y, kept.second_scale, room)
    _feed_gradient(g, kept, weights, sums, room)
    _norm_gradient(g, kept.middle, kept.scale, room)
    _attention_gradient(g, kept, weights, sums, blocks, room)


def _feed_gradient(g: Tensor, kept: Kept, weights: BlockWeights, sums: BlockWeights, room: Room) -> None:
    gate, up = kept.gate_up.chunk(2, dim=-1)
    sums.down.addmm_(g.t(), torch.mul(kept.silu, up, out=room.product))
    by_product = torch.mm(g, weights.down, out=room.product)
    by_gate, by_up = room.gate_up.chunk(2, dim=-1)
    torch.mul(by_product, kept.silu, out=by_up)
    torch.ops.aten.silu_backward.grad_input(by_product.mul_(up), gate, grad_input=by_gate)
    sums.gate_up.addmm_(room.gate_up.t(), kept.middle)
    g.addmm_(room.gate_up, weights.gate_up)


def _attention_gradient(
    g: Tensor, kept: Kept, weights: BlockWeights, sums: BlockWeights, blocks: Blocks, room: Room
) -> None:
    sums.out.addmm_(g.t(), kept.mixed)
    torch.mm(g, weights.out, out=room.mixed)
    room.heads_by_row.copy_(room.mixed_by_head)
    q, k, v = sliced.heads_of(kept.rotated)
    by_q, by_k, by_v = sliced.heads_of(room.rotated)
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
        weights = sliced.weights_of(tensors, blocks.num_heads)
        rows, _, D = z.shape
        y = torch.empty(z.shape)
        ctx.slices = []
        for part in sliced.slices(rows, sliced.rows_of(z, weights)):
            x = (z[part] + injection[part]).reshape(-1, D)
            room = sliced.own_room(part.stop - part.start, blocks, weights[0])
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
            room = sliced.own_room(part.stop - part.start, blocks, weights[0])
            for one, one_kept, one_sum in zip(reversed(weights), reversed(kept), reversed(sums), strict=True):
                _block_gradient(g, one_kept, one, one_sum, blocks, room)
        by_weights = (
            tensor
            for one in sums
            for tensor in (sliced.unpaired(one.qkv, blocks.num_heads), one.out, one.gate_up, one.down)
        )
        return by_x, by_x, None, *by_weights


def learning(z: Tensor, injection: Tensor, blocks: Blocks, tensors: Sequence[Tensor]) -> Tensor:
    """blocks(z + injection), (B, T, D), with a gradient. `tensors` as `sliced.inferring` takes them."""
    y: Tensor = _Learning.apply(z, injection, blocks, *tensors)  # type: ignore[no-untyped-call]
    return y
