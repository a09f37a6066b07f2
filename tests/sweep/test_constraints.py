"""Constraints: read, predicted before a trial is trained, watched while it trains, measured at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_in_training
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState
from small_studies import MakeStudy, small_space

from hrm_sweep.errors import SpaceError, StudyError
from hrm_sweep.runs import Owner
from hrm_sweep.sweep.best import best_of
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.conduct import conduct
from hrm_sweep.sweep.constraints import Constraint
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.goals import front
from hrm_sweep.sweep.holdout import best_trial
from hrm_sweep.sweep.launch import ChildThread
from hrm_sweep.sweep.loaded_study import LoadedStudy
from hrm_sweep.sweep.space_lint import lint_space
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.trial import Surroundings, run_trial
from hrm_sweep.sweep.view import study_view

SMALL, LARGE = 32, 128  # hidden sizes: some 30 and 530 thousand parameters


def run_all(study: Study) -> list[FrozenTrial]:
    """Run trials, one after another, until there is none left."""
    surroundings = Surroundings(ChildThread, 1, lambda: None, lambda line: None, stand_in_training.NAME)
    while isinstance(one := claim(study, Owner.this_process()), Claim):
        run_trial(study, one, surroundings)
    return study.trials()


def base(data: object = "nowhere", words: str = "", **changes: Any) -> dict[str, Any]:
    return {"data_path": str(data), "epochs": 4, "eval_interval": 1, "project_name": words, **changes}


def sized(data: Path, **changes: Any) -> dict[str, Any]:
    """A study of which the second half of the combinations is too large."""
    sizes = {"arch.hidden_size": {"values": [SMALL, LARGE]}, "lr": {"values": [1e-3, 2e-3]}}
    return {
        "base": {**base(data), "arch": {"num_heads": 4, "H_layers": 1, "L_layers": 1, "halt_max_steps": 2}},
        "parameters": sizes,
        "sampler": {"name": "grid"},
        "constraints": {"parameters": "<= 100k"},
        **changes,
    }


@pytest.mark.parametrize(
    ("quantity", "text", "limit", "kept", "violated"),
    [
        ("parameters", "<= 10M", 1e7, 1e7, 1.5e7),
        ("peak_memory", "<=8GiB", 8 * 2**30, 2**30, 9 * 2**30),
        ("peak_memory", " <= 500 MB ", 5e8, 5e8, 5.1e8),
        ("train_flops", "<= 2P", 2e15, 1.9e15, 2.1e15),
        ("seconds", "<= 600", 600.0, 12.0, 601.0),
        ("act_steps", "<= 1.5e0", 1.5, 1.0, 2.0),
        ("exact_accuracy", ">= 0.5", 0.5, 0.9, 0.4),
        ("loss", "<= 0", 0.0, 0.0, 0.1),
        ("parameters", "<= 1_000", 1e3, 1.0, 2e3),
    ],
)
def test_a_bound_is_read_with_its_unit(quantity: str, text: str, limit: float, kept: float, violated: float) -> None:
    bound = Constraint.parse(quantity, text)
    assert bound.limit == limit
    assert bound.violation(kept) <= 0 < bound.violation(violated)


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        ({"parameters": 10_000_000}, "parameters: expected a bound such as '<= 10M', found 10000000"),
        ({"parameters": "10M"}, "parameters: expected a bound such as '<= 10M', found '10M'"),
        ({"parameters": "< 10M"}, "parameters: expected <= or >=, as in '<= 10M', found '<'"),
        ({"parameters": "<= 10MiB"}, "parameters: no such unit: MiB; expected k, M, G, T, P, E or none"),
        ({"peak_memory": "<= 8Gib"}, "peak_memory: no such unit: Gib; expected k, M, G, T, P, E, B, kB, MB, GB"),
        (
            {"params": "<= 10M"},
            "params: no quantity of a trial; expected one of train_flops, evaluation_flops,",
        ),
        ({"seconds": "<= 1e400"}, "seconds: expected a number that can be reached, found 1e400"),
        ({"exact_accuracy": "<= much"}, "exact_accuracy: expected a bound such as '>= 0.5', found '<= much'"),
    ],
)
def test_a_bound_that_cannot_be_read_is_refused_with_its_key(constraints: dict[str, Any], said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        small_space(constraints=constraints)
    assert str(caught.value).startswith(f"small.yaml: constraints.{said}")


def test_constraints_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"small.yaml: constraints: expected quantities and bounds, as in parameters:"):
        small_space(constraints=["parameters <= 10M"])


@given(limit=st.floats(0, 1e18), value=st.floats(0, 1e18), at_most=st.booleans())
def test_a_violation_is_above_zero_exactly_where_the_bound_is_broken(limit: float, value: float, at_most: bool) -> None:
    bound = Constraint.parse("seconds", f"{'<=' if at_most else '>='} {limit!r}")
    assert (bound.violation(value) > 0) == (value > limit if at_most else value < limit)


def test_constraints_are_kept_with_the_study_and_belong_to_its_identity(make_study: MakeStudy) -> None:
    study = make_study(constraints={"seconds": "<= 10k", "peak_memory": "<= 8GiB"})
    written = study.space.model_dump(mode="json")["constraints"]
    assert written == {"seconds": "<= 10k", "peak_memory": "<= 8GiB"}
    with pytest.raises(StudyError, match=r"constraints.seconds: was <= 10k, now <= 20k"):
        make_study(constraints={"seconds": "<= 20k", "peak_memory": "<= 8GiB"})


def test_a_trial_that_is_predicted_to_violate_is_told_so_and_not_trained(
    make_study: MakeStudy, sudoku_4x4: Path
) -> None:
    study = make_study(**sized(sudoku_4x4))
    trials = run_all(study)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 2
    for trial in trials[2:]:
        assert trial.user_attrs["pruned_by"] == (
            "constraints at epoch 0: 526 k parameters where parameters <= 100k is asked for; not trained"
        )
        assert trial.constraints["parameters"] == pytest.approx(4.26, abs=0.01)
        assert not study.run_directory(trial.number).metrics.exists()
    assert all(trial.constraints["parameters"] < 0 for trial in trials[:2])
    best = best_trial(study)
    assert best is not None
    assert (best.number, best.params["arch.hidden_size"]) == (1, SMALL)


def test_a_trial_is_ended_when_it_cannot_keep_to_a_constraint_any_more(make_study: MakeStudy) -> None:
    study = make_study(base=base(words="hold@4"), constraints={"seconds": "<= 0.25"}, budget={"trials": 1})
    (trial,) = run_all(study)  # its third evaluation is 0.3 s after its start
    assert trial.state is TrialState.PRUNED
    assert trial.user_attrs["pruned_by"] == (
        "constraints at epoch 3: 0.3 s of training where seconds <= 0.25 is asked for"
    )
    assert trial.constraints["seconds"] == pytest.approx(0.2)


def test_what_violates_a_constraint_at_its_end_is_never_best(make_study: MakeStudy) -> None:
    study = make_study(
        sampler={"name": "grid"},
        parameters={"lr": {"values": [2e-3, 1e-3]}},
        constraints={"exact_accuracy": "<= 0.5"},
        budget={"trials": 2},
    )
    first, second = run_all(study)
    assert first.user_attrs["violates"] == "exact_accuracy 1 where exact_accuracy <= 0.5 is asked for"
    assert (first.constraints["exact_accuracy"], second.constraints["exact_accuracy"]) == (1.0, 0.0)
    assert best_of(study).trial == 1
    view = study_view(study, 0.0)
    assert view.best is not None
    assert (view.best.number, view.trials[0].said) == (
        1,
        "violates a constraint: exact_accuracy 1 where exact_accuracy <= 0.5 is asked for",
    )
    table = LoadedStudy(study).to_pandas()
    assert (table.violates[0], table.violates.isna()[1]) == (first.user_attrs["violates"], True)


def test_what_was_not_measured_counts_as_violated_and_nothing_is_best(make_study: MakeStudy) -> None:
    study = make_study(constraints={"peak_memory": "<= 8GiB"}, budget={"trials": 1})
    (trial,) = run_all(study)
    assert (trial.state, trial.constraints) == (TrialState.COMPLETE, {"peak_memory": 1.0})
    assert trial.user_attrs["violates"] == "peak_memory <= 8GiB, and was not measured"
    assert best_trial(study) is None
    with pytest.raises(StudyError, match=r"small: none of its 1 completed trials keeps to the constraints \(peak_mem"):
        best_of(study)


def test_the_lint_says_what_would_not_be_trained(sudoku_4x4: Path) -> None:
    (warning,) = [line for line in lint_space(small_space(**sized(sudoku_4x4)), "mine").warnings if "constr" in line]
    assert warning.startswith(
        "2 of 4 combinations, for example arch.hidden_size=128 lr=0.001: constraints: 526 k parameters"
    )
    with pytest.raises(SpaceError, match="no combination of this space keeps to its constraints") as caught:
        lint_space(small_space(**sized(sudoku_4x4, constraints={"parameters": "<= 1k"})), "mine")
    assert len(str(caught.value).splitlines()) == 2


@pytest.fixture
def engines() -> Iterator[list[LocalEngine]]:
    """Engines that a test makes, none of whose workers outlives it."""
    made: list[LocalEngine] = []
    yield made
    for engine in made:
        engine.kill()
        engine.close()


def test_the_budget_is_exact_with_several_workers_and_goals_and_over_kills_and_a_resume(
    make_study: MakeStudy, sudoku_4x4: Path, engines: list[LocalEngine]
) -> None:
    space = sized(
        sudoku_4x4,
        objective=[{"metric": "exact_accuracy"}, {"metric": "train_flops"}],
        sampler={"name": "tpe", "n_startup_trials": 2},
        first=[{"arch.hidden_size": LARGE, "lr": 1e-3}],
    )
    space["base"]["project_name"] = "kill@2-once"
    for budget in (2, 3):
        study = make_study(**space, budget={"trials": budget})
        engines.append(LocalEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME)))
        account = conduct(study, engines[-1], 2).account
        assert (account.given_out, account.ended, account.is_reached) == (budget, budget, True)
    ended = [chain.last for chain in study.chains()]
    assert {trial.state for trial in ended} == {TrialState.COMPLETE, TrialState.PRUNED}
    trained = [chain for chain in study.chains() if chain.last.state is TrialState.COMPLETE]
    assert all(len(chain.attempts) == 2 for chain in trained)  # the kill, and the retry that went on
    assert all(len(trial.values) == 2 and trial.constraints["parameters"] < 0 for trial in (c.last for c in trained))
    on_front = front(study.space.objective, study.trials())
    assert {trial.number for trial in on_front} == {trial.number for trial in study.optuna.best_trials}
    assert os.getpid() not in {trial.user_attrs["owner"]["pid"] for trial in ended}
