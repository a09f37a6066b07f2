"""The slices of rows compute what the blocks define, and its gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hrm_sweep.config import ArchConfig
from hrm_sweep.model import sliced
from hrm_sweep.model.block import ReasoningModule
from hrm_sweep.model.layers import RotaryPositions


def module(layers: int, heads: int, head_dim: int) -> ReasoningModule:
    torch.manual_seed(layers + heads)
    arch = ArchConfig(hidden_size=heads * head_dim, num_heads=heads, forward_dtype="float32")
    return ReasoningModule(arch, layers)


def result_and_gradients(
    blocks: ReasoningModule, z: Tensor, injection: Tensor, rotary: RotaryPositions | None
) -> list[Tensor]:
    """y, then the gradient of a fixed weighted sum of y by z, injection and every weight."""
    z, injection = z.clone().requires_grad_(), injection.clone().requires_grad_()
    y = blocks(z, injection, rotary)
    weighted = (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum()
    return [y.detach(), *torch.autograd.grad(weighted, [z, injection, *blocks.parameters()])]


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 7),
    positions=st.integers(1, 19),
    layers=st.integers(1, 3),
    heads=st.integers(1, 4),
    head_dim=st.sampled_from([2, 8, 16]),
    rows_at_once=st.integers(1, 8),
    rotates=st.booleans(),
    contiguous=st.booleans(),
)
def test_slices_are_the_blocks(
    rows: int,
    positions: int,
    layers: int,
    heads: int,
    head_dim: int,
    rows_at_once: int,
    rotates: bool,
    contiguous: bool,
) -> None:
    blocks = module(layers, heads, head_dim)
    D = heads * head_dim
    rotary = RotaryPositions(positions, head_dim, blocks.arch.rope_theta) if rotates else None
    z, injection = torch.randn(2, rows, positions, D)
    if not contiguous:
        z = torch.randn(rows, D, positions).transpose(1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sliced, "rows_in_cache", lambda *_: rows_at_once)
        got = result_and_gradients(blocks, z, injection, rotary)
        with torch.no_grad():
            inferred = blocks(z, injection, rotary)
        first = blocks.first_position(z, injection, rotary)
    blocks.is_sliced = False
    want = result_and_gradients(blocks, z, injection, rotary)
    torch.testing.assert_close(inferred, want[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(first, want[0][:, :1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(blocks.first_position(z, injection, rotary), want[0][:, :1])
    for mine, defined in zip(got, want, strict=True):
        scale = max(1.0, float(defined.abs().max()))
        torch.testing.assert_close(mine / scale, defined / scale, rtol=1e-4, atol=1e-5)


def test_a_gradient_is_taken_once_and_then_the_activations_are_gone() -> None:
    blocks = module(layers=1, heads=2, head_dim=8)
    y = blocks(torch.randn(2, 5, 16), torch.randn(2, 5, 16), None).sum()
    y.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="its gradient was taken before"):
        y.backward()


def test_a_slice_has_at_least_one_row_and_slices_cover_all_rows() -> None:
    assert sliced.rows_in_cache(positions=10_000, hidden_size=512, inner=1536) == 1
    for rows in range(1, 20):
        for size in range(1, 25):
            parts = list(sliced.slices(rows, size))
            assert [row for part in parts for row in range(part.start, part.stop)] == list(range(rows))
            lengths = [part.stop - part.start for part in parts]
            assert max(lengths) <= size
            assert len(set(lengths[:-1])) <= 1


def test_in_bfloat16_the_blocks_themselves_are_run() -> None:
    blocks = module(layers=1, heads=2, head_dim=8)
    z = torch.randn(2, 5, 16, dtype=torch.bfloat16)
    assert blocks(z, z, None).dtype is torch.bfloat16
