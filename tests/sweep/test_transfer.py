"""A study that starts from what another one found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState
from small_studies import STORAGE, MakeStudy, small_space

from hrm_sweep.errors import SpaceError, StudyError
from hrm_sweep.sweep.parameters import Parameter, allows
from hrm_sweep.sweep.space import FromStudy, SearchSpace, space_from_mapping
from hrm_sweep.sweep.study import Study, create_or_continue, open_study
from hrm_sweep.sweep.transfer import nearest, with_points_of

FOUND = [  # lr, H_cycles, exact accuracy
    (1e-3, 1, 0.2),
    (5e-2, 3, 0.9),
    (2e-3, 2, 0.5),
    (3e-3, 2, None),  # pruned
    (4e-3, 2, 0.7),
]


@pytest.fixture
def other(make_study: MakeStudy) -> Study:
    """A finished study that searched lr and H_cycles, with L_cycles fixed at 3."""
    study = make_study(
        name="other",
        base={"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "arch": {"L_cycles": 3}},
        parameters={"lr": {"min": 1e-4, "max": 1e-1, "log": True}, "arch.H_cycles": {"min": 1, "max": 4}},
    )
    distributions = {"lr": FloatDistribution(1e-4, 1e-1, log=True), "arch.H_cycles": IntDistribution(1, 4)}
    for lr, cycles, value in FOUND:
        study.optuna.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
                params={"lr": lr, "arch.H_cycles": cycles},
                distributions=distributions,
                value=value,
            )
        )
    return study


def starting(first: Any, **changes: Any) -> SearchSpace:
    parameters = {
        "lr": {"min": 1e-4, "max": 1e-2, "log": True},
        "arch.H_cycles": {"values": [1, 2]},
        "arch.L_cycles": {"min": 1, "max": 4},
        "weight_decay": {"values": [0.1, 1.0], "when": {"lr": "> 1"}},
    }
    return small_space(name="mine", parameters=parameters, first=first, **changes)


def test_the_best_trials_come_first_within_the_ranges_of_the_new_space(other: Study) -> None:
    space, notes = with_points_of(starting({"from_study": "other", "top": 3}), STORAGE, None)
    assert list(space.first) == [
        {"lr": 1e-2, "arch.H_cycles": 2, "arch.L_cycles": 3},
        {"lr": 4e-3, "arch.H_cycles": 2, "arch.L_cycles": 3},
        {"lr": 2e-3, "arch.H_cycles": 2, "arch.L_cycles": 3},
    ]
    assert notes == [
        "first come 3 points from study other: its best trials 1, 4 and 2",
        "trial 1: lr 0.05 becomes 0.01, the nearest that is searched",
        "trial 1: arch.H_cycles 3 becomes 2, the nearest that is searched",
    ]


def test_points_that_the_budget_has_no_trials_for_are_named(other: Study) -> None:
    wanted = {"from_study": "other", "top": 4}
    space, notes = with_points_of(starting(wanted, budget={"trials": 3}), STORAGE, None)
    assert len(space.first) == 4
    assert notes[-1] == (
        "of the 4 points that come first the last is never tried, for budget.trials is 3; --trials 4 tries all"
    )
    _, notes = with_points_of(starting(wanted, budget={"trials": 2}), STORAGE, None)
    assert "the last 2 are never tried, for budget.trials is 2" in notes[-1]
    _, notes = with_points_of(starting(wanted, budget={"trials": 4}), STORAGE, None)
    assert not [note for note in notes if "never tried" in note]


def complete(study: Study, lr: float, cycles: int, value: float, **attrs: Any) -> None:
    study.optuna.add_trial(
        optuna.trial.create_trial(
            params={"lr": lr, "arch.H_cycles": cycles},
            distributions={"lr": FloatDistribution(1e-4, 1e-1, log=True), "arch.H_cycles": IntDistribution(1, 4)},
            value=value,
            user_attrs=attrs,
        )
    )


CONDEMNED = {"audited": {"condemned_by": "median at epoch 2: 0.1", "epoch": 2, "step": 20, "time_s": 1.0}}
SICK = {"verdict": "The learning rate is far too low"}


def test_a_score_is_what_counts_and_one_of_nothing_is_no_place_to_start_from(other: Study) -> None:
    complete(other, 6e-3, 1, 0.95, **CONDEMNED)
    complete(other, 7e-3, 1, 0.94, **SICK)
    complete(other, 9e-3, 1, 0.0)
    space, notes = with_points_of(starting({"from_study": "other", "top": 9}), STORAGE, None)
    assert [point["lr"] for point in space.first] == [6e-3, 7e-3, 1e-2, 4e-3, 2e-3, 1e-3]
    assert notes[:2] == [
        "first come 6 points from study other: its best trials 5, 6, 1, 4, 2 and 0",
        "left out, for nothing was solved: trial 7",
    ]
    _, notes = with_points_of(starting({"from_study": "other", "top": 1}), STORAGE, None)
    assert notes == ["first comes 1 point from study other: its best trial 5"]


def test_a_study_that_solved_nothing_is_refused(make_study: MakeStudy) -> None:
    study = make_study(name="other")
    complete(study, 6e-3, 1, 0.0)
    with pytest.raises(StudyError) as caught:
        with_points_of(starting({"from_study": "other"}), STORAGE, None)
    assert str(caught.value) == (
        "other: nothing to start from, for no completed trial has solved anything; name points in `first`, or start "
        "from another study"
    )


def test_trials_that_give_the_same_point_are_named_together(other: Study) -> None:
    complete(other, 5e-2, 4, 0.8)
    wanted = small_space(name="mine", parameters={"arch.L_cycles": {"values": [3, 4]}}, first={"from_study": "other"})
    space, notes = with_points_of(wanted, STORAGE, None)
    assert list(space.first) == [{"arch.L_cycles": 3}]
    assert notes == [
        "first comes 1 point from study other: its best trials 1, 5, 4, 2 and 0",
        "trials 1, 5, 4, 2 and 0 give 1 point here, for they differ in nothing that is searched here",
    ]
    _, notes = with_points_of(starting({"from_study": "other", "top": 3}), STORAGE, None)
    assert notes[:2] == [
        "first come 2 points from study other: its best trials 1, 5 and 4",
        "trials 1 and 5 give 1 point here, for the nearest values that are searched here are the same",
    ]


def test_where_less_is_better_the_least_come_first(make_study: MakeStudy) -> None:
    study = make_study(name="other", objective={"metric": "loss"}, parameters={"lr": {"min": 1e-4, "max": 1e-2}})
    for lr, value in ((1e-3, 2.0), (2e-3, 1.0)):
        params, distributions = {"lr": lr}, {"lr": FloatDistribution(1e-4, 1e-2)}
        study.optuna.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    space, _ = with_points_of(starting({"from_study": "other", "top": 1}), STORAGE, None)
    assert space.first[0]["lr"] == 2e-3


def test_a_study_that_goes_on_keeps_the_points_it_was_started_with(other: Study) -> None:
    wanted = starting({"from_study": "other", "top": 1})
    started, _ = with_points_of(wanted, STORAGE, None)
    create_or_continue(STORAGE, "mine", started)
    better = {"lr": 9e-3, "arch.H_cycles": 1}
    distributions = {"lr": FloatDistribution(1e-4, 1e-1, log=True), "arch.H_cycles": IntDistribution(1, 4)}
    other.optuna.add_trial(optuna.trial.create_trial(params=better, distributions=distributions, value=1.0))
    before = open_study(STORAGE, "mine").space
    for again in (wanted, starting([])):
        continued, notes = with_points_of(again, STORAGE, before)
        assert (continued.first, notes) == (started.first, [])
        create_or_continue(STORAGE, "mine", continued)
    elsewhere, _ = with_points_of(starting({"from_study": "other", "top": 2}), STORAGE, before)
    with pytest.raises(StudyError, match="was started with another search space"):
        create_or_continue(STORAGE, "mine", elsewhere)


def test_points_of_its_own_come_after_those_found(other: Study) -> None:
    own = {"lr": 1e-4, "arch.H_cycles": 1}
    content = {**starting([own]).model_dump(mode="json"), "first_from": {"from_study": "other", "top": 1}}
    space, _ = with_points_of(space_from_mapping(content, "mine"), STORAGE, None)
    assert [point["lr"] for point in space.first] == [1e-2, 1e-4]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ({"from_study": "othre"}, "othre: no study of this name; did you mean other?"),
        ({"from_study": "other", "storage": "sqlite:///gone.db"}, "gone.db"),
    ],
)
def test_a_study_that_is_not_there_is_named(other: Study, first: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        with_points_of(starting(first), STORAGE, None)


def test_a_study_that_has_nothing_to_offer_is_refused(make_study: MakeStudy) -> None:
    make_study(name="other")
    with pytest.raises(StudyError, match="other: no trial has completed, so there is nothing to start from"):
        with_points_of(starting({"from_study": "other"}), STORAGE, None)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ({"from_study": "other", "to": 3}, "to: unknown key; the nearest valid key is top"),
        ({"from_study": "other", "top": 0}, "first.top: expected greater than or equal to 1, found 0"),
        ({"top": 3}, "first: expected a list, found {'top': 3}"),
    ],
)
def test_a_first_that_cannot_be_read_is_explained(first: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        starting(first)


ranges = st.tuples(st.integers(-50, 50), st.integers(0, 50)).map(lambda ends: (ends[0], ends[0] + ends[1]))


@given(ends=ranges, step=st.integers(1, 7), value=st.integers(-200, 200))
def test_the_nearest_value_is_allowed_and_none_is_nearer(ends: tuple[int, int], step: int, value: int) -> None:
    parameter = Parameter(min=ends[0], max=ends[1], step=step)
    found = nearest("arch.H_layers", parameter, value)
    assert found is not None
    assert allows("arch.H_layers", parameter, found)
    every = range(ends[0], ends[1] + 1, step)
    if ends[0] <= 0 or value <= 0:
        assert abs(found - value) == min(abs(one - value) for one in every)
    else:
        assert max(found / value, value / found) == min(max(one / value, value / one) for one in every)


@pytest.mark.proof
def test_on_the_command_line_a_study_is_started_like_another(other: Study, sudoku_4x4: Path) -> None:
    small = {"arch.hidden_size": 16, "arch.num_heads": 2, "arch.halt_max_steps": 1, "epochs": 1, "eval_puzzles": 4}
    content = {
        "name": "next",
        "base": "hrm_v1_tiny",
        "overrides": {"data_path": str(sudoku_4x4), "lr_warmup_steps": 0, **small},
        "parameters": {"lr": {"min": 1e-4, "max": 1e-2, "log": True}},
        "budget": {"trials": 1},
    }
    Path("next.yaml").write_text(json.dumps(content))
    command = [sys.executable, "-m", "hrm_sweep", "run", "next.yaml", "--jobs", "1", "--like"]
    done = subprocess.run([*command, "other"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "first come 4 points from study other: its best trials 1, 4, 2 and 0" in done.stdout
    (trial,) = open_study(STORAGE, "next").trials()
    assert trial.params == {"lr": 1e-2}
    unknown = subprocess.run([*command, "nobody"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 2
    assert "nobody: no study of this name" in unknown.stderr


def test_what_violates_a_constraint_of_its_study_is_no_place_to_start_from(other: Study, make_study: MakeStudy) -> None:
    only = make_study(name="only")
    for study in (other, only):
        trial = study.optuna.ask(
            {"lr": FloatDistribution(1e-4, 1e-1, log=True), "arch.H_cycles": IntDistribution(1, 4)}
        )
        trial.set_constraint("parameters", 1.0)
        study.optuna.tell(trial, 0.99)
    _, notes = with_points_of(starting({"from_study": "other", "top": 1}), STORAGE, None)
    assert notes[:2] == [
        "first comes 1 point from study other: its best trial 1",
        "left out, for a constraint is violated: trial 5",
    ]
    with pytest.raises(
        StudyError, match="only: nothing to start from, for every completed trial violates a constraint"
    ):
        with_points_of(starting({"from_study": "only"}), STORAGE, None)


def test_a_study_that_was_started_like_another_goes_on_without_that_word(other: Study) -> None:
    """Also where one of its own points was among those found, and so stands there once."""
    own = [{"lr": 4e-3, "arch.H_cycles": 2, "arch.L_cycles": 3}, {"lr": 5e-3}]
    like = starting(own).model_copy(update={"first_from": FromStudy(from_study="other", top=3)})
    begun, _ = with_points_of(like, STORAGE, None)
    assert [point["lr"] for point in begun.first] == [1e-2, 4e-3, 2e-3, 5e-3]
    again, notes = with_points_of(starting(own), STORAGE, begun)
    assert (again.first, again.first_from, notes) == (begun.first, begun.first_from, [])
    changed, _ = with_points_of(starting([{"lr": 6e-3}]), STORAGE, begun)
    assert changed.first != begun.first  # which is refused, as any other change
