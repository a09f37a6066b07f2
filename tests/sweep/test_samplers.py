"""Samplers: every one draws, and what a study draws depends on its seed and on nothing else."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from small_studies import MakeStudy, small_space

from hrm_sweep.errors import SpaceError
from hrm_sweep.runs import Owner
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.study import Study, open_study

PARAMETERS = {
    "lr": {"min": 1e-4, "max": 1e-2, "log": True},
    "arch.H_cycles": {"min": 1, "max": 3},
    "weight_decay": {"values": [0.1, 1.0], "when": {"lr": "> 1e-3"}},
}


def drawn(study: Study, trials: int) -> list[dict[str, Any]]:
    values = []
    for _ in range(trials):
        one = claim(study, Owner.this_process())
        assert isinstance(one, Claim)
        study.optuna.tell(one.trial, one.values["lr"])
        values.append(dict(one.values))
    return values


@pytest.mark.parametrize("name", ["tpe", "random", "nsgaii", "nsgaiii"])
def test_a_sampler_draws_inside_the_space_and_again_the_same_from_the_same_seed(
    make_study: MakeStudy, name: str
) -> None:
    def study(study_name: str, seed: int) -> Study:
        sampler = {"name": name, "seed": seed}
        return make_study(name=study_name, parameters=PARAMETERS, sampler=sampler, budget={"trials": 12})

    values = drawn(study("one", 0), 12)
    assert all(1e-4 <= one["lr"] <= 1e-2 and one["arch.H_cycles"] in (1, 2, 3) for one in values)
    assert all(("weight_decay" in one) == (one["lr"] > 1e-3) for one in values)
    assert len({one["lr"] for one in values}) == 12
    assert drawn(study("two", 0), 12) == values
    assert drawn(study("three", 1), 12) != values


def test_an_interrupted_study_draws_what_it_would_have_drawn(make_study: MakeStudy) -> None:
    def study(name: str) -> Study:
        return make_study(name=name, parameters=PARAMETERS, sampler={"name": "tpe"}, budget={"trials": 14})

    whole, parts = drawn(study("whole"), 14), drawn(study("parts"), 7)
    again = open_study(study("parts").storage_url, "parts")
    assert [*parts, *drawn(again, 7)] == whole


def test_options_of_a_sampler_reach_it() -> None:
    space = small_space(sampler={"name": "tpe", "n_startup_trials": 3, "group": True})
    sampler = space.sampler.build(0)
    assert (sampler._n_startup_trials, sampler._multivariate, sampler._group) == (3, True, True)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "module"), [("qmc", "scipy"), ("gp", "scipy"), ("cmaes", "cmaes")])
def test_a_sampler_without_its_package_says_how_to_install_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hrm_sweep.sweep.samplers.find_spec", lambda wanted: None if wanted == module else find_spec(wanted)
    )
    with pytest.raises(SpaceError) as caught:
        small_space(sampler={"name": name})
    assert f"small.yaml: sampler.name: this sampler needs {module}" in str(caught.value)
    assert "pip install 'hrm-sweep[samplers]'" in str(caught.value)
