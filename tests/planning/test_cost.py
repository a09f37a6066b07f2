"""What a run costs, held to the model and to figures that are known from elsewhere."""

from __future__ import annotations

import pytest

from hrm_sweep.config import load_config
from hrm_sweep.config.schedule import RunLength
from hrm_sweep.model.hrm import HRM, DataShape
from hrm_sweep.planning.cost import evaluation_flops, parameter_count, train_flops, train_flops_of_first


@pytest.mark.parametrize("overrides", [{}, {"arch.pos_encodings": "learned"}, {"arch.H_layers": 3, "arch.L_layers": 1}])
def test_parameters_are_those_of_the_model(overrides: dict[str, object]) -> None:
    arch = load_config("hrm_v1_tiny", overrides).arch
    model = HRM(arch, DataShape(vocab_size=6, seq_len=16, num_puzzle_identifiers=1))
    assert parameter_count(arch, 6, 16) == sum(parameter.numel() for parameter in model.parameters())


def test_the_published_model_has_27_million_parameters() -> None:
    assert parameter_count(load_config("hrm_v1").arch, vocab_size=11, seq_len=81) == 27_275_266


def test_a_step_of_the_published_model_costs_28_teraflop() -> None:
    """16 F a row for 2 x 2 cycles, F being 2.29 GFLOP: worked out by hand from HRM_SPEC."""
    config = load_config("hrm_v1")
    assert train_flops(config, seq_len=81, steps=1) == pytest.approx(28.1e12, rel=0.01)
    assert train_flops(config, seq_len=81, steps=7) == 7 * train_flops(config, seq_len=81, steps=1)


@pytest.mark.parametrize(("H", "L", "M", "in_F"), [(2, 2, 16, 16), (1, 1, 16, 8), (2, 4, 2, 24), (2, 2, 1, 10)])
def test_cycles_decide_the_cost_and_act_steps_only_whether_there_are_any(H: int, L: int, M: int, in_F: int) -> None:
    arch = {"arch.H_cycles": H, "arch.L_cycles": L, "arch.halt_max_steps": M}
    config, plain = load_config("hrm_v1", arch), load_config("hrm_v1")
    assert 16 * train_flops(config, 81, 1) == pytest.approx(in_F * train_flops(plain, 81, 1))


def test_solving_a_puzzle_takes_all_act_steps_forward_and_nothing_backward() -> None:
    """A training step of one ACT step runs forward once and back through one call of each module, at twice its cost: of
    the 10 F of one row above, 6 are forward. A puzzle is solved by 16 times that."""
    once = load_config("hrm_v1", {"arch.halt_max_steps": 1})
    forward = 0.6 * train_flops(once, seq_len=81, steps=1) / once.global_batch_size
    published = load_config("hrm_v1")
    assert evaluation_flops(published, seq_len=81, puzzles=1) == pytest.approx(16 * forward)
    assert evaluation_flops(published, seq_len=81, puzzles=5) == pytest.approx(80 * forward)


def test_the_first_steps_of_a_run_cost_what_their_stages_do() -> None:
    stages = [{"epochs": 2, "overrides": {"arch.H_cycles": 1}}, {"epochs": 4, "overrides": {"arch.H_cycles": 3}}]
    config = load_config("hrm_v1_tiny", {"stages": stages, "eval_interval": 2, "global_batch_size": 10})
    length = RunLength.of(config, total_groups=50, mean_puzzle_examples=1.0)  # ten steps an interval
    low, high = (train_flops(config.stage(number), 16, 1) for number in (0, 1))
    assert train_flops_of_first(config, 16, length, 7) == pytest.approx(7 * low)
    assert train_flops_of_first(config, 16, length, 10) == pytest.approx(10 * low)
    assert train_flops_of_first(config, 16, length, 12) == pytest.approx(10 * low + 2 * high)
    assert train_flops_of_first(config, 16, length, 30) == pytest.approx(train_flops(config, 16, 30))
    assert train_flops_of_first(config, 16, length, 0) == 0
    plain = load_config("hrm_v1_tiny")
    assert train_flops_of_first(plain, 16, length, 7) == train_flops(plain, 16, 7)
