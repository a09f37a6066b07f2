"""Properties of the model that the parity cases do not show: size, exploration, slots, evaluation."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_sweep.config import ArchConfig, load_config
from hrm_sweep.model.hrm import HRM, DataShape, Rows
from hrm_sweep.model.losses import act_loss, softmax_cross_entropy, stablemax_cross_entropy

SHAPE = DataShape(vocab_size=6, seq_len=16, num_puzzle_identifiers=3)


def small(**arch: object) -> HRM:
    torch.manual_seed(0)
    values = {"hidden_size": 16, "num_heads": 2, "H_layers": 1, "L_layers": 1, "forward_dtype": "float32", **arch}
    return HRM(ArchConfig.model_validate(values), SHAPE)


def some_rows(batch: int, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, 6, (batch, 16), generator=generator, dtype=torch.int32)
    blank = torch.rand(batch, 16, generator=generator) < 0.5
    identifiers = torch.randint(0, 3, (batch,), generator=generator, dtype=torch.int32)
    return Rows(torch.where(blank, 1, labels), labels, identifiers)


def test_hrm_v1_has_the_published_number_of_parameters() -> None:
    model = HRM(load_config("hrm_v1").arch, DataShape(vocab_size=11, seq_len=81, num_puzzle_identifiers=1))
    assert sum(parameter.numel() for parameter in model.parameters()) == 27_275_266  # hrm-facts 5


def test_nothing_halts_before_the_last_step_at_first() -> None:
    """Both Q values start at -5, and a tie means "go on"."""
    model = small(halt_max_steps=4, halt_exploration_prob=0.0)
    rows = some_rows(8)
    carry = model.initial_carry(rows)
    for step in range(1, 9):
        carry, output = model.train_step(carry, rows)
        assert output.q_halt.tolist() == [-5.0] * 8
        assert carry.halted.tolist() == [step % 4 == 0] * 8


@settings(max_examples=20, deadline=None)
@given(limit=st.integers(2, 6), probability=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 1000))
def test_exploration_delays_halting_but_never_past_the_limit(limit: int, probability: float, seed: int) -> None:
    model = small(halt_max_steps=limit, halt_exploration_prob=probability)
    with torch.no_grad():
        model.inner.q_head.bias.copy_(torch.tensor([5.0, -5.0]))  # always wants to halt
    rows = some_rows(8)
    carry, generator = model.initial_carry(rows), torch.Generator().manual_seed(seed)
    for _ in range(3 * limit):
        carry, _ = model.train_step(carry, rows, model.explore(8, generator))
        assert int(carry.steps.max()) <= limit
        assert bool(carry.halted[carry.steps == limit].all())
        if probability == 1.0:
            assert bool((carry.steps[carry.halted] >= 2).all())
        if probability == 0.0:
            assert bool(carry.halted.all())


def test_a_slot_keeps_its_puzzle_until_it_halts() -> None:
    model = small(halt_max_steps=3, halt_exploration_prob=0.0)
    first, second = some_rows(4, seed=1), some_rows(4, seed=2)
    carry, _ = model.train_step(model.initial_carry(first), first)
    carry = dataclasses.replace(carry, halted=torch.tensor([True, False, False, True]))
    carry, _ = model.train_step(carry, second)
    assert torch.equal(carry.rows.inputs[[0, 3]], second.inputs[[0, 3]])
    assert torch.equal(carry.rows.inputs[[1, 2]], first.inputs[[1, 2]])
    assert carry.steps.tolist() == [1, 2, 2, 1]


def test_evaluation_is_the_same_as_training_steps_that_never_halt() -> None:
    model = small(halt_max_steps=4, halt_exploration_prob=0.0, puzzle_emb_ndim=24)  # two slots, zero-padded
    with torch.no_grad():
        assert model.puzzle_table is not None
        model.puzzle_table.normal_()
    rows = some_rows(5)
    carry = model.initial_carry(rows)
    for _ in range(4):
        carry, stepped = model.train_step(carry, rows)
    _, solved = model.solve(rows)
    torch.testing.assert_close(solved.logits, stepped.logits)
    torch.testing.assert_close(solved.q_halt, stepped.q_halt)


def test_a_solution_does_not_depend_on_the_other_rows_of_its_batch() -> None:
    model = small()
    rows = some_rows(6)
    alone = Rows(rows.inputs[:1], rows.labels[:1], rows.puzzle_identifiers[:1])
    torch.testing.assert_close(model.solve(alone)[1].logits, model.solve(rows)[1].logits[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cycles", [(1, 1), (3, 2), (2, 4)])
def test_the_gradient_reaches_only_the_last_l_and_h_call(cycles: tuple[int, int]) -> None:
    """The one-step gradient of the paper; the calls before it run without."""
    model = small(H_cycles=cycles[0], L_cycles=cycles[1], halt_max_steps=1)
    rows = some_rows(4)
    with_gradient: list[str] = []
    calls: list[str] = []

    def watch(name: str, module: torch.nn.Module) -> None:
        def look(_module: torch.nn.Module, _inputs: object, z: torch.Tensor) -> None:
            calls.append(name)
            if z.requires_grad:
                with_gradient.append(name)

        module.register_forward_hook(look)

    watch("H", model.inner.H_level)
    watch("L", model.inner.L_level)
    carry, output = model.train_step(model.initial_carry(rows), rows)
    assert calls == (["L"] * cycles[1] + ["H"]) * cycles[0]
    assert with_gradient == ["L", "H"]
    assert not carry.z_H.requires_grad
    assert output.logits.requires_grad


@pytest.mark.parametrize("loss", [stablemax_cross_entropy, softmax_cross_entropy])
def test_ignored_labels_cost_nothing(loss: object) -> None:
    logits = torch.randn(2, 3, 6)
    labels = torch.tensor([[2, -100, 3], [-100, -100, -100]])
    got = loss(logits, labels)  # type: ignore[operator]
    assert got.shape == (2, 3)
    assert (got == 0).tolist() == [[False, True, False], [True, True, True]]


def test_stablemax_follows_its_formula() -> None:
    logits = torch.tensor([[[0.0, 3.0, -1.0]]])
    s = [1.0, 4.0, 0.5]
    for label in range(3):
        got = stablemax_cross_entropy(logits, torch.tensor([[label]]))
        assert float(got) == pytest.approx(-torch.log(torch.tensor(s[label] / sum(s), dtype=torch.float64)).item())


def test_a_row_without_labels_is_correct_but_not_counted() -> None:
    model = small(halt_max_steps=1)
    rows = some_rows(4)
    rows.labels[0] = -100
    carry, output = model.train_step(model.initial_carry(rows), rows)
    sums = act_loss(carry, output, "stablemax_cross_entropy").sums
    assert float(sums["count"]) == 3
    wrong = torch.nn.functional.softplus(torch.tensor(-5.0))  # target 0 at q = -5
    right = torch.nn.functional.softplus(torch.tensor(5.0))  # target 1
    assert float(sums["exact_accuracy"]) == 0
    assert float(sums["q_halt_loss"]) == pytest.approx(float(3 * wrong + right), rel=1e-5)
