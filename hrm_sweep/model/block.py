"""A post-norm transformer block, and the stack of blocks that both the H and the L module are. HRM_SPEC 1."""

from __future__ import annotations

from torch import Tensor, nn

from hrm_sweep.config import ArchConfig
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


class ReasoningModule(nn.Module):
    """f(z, injection) = blocks(z + injection)."""

    def __init__(self, arch: ArchConfig, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(arch) for _ in range(layers))

    def forward(self, z: Tensor, injection: Tensor, rotary: RotaryPositions | None) -> Tensor:
        z = z + injection
        for block in self.layers:
            z = block(z, rotary)
        return z
