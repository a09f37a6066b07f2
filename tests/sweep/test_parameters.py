"""Parameters, conditions and the combinations they make."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_studies import small_space

from hrm_sweep.sweep.conditions import Condition, all_hold, dependency_order
from hrm_sweep.sweep.keys import number_kind
from hrm_sweep.sweep.parameters import Parameter, allows, draw, every_end, every_value
from hrm_sweep.sweep.reachable import every_combination, is_drawn, reachable_combinations
from hrm_sweep.sweep.samplers import Random


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("lr", float),
        ("arch.H_cycles", int),
        ("global_batch_size", int),
        ("data.subsample_size", int),
        ("max_seconds", float),
        ("arch.pos_encodings", None),
        ("arch.loss.loss_type", None),
        ("data.size", None),
        ("checkpoint", None),
        ("data_path", None),
    ],
)
def test_each_key_knows_its_kind_of_number(key: str, kind: type | None) -> None:
    assert number_kind(key) is kind


@pytest.mark.parametrize(
    ("wanted", "holds", "fails"),
    [
        ("> 1e-3", [2e-3, 1], [1e-3, 0]),
        (">= 2", [2, 3], [1]),
        ("< 2", [1], [2]),
        ("<=2", [2], [3]),
        ("== 2", [2, 2.0], [3]),
        ("!= 2", [3], [2]),
        ("rope", ["rope"], ["learned"]),
        ([8, 16], [8, 16], [4]),
        (True, [True], [False]),
    ],
)
def test_a_condition_holds_for_a_value_a_list_or_a_comparison(wanted: Any, holds: list[Any], fails: list[Any]) -> None:
    condition = Condition.parse("key", wanted)
    assert [condition.holds(value) for value in [*holds, *fails]] == [True] * len(holds) + [False] * len(fails)


def test_several_conditions_mean_and_and_an_absent_parameter_meets_none() -> None:
    conditions = (Condition.parse("lr", "> 1"), Condition.parse("arch.H_cycles", 2))
    assert all_hold(conditions, {"lr": 2, "arch.H_cycles": 2})
    assert not all_hold(conditions, {"lr": 2, "arch.H_cycles": 3})
    assert not all_hold(conditions, {"lr": 2})


def test_parameters_come_after_those_they_depend_on_and_otherwise_in_order() -> None:
    assert dependency_order({"a": ("c",), "b": (), "c": ("b",)}) == ["b", "c", "a"]
    with pytest.raises(ValueError, match="a -> b -> a"):
        dependency_order({"a": ("b",), "b": ("a",)})


NUMBERS = st.integers(1, 40)
RANGES = st.builds(lambda low, width, step: Parameter(min=low, max=low + width, step=step), NUMBERS, NUMBERS, NUMBERS)


@given(parameter=RANGES, key=st.sampled_from(["arch.H_cycles", "lr"]))
def test_every_value_of_a_range_with_steps_is_one_that_it_allows_and_optuna_draws(
    parameter: Parameter, key: str
) -> None:
    values = every_value(key, parameter)
    low, high = parameter.range
    assert values[0] == low
    assert high - (parameter.step or 1) < values[-1] <= high
    assert all(allows(key, parameter, value) for value in values)
    assert set(every_end(key, parameter)) <= {*values, high}
    study = optuna.create_study(sampler=Random(name="random").build(0))
    assert draw(study.ask(), key, parameter) in [pytest.approx(value) for value in values]


@pytest.mark.parametrize(
    ("key", "parameter", "value", "allowed"),
    [
        ("lr", Parameter(min=1, max=2), 1.5, True),
        ("lr", Parameter(min=1, max=2), 2.5, False),
        ("lr", Parameter(min=1, max=2), True, False),
        ("lr", Parameter(min=1, max=2), "1", False),
        ("arch.H_cycles", Parameter(min=1, max=3), 1.5, False),
        ("lr", Parameter(min=0, max=1, step=0.1), 0.3, True),
        ("lr", Parameter(min=0, max=1, step=0.1), 0.35, False),
        ("checkpoint", Parameter(values=(True,)), 1, False),
        ("global_batch_size", Parameter(values=(1, 2)), True, False),
    ],
)
def test_only_values_of_the_parameter_are_allowed(key: str, parameter: Parameter, value: Any, allowed: bool) -> None:
    assert allows(key, parameter, value) is allowed


CONDITIONAL: dict[str, Any] = {
    "arch.H_cycles": {"min": 1, "max": 3},
    "lr": {"values": [1e-3, 2e-3], "when": {"arch.H_cycles": "> 1"}},
    "weight_decay": {"values": [0.1, 1.0], "when": {"lr": 2e-3}},
}


def test_combinations_respect_their_conditions_also_through_others() -> None:
    found = list(every_combination(small_space(parameters=CONDITIONAL)))
    assert found[0] == {"arch.H_cycles": 1}
    assert len(found) == 1 + 2 * (1 + 2)
    assert all(("weight_decay" in one) == (one.get("lr") == 2e-3) for one in found)
    assert all(is_drawn(small_space(parameters=CONDITIONAL), one) for one in found)
    assert not is_drawn(small_space(parameters=CONDITIONAL), {"arch.H_cycles": 2})


def test_of_a_large_space_a_fixed_sample_is_looked_at_that_sees_every_value() -> None:
    space = small_space(
        parameters={
            "arch.halt_max_steps": {"min": 1, "max": 16},
            "arch.H_cycles": {"min": 1, "max": 16},
            "arch.L_cycles": {"min": 1, "max": 16},
            "lr": {"min": 1e-5, "max": 1e-2, "log": True},
        },
        first=[{"lr": 2.5e-3}],
    )
    found = reachable_combinations(space, limit=20)
    assert len(found) <= 20 + 3 * 16 + 2 + 1
    assert found == reachable_combinations(space, limit=20)
    for key in ("arch.halt_max_steps", "arch.H_cycles", "arch.L_cycles"):
        assert {one[key] for one in found} == set(range(1, 17))
    assert {one["lr"] for one in found} == {1e-5, 1e-2, 2.5e-3}


def test_a_long_range_of_whole_numbers_is_looked_at_by_its_ends() -> None:
    assert every_end("lr_warmup_steps", Parameter(min=20, max=200)) == [20, 200]
    assert every_end("arch.H_cycles", Parameter(min=1, max=3)) == [1, 2, 3]
