"""The parts of a block: linear and embedding layers, RMSNorm, rotary positions, attention, SwiGLU. HRM_SPEC 1.

Shapes: B batch, T positions (puzzle slots first, then cells), D hidden size, h heads, d = D / h.
Parameters are float32 and are cast to the dtype of the activations at use.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_sweep.config import swiglu_width

_CUT = 2.0  # standard deviations at which the normal is cut, before it is rescaled


def truncated_normal(*shape: int, std: float, generator: torch.Generator | None = None) -> Tensor:
    """Float32 samples of a normal cut at +-2 sigma and rescaled, so that their standard deviation is exactly `std`.

    This is what JAX's initialiser draws; torch.nn.init.trunc_normal_ does not rescale.
    """
    density_at_cut = math.exp(-(_CUT**2) / 2) / math.sqrt(2 * math.pi)
    mass_inside = math.erf(_CUT / math.sqrt(2))
    std_of_cut_normal = math.sqrt(1 - 2 * _CUT * density_at_cut / mass_inside)
    uniform = torch.rand(*shape, generator=generator, dtype=torch.float64)
    standard = math.sqrt(2) * torch.erfinv((2 * uniform - 1) * mass_inside)
    return (standard * (std / std_of_cut_normal)).float()


class Linear(nn.Module):
    """y = x W^T (+ b), with float32 parameters cast to the dtype of x. Weight (out, in): truncated LeCun normal."""

    def __init__(self, fan_in: int, fan_out: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal(fan_out, fan_in, std=fan_in**-0.5))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class Embedding(nn.Module):
    """A (rows, D) table looked up in `dtype`; standard deviation 1 / sqrt(D)."""

    def __init__(self, rows: int, hidden_size: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(truncated_normal(rows, hidden_size, std=hidden_size**-0.5))
        self.dtype = dtype

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.embedding_weight.to(self.dtype))


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last dimension, computed in float32, without a learned scale."""
    return F.rms_norm(x.float(), (x.shape[-1],), eps=eps).to(x.dtype)


class RotaryPositions(nn.Module):
    """cos and sin of theta^(-2i/d) t for positions t = 0..T-1, each frequency twice along d; not in the state dict."""

    cos: Tensor  # (T, d) float32
    sin: Tensor  # (T, d) float32, the first half negated: what rotate-half needs

    def __init__(self, positions: int, head_dim: int, theta: float) -> None:
        super().__init__()
        inverse_frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angle = torch.outer(torch.arange(positions, dtype=torch.float32), inverse_frequency)  # (T, d/2)
        self.register_buffer("cos", torch.cat([angle.cos(), angle.cos()], dim=-1), persistent=False)
        self.register_buffer("sin", torch.cat([-angle.sin(), angle.sin()], dim=-1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate q or k, (..., T, d): x * cos + (-x2, x1) * sin for the halves x1, x2; float32 inside."""
        swapped = x.float().roll(x.shape[-1] // 2, dims=-1)  # (x2, x1); the sign stands in `sin`
        return torch.addcmul(x.float() * self.cos, swapped, self.sin).to(x.dtype)


class Attention(nn.Module):
    """Non-causal self-attention without biases; qkv rows are laid out [all q heads, all k heads, all v heads]."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = Linear(hidden_size, 3 * hidden_size)
        self.o_proj = Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, rotary: RotaryPositions | None) -> Tensor:
        B, T, D = x.shape
        qkv = self.qkv_proj(x).view(B, T, 3 * self.num_heads, D // self.num_heads).transpose(1, 2)  # (B, 3h, T, d)
        if rotary is None:
            q, k, v = qkv.chunk(3, dim=1)  # each (B, h, T, d)
        else:
            q, k = rotary(qkv[:, : 2 * self.num_heads]).chunk(2, dim=1)
            v = qkv[:, 2 * self.num_heads :]
        # scaled_dot_product_attention wants (B, heads, T, d); with (B, T, heads, d) it would mix heads and still fit.
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(B, T, D))
        return out


class SwiGLU(nn.Module):
    """down(silu(gate) * up); one fused gate-up projection, the first half being the gate."""

    def __init__(self, hidden_size: int, expansion: float) -> None:
        super().__init__()
        inner = swiglu_width(hidden_size, expansion)
        self.gate_up_proj = Linear(hidden_size, 2 * inner)
        self.down_proj = Linear(inner, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        out: Tensor = self.down_proj(F.silu(gate) * up)
        return out
