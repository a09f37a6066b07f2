"""Studies with several goals: kept by Optuna, pruned by our rules, judged by their front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import stand_in_training
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial
from small_studies import MakeStudy, small_space

from hrm_sweep.diagnosis.gather import gather_evidence
from hrm_sweep.diagnosis.signals import recent_mean
from hrm_sweep.errors import SpaceError, StudyError
from hrm_sweep.runs import Cause, Owner, read_metrics
from hrm_sweep.sweep.audit_account import audit_account
from hrm_sweep.sweep.best import best_of, only_one_of
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.confirm.plan import best_configurations, plan_confirmation
from hrm_sweep.sweep.goals import curve_of, front
from hrm_sweep.sweep.holdout import best_trial
from hrm_sweep.sweep.launch import ChildThread
from hrm_sweep.sweep.measures import mean_act_steps
from hrm_sweep.sweep.objective import Goal, Objective
from hrm_sweep.sweep.replay import replayed_pruners
from hrm_sweep.sweep.space import FromStudy, space_from_mapping
from hrm_sweep.sweep.space_proposal import Proposal
from hrm_sweep.sweep.space_text import space_text
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.transfer import points_of
from hrm_sweep.sweep.trial import Surroundings, run_trial
from hrm_sweep.sweep.trial_page import run_cost

RECORDED = Path(__file__).resolve().parents[1] / "fixtures" / "runs" / "recorded"
TWO = [{"metric": "exact_accuracy"}, {"metric": "evaluation_flops"}]


def run_all(study: Study) -> list[FrozenTrial]:
    """Run trials, one after another, until there is none left."""
    surroundings = Surroundings(ChildThread, 1, lambda: None, lambda line: None, stand_in_training.NAME)
    while isinstance(one := claim(study, Owner.this_process()), Claim):
        run_trial(study, one, surroundings)
    return study.trials()


def base(data: object, words: str = "", **changes: Any) -> dict[str, Any]:
    return {"data_path": str(data), "epochs": 4, "eval_interval": 1, "project_name": words, **changes}


def test_several_goals_are_read_and_written_as_they_stand_in_the_file() -> None:
    space = small_space(objective=TWO)
    assert [(goal.metric, goal.goal) for goal in space.objective.goals] == [
        ("exact_accuracy", "maximize"),
        ("evaluation_flops", "minimize"),
    ]
    written = space.model_dump(mode="json")["objective"]
    assert written == [
        {"metric": "exact_accuracy", "goal": "maximize"},
        {"metric": "evaluation_flops", "goal": "minimize"},
    ]
    assert small_space(objective=written) == space
    assert small_space(objective=[{"metric": "loss"}]).model_dump(mode="json")["objective"] == {
        "metric": "loss",
        "goal": "minimize",
    }


def test_a_proposed_space_keeps_goals_and_constraints() -> None:
    space = small_space(objective=TWO, constraints={"parameters": "<= 10M", "peak_memory": "<= 8GiB"})
    text = space_text(Proposal(space, (), ()), "from a test")
    assert space_from_mapping(yaml.safe_load(text), "next.yaml") == space


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": []}, "objective: expected at least one goal, found none"),
        (
            {"objective": "accuracy"},
            "objective: expected keys and values, or a list of several goals, found 'accuracy'",
        ),
        ({"objective": ["accuracy"]}, "objective.0: expected keys and values, found 'accuracy'"),
        ({"objective": [{"metric": "loss"}, {"metric": "speed"}]}, "objective.1.metric: expected 'exact_accuracy',"),
        (
            {"objective": [{"metric": "loss"}, {"metrics": "loss"}]},
            "objective.1.metrics: unknown key; the nearest valid",
        ),
        ({"objective": [{"metric": "loss"}, {"metric": "loss"}]}, "objective: loss is a goal twice"),
        (
            {"objective": {"metric": "seconds"}},
            "objective.metric: the first goal has to be one that evaluations measure",
        ),
        (
            {"objective": [{"metric": "seconds"}, {"metric": "loss"}]},
            "objective.0.metric: the first goal has to be one that evaluations measure",
        ),
        (
            {"objective": TWO, "pruner": {"zero_accuracy": {}, "median": {}}},
            "pruner.median: Optuna's pruners compare trials by one goal, and this space has 2; zero_accuracy and",
        ),
        ({"objective": TWO, "pruner": {"patient": {"patience": 2}}}, "pruner.patient: Optuna's pruners compare trials"),
    ],
)
def test_goals_that_cannot_be_are_refused_with_their_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        small_space(**changes)
    assert f"small.yaml: {said}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_trial_is_told_the_values_of_all_goals_and_its_curve_is_kept(make_study: MakeStudy, sudoku_4x4: Any) -> None:
    study = make_study(base=base(sudoku_4x4), objective=[*TWO, {"metric": "seconds"}, {"metric": "loss"}])
    trial, *_ = run_all(study)
    assert trial.state is TrialState.COMPLETE
    exact, flops, seconds, loss = trial.values
    assert (exact, loss) == (500 * trial.params["lr"], 2 - 500 * trial.params["lr"])
    assert flops > 1e6
    assert seconds == pytest.approx(0.4)
    assert curve_of(trial) == {epoch: exact * epoch / 4 for epoch in (1, 2, 3, 4)}
    assert trial.intermediate_values == {}  # which Optuna does not take where there are several goals


def test_a_trial_without_a_value_for_a_goal_fails_and_says_which(make_study: MakeStudy) -> None:
    study = make_study(objective=[{"metric": "exact_accuracy"}, {"metric": "act_steps"}], budget={"trials": 1})
    (trial,) = run_all(study)
    assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, str(Cause.NO_METRIC))
    assert trial.user_attrs["message"].startswith("no act_steps in 4 evaluations; they have accuracy")


def test_act_steps_as_a_goal_are_those_that_the_diagnosis_judges() -> None:
    found = [path for path in sorted(RECORDED.glob("*/*/metrics.jsonl")) if mean_act_steps(read_metrics(path))]
    assert len(found) > 5
    for path in found:
        evidence = gather_evidence(path.parent)
        assert mean_act_steps(read_metrics(path)) == pytest.approx(recent_mean(evidence, "act_steps"))
        assert run_cost(evidence).act_steps == pytest.approx(recent_mean(evidence, "act_steps"), abs=1e-3)


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_rules_prune_and_samplers_learn_where_there_are_several_goals(
    make_study: MakeStudy, sudoku_4x4: Any, sampler: str
) -> None:
    few = {"n_startup_trials": 3} if sampler == "tpe" else {"population_size": 3}
    study = make_study(
        base=base(sudoku_4x4),
        objective=TWO,
        parameters={
            "lr": {"min": 0.0, "max": 2e-3, "step": 1e-3},
            "arch.halt_max_steps": {"min": 1, "max": 8},
        },
        first=[{"lr": 0.0}],
        sampler={"name": sampler, "seed": 1, **few},
        pruner={"zero_accuracy": {"epoch": 2}},
        budget={"trials": 8},
    )
    trials = run_all(study)
    assert len(trials) == 8
    states = {trial.params["lr"] > 0: trial.state for trial in trials}
    assert states == {False: TrialState.PRUNED, True: TrialState.COMPLETE}
    assert trials[0].user_attrs["pruned_by"].startswith("zero_accuracy at epoch 2:")
    found = [trial.number for trial in front(study.space.objective, trials)]
    assert set(found) == {trial.number for trial in study.optuna.best_trials}
    best = best_trial(study)
    assert best is not None
    assert (best.number, best.values[0]) == (found[0], max(trial.values[0] for trial in trials if trial.values))
    with pytest.raises(StudyError, match=rf"has 2 goals, .* choose one of its front with --trial N: {found[0]}"):
        only_one_of(study, None)
    assert only_one_of(study, found[-1]).goals == tuple(trials[found[-1]].values)
    with pytest.raises(StudyError, match="trial 0 is pruned; only one that has completed can be taken"):
        best_of(study, 0)


def test_where_a_single_score_is_needed_it_is_that_of_the_main_goal(make_study: MakeStudy, sudoku_4x4: Any) -> None:
    """The audit of pruners, their replay, a confirmation, and a study that starts from this one."""
    study = make_study(
        base=base(sudoku_4x4, stop_when_solved=1.0),
        objective=TWO,
        parameters={"lr": {"values": [0.0, 1e-3, 2e-3]}},
        first=[{"lr": 0.0}, {"lr": 1e-3}, {"lr": 2e-3}],
        pruner={"zero_accuracy": {"epoch": 2}},
        audit=1.0,
        stop_when={"no_improvement": 1},
        budget={"trials": 9},
    )
    assert len(run_all(study)) == 4, "the first trial that brings nothing better is the last"
    audit = audit_account(study)
    assert (audit.condemned, [trial.value for trial in audit.ended], audit.better) == (1, [0.0], [])
    (zero,) = replayed_pruners(study, "zero_accuracy at 2").replays
    assert [trial.number for trial in zero.trials if trial.ended_at is not None] == [0]
    best = best_configurations(study, 1)
    assert [trial.params["lr"] for trial in best] == [2e-3]
    confirmation = plan_confirmation(study, name="again", top=1, seeds=2, baseline=None).space
    assert (confirmation.objective.metric, confirmation.objective.beside) == ("exact_accuracy", ())
    points, _ = points_of(FromStudy(from_study="small", top=1), study, study.space)
    assert points == [{"lr": 2e-3}]


values = st.floats(-2, 2).map(lambda value: round(value, 1))
trials_of_two_goals = st.lists(
    st.tuples(values, values, st.sampled_from([None, -1.0, 0.0, 0.5]), st.booleans()), max_size=30
)


@given(drawn=trials_of_two_goals, maximize=st.tuples(st.booleans(), st.booleans()))
@settings(max_examples=200)
def test_the_front_is_exactly_the_feasible_trials_that_none_beats(
    drawn: list[tuple[float, float, float | None, bool]], maximize: tuple[bool, bool]
) -> None:
    wanted: list[Any] = ["maximize" if each else "minimize" for each in maximize]
    objective = Objective(metric="accuracy", goal=wanted[0], beside=(Goal(metric="seconds", goal=wanted[1]),))
    study = optuna.create_study(directions=wanted)
    for first, second, violation, is_complete in drawn:
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if is_complete else TrialState.PRUNED,
                values=[first, second] if is_complete else None,
                constraints=None if violation is None else {"parameters": violation},
            )
        )
    trials = study.get_trials(deepcopy=False)
    candidates = {
        number: tuple(goal.worth(value) for goal, value in zip(objective.goals, drawn[number][:2], strict=True))
        for number in range(len(drawn))
        if drawn[number][3] and (drawn[number][2] or 0.0) <= 0
    }

    def beaten(own: tuple[float, ...]) -> bool:
        return any(other != own and all(map(float.__ge__, other, own)) for other in candidates.values())

    found = [trial.number for trial in front(objective, trials)]
    assert set(found) == {number for number, worths in candidates.items() if not beaten(worths)}
    assert set(found) == {trial.number for trial in study.best_trials}
    worths = [candidates[number] for number in found]
    assert worths == sorted(worths, key=lambda each: each[0], reverse=True)
