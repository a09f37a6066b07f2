"""A post-norm transformer block, and the stack of blocks that both the H and the L module are. HRM_SPEC 1."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from hrm_sweep.config import ArchConfig, swiglu_width
from hrm_sweep.model import sliced, sliced_gradient
from hrm_sweep.model.compiled import Compiled
from hrm_sweep.model.layers import Attention, RotaryPositions, SwiGLU, rms_norm


class Block(nn.Module):
    """x <- RMSNorm(x + Attention(x)); x <- RMSNorm(x + SwiGLU(x)). (B, T, D) to (B, T, D)."""

    def __init__(self, arch: ArchConfig) -> None:
        super().__init__()
        self.self_attn = Attention(arch.hidden_size, arch.num_heads)
        self.mlp = SwiGLU(arch.hidden_size, arch.expansion)
        self.eps = arch.rms_norm_eps

    def forward(self, x: Tensor, rotary: RotaryPositions | None) -> Tensor:
        x = rms_norm(x + self.self_attn(x, rotary), self.eps)
        return rms_norm(x + self.mlp(x), self.eps)

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """qkv (3D, D), o (D, D), gate_up (2I, D), down (D, I)."""
        attention, mlp = self.self_attn, self.mlp
        return attention.qkv_proj.weight, attention.o_proj.weight, mlp.gate_up_proj.weight, mlp.down_proj.weight


class ReasoningModule(nn.Module):
    """f(z, injection) = blocks(z + injection).

    On a CPU in float32 `sliced.py` computes it, where `is_sliced` allows that: whoever changes what a block does has to
    switch it off.
    """

    is_sliced = True
    compiled: Compiled | None = None
    """Where it is there, it computes the calls without a gradient that are large enough for it."""

    def __init__(self, arch: ArchConfig, layers: int) -> None:
        super().__init__()
        self.arch = arch
        self.layers = nn.ModuleList(Block(arch) for _ in range(layers))

    def forward(self, z: Tensor, injection: Tensor, rotary: RotaryPositions | None) -> Tensor:
        if self.compiled is not None and not torch.is_grad_enabled() and self.compiled.fits(z):
            return self.compiled(z, injection, self._weights())
        if self._in_slices(z):
            call = sliced_gradient.learning if torch.is_grad_enabled() else sliced.inferring
            return call(z, injection, self._shared(z, rotary), self._weights())
        z = z + injection
        for block in self.layers:
            z = block(z, rotary)
        return z

    @property
    def inner_width(self) -> int:
        """Of SwiGLU."""
        return swiglu_width(self.arch.hidden_size, self.arch.expansion)

    def first_position(self, z: Tensor, injection: Tensor, rotary: RotaryPositions | None) -> Tensor:
        """What `forward` gives for the first position, (B, 1, D), without a gradient."""
        with torch.no_grad():
            if self._in_slices(z):
                return sliced.inferring_first(z, injection, self._shared(z, rotary), self._weights())
            return self(z, injection, rotary)[:, :1]  # type: ignore[no-any-return]

    def _in_slices(self, z: Tensor) -> bool:
        return self.is_sliced and z.device.type == "cpu" and z.dtype is torch.float32

    def _weights(self) -> list[Tensor]:
        return [weight for block in self.layers for weight in cast(Block, block).weights()]

    def _shared(self, z: Tensor, rotary: RotaryPositions | None) -> sliced.Blocks:
        arch = self.arch
        theta = None if rotary is None else arch.rope_theta
        turns = sliced.turns(z.shape[1], arch.hidden_size // arch.num_heads, theta)
        return sliced.Blocks(arch.num_heads, arch.rms_norm_eps, turns)
