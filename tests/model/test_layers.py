"""Initialisation, rotary positions, attention and SwiGLU against plain formulas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_sweep.config import swiglu_width
from hrm_sweep.evaluation.device import Device, attention_error
from hrm_sweep.model.layers import Attention, Linear, RotaryPositions, rms_norm, truncated_normal

CPU = Device(torch.device("cpu"), torch.float32)


def test_the_normal_is_cut_and_rescaled_to_exactly_the_wanted_deviation() -> None:
    generator = torch.Generator().manual_seed(0)
    sample = truncated_normal(1000, 1000, std=0.5, generator=generator)
    assert float(sample.std()) == pytest.approx(0.5, rel=2e-3)
    assert float(sample.mean()) == pytest.approx(0.0, abs=2e-3)
    # Cut at two sigma of the normal that was cut, which is 2.27 of what is left (HRM_SPEC 1).
    assert float(sample.abs().max()) / 0.5 == pytest.approx(2.2737, abs=1e-3)


def test_a_linear_layer_starts_as_lecun_normal() -> None:
    torch.manual_seed(0)
    layer = Linear(400, 600, bias=True)
    assert float(layer.weight.detach().std()) == pytest.approx(1 / math.sqrt(400), rel=1e-2)
    assert layer.bias is not None
    assert not layer.bias.any()


def test_parameters_stay_float32_and_are_cast_at_use() -> None:
    layer = Linear(8, 4)
    assert layer(torch.randn(3, 8, dtype=torch.bfloat16)).dtype is torch.bfloat16
    assert layer.weight.dtype is torch.float32


@settings(max_examples=25, deadline=None)
@given(heads=st.integers(1, 4), half=st.integers(1, 8), positions=st.integers(1, 20), seed=st.integers(0, 99))
def test_rotation_is_that_of_complex_numbers(heads: int, half: int, positions: int, seed: int) -> None:
    """Pairs (x_i, x_{i+d/2}) turn by t * theta^(-2i/d)."""
    x = torch.randn(2, heads, positions, 2 * half, generator=torch.Generator().manual_seed(seed))
    got = RotaryPositions(positions, 2 * half, 10000.0)(x)
    turn = torch.outer(torch.arange(positions).float(), 10000.0 ** (-torch.arange(half).float() / half))
    want = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(turn), turn)
    torch.testing.assert_close(got, torch.cat([want.real, want.imag], dim=-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch", "positions", "heads"), [(2, 17, 4), (3, 4, 4), (1, 82, 8)])
def test_attention_equals_naive_attention(batch: int, positions: int, heads: int) -> None:
    torch.manual_seed(0)
    D, d = 16 * heads, 16
    layer = Attention(D, heads)
    rotary = RotaryPositions(positions, d, 10000.0)
    x = torch.randn(batch, positions, D)
    q, k, v = (part.view(batch, positions, heads, d) for part in F.linear(x, layer.qkv_proj.weight).split(D, dim=-1))
    q, k = (rotary(part.transpose(1, 2)).transpose(1, 2) for part in (q, k))
    mixed = torch.zeros(batch, positions, heads, d)
    for head in range(heads):
        scores = torch.einsum("btd,bsd->bts", q[:, :, head], k[:, :, head]) / math.sqrt(d)
        mixed[:, :, head] = scores.softmax(dim=-1) @ v[:, :, head]
    want = F.linear(mixed.reshape(batch, positions, D), layer.o_proj.weight)
    torch.testing.assert_close(layer(x, rotary), want, rtol=1e-4, atol=1e-5)


def test_the_self_test_passes_here_and_fails_when_heads_and_positions_are_swapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert attention_error(CPU) < 1e-4
    real = F.scaled_dot_product_attention

    def swapped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (B, T, heads, d): attends over heads
        return real(q, k, v).transpose(1, 2)

    monkeypatch.setattr(F, "scaled_dot_product_attention", swapped)
    assert attention_error(CPU) > 1e-2


@pytest.mark.parametrize(
    ("hidden_size", "expansion", "width"),
    [(32, 4.0, 256), (64, 4.0, 256), (96, 4.0, 256), (128, 4.0, 512), (512, 4.0, 1536), (512, 2.0, 768)],
)
def test_swiglu_width_is_a_multiple_of_256(hidden_size: int, expansion: float, width: int) -> None:
    assert swiglu_width(hidden_size, expansion) == width


def test_rms_norm_has_unit_mean_square_in_the_dtype_of_its_input() -> None:
    x = 7 * torch.randn(4, 5, 64, dtype=torch.bfloat16)
    y = rms_norm(x, 1e-5)
    assert y.dtype is torch.bfloat16
    torch.testing.assert_close(y.float().square().mean(dim=-1), torch.ones(4, 5), rtol=2e-2, atol=0)
