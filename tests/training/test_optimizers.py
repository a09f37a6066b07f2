"""The optimizers against their formulas, written out element by element."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_sweep.config.schedule import learning_rate
from hrm_sweep.training.optimizers import AdamATan2, sign_sgd_step


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), steps=st.integers(1, 6), decay=st.sampled_from([0.0, 0.1, 1.0]))
def test_adam_atan2_follows_its_formula(seed: int, steps: int, decay: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(3, generator=generator, dtype=torch.float64)
    optimizer = AdamATan2([w.clone()], decay, 0.9, 0.95)
    m, v = [0.0] * 3, [0.0] * 3
    want = w.tolist()
    for t in range(1, steps + 1):
        g = torch.randn(3, generator=generator, dtype=torch.float64) * 10.0 ** float(seed % 7 - 3)
        optimizer.parameters[0].grad = g
        optimizer.step(0.01)
        for i in range(3):
            m[i] = 0.9 * m[i] + 0.1 * float(g[i])
            v[i] = 0.95 * v[i] + 0.05 * float(g[i]) ** 2
            want[i] *= 1 - 0.01 * decay
            want[i] -= 0.01 / (1 - 0.9**t) * math.atan2(m[i], math.sqrt(v[i] / (1 - 0.95**t)))
    assert optimizer.parameters[0].tolist() == pytest.approx(want, rel=1e-9)


def test_a_parameter_without_gradient_only_decays() -> None:
    w = torch.ones(2)
    AdamATan2([w], 0.5, 0.9, 0.95).step(0.1)
    assert w.tolist() == pytest.approx([0.95, 0.95])


def test_sign_sgd_sums_equal_identifiers_and_leaves_the_others_alone() -> None:
    table = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    gradient = torch.tensor([[3.0, -1.0], [-1.0, -1.0], [5.0, 0.0]])
    visited = sign_sgd_step(table, torch.tensor([2, 2, 0]), gradient, lr=0.1, weight_decay=0.5)
    assert visited.tolist() == [0, 2]
    torch.testing.assert_close(table, torch.tensor([[0.85, 0.95], [1.0, 1.0], [0.85, 1.05]]))


def test_the_schedule_warms_up_and_then_falls_to_its_floor() -> None:
    def at(step: int) -> float:
        return learning_rate(2.0, step, total_steps=100, warmup_steps=10, min_ratio=0.1)

    assert at(1) == pytest.approx(0.2)
    assert at(10) == pytest.approx(2.0)
    assert at(55) == pytest.approx(2.0 * 0.55)
    assert at(100) == pytest.approx(0.2)
