"""Attention with heads and positions swapped: what a port computes that forgets to transpose."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from hrm_sweep.model.block import ReasoningModule
from hrm_sweep.model.layers import Attention, RotaryPositions


@contextlib.contextmanager
def swapped_attention(model: nn.Module) -> Iterator[None]:
    """Inside, every attention of `model` hands (B, T, heads, d) to a kernel that wants (B, heads, T, d).

    Each cell then sees the other heads of itself instead of the other cells. A checkpoint that does better so than with
    real attention was trained so.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, Attention)]
    modules = [module for module in model.modules() if isinstance(module, ReasoningModule)]
    for layer in layers:
        layer.forward = partial(attention_over_heads, layer)  # type: ignore[method-assign]
    compiled = [module.compiled for module in modules]
    for module in modules:
        module.is_sliced, module.compiled = False, None
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
        for module, before in zip(modules, compiled, strict=True):
            del module.is_sliced
            module.compiled = before


def attention_over_heads(layer: Attention, x: Tensor, rotary: RotaryPositions | None) -> Tensor:
    """What `Attention.forward` computes when the axes of heads and positions are mixed up: (B, T, D) as before."""
    B, T, D = x.shape
    q, k, v = layer.qkv_proj(x).view(B, T, 3, layer.num_heads, D // layer.num_heads).unbind(2)  # each (B, T, h, d)
    if rotary is not None:
        q, k = (rotary(part.transpose(1, 2)).transpose(1, 2) for part in (q, k))
    out: Tensor = layer.o_proj(F.scaled_dot_product_attention(q, k, v).reshape(B, T, D))
    return out
