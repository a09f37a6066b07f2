"""Swapped attention is what it says, and is gone afterwards."""

from __future__ import annotations

import torch

from hrm_sweep.evaluation.attention_layout import swapped_attention
from hrm_sweep.model.layers import Attention


def test_a_cell_sees_itself_only_and_afterwards_everything_again() -> None:
    torch.manual_seed(0)
    layer = Attention(hidden_size=8, num_heads=2)
    x = torch.randn(1, 3, 8)
    elsewhere = x.clone()
    elsewhere[:, 2] += 1.0
    before = layer(x, None)
    with swapped_attention(layer):
        assert torch.equal(layer(x, None)[:, 0], layer(elsewhere, None)[:, 0])
        assert not torch.allclose(layer(x, None), before)
    assert torch.equal(layer(x, None), before)
    assert not torch.allclose(layer(elsewhere, None)[:, 0], before[:, 0])
