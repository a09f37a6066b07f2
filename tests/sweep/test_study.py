"""Studies: started, continued, refused; the chains that retries make."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial
from small_studies import STORAGE, MakeStudy, small_space

from hrm_sweep.errors import StudyError
from hrm_sweep.sweep.best import best_of
from hrm_sweep.sweep.study import GroupedTrials, chains, create_or_continue, known_space, open_study


def trial(number: int, state: TrialState = TrialState.FAIL, **attrs: Any) -> FrozenTrial:
    made = create_trial(state=state, value=0.5 if state is TrialState.COMPLETE else None, user_attrs=attrs)
    made.number = number
    return made


def test_retries_of_retries_are_one_chain() -> None:
    found = chains([trial(0), trial(1), trial(2, retry_of=0), trial(3), trial(4, retry_of=2), trial(5, retry_of=3)])
    assert [chain.numbers for chain in found] == [(0, 2, 4), (1,), (3, 5)]


def test_a_retry_of_a_trial_that_is_not_there_is_a_chain_of_its_own() -> None:
    assert [chain.numbers for chain in chains([trial(0, retry_of=7)])] == [(0,)]


def test_an_attempt_that_was_tried_again_is_pointed_to_the_trial_that_went_on(make_study: MakeStudy) -> None:
    study = make_study()
    for one in (trial(0, cause="preempted"), trial(1, TrialState.COMPLETE, retry_of=0), trial(2, cause="config")):
        study.optuna.add_trial(one)
    only = "only one that has completed can be taken"
    with pytest.raises(StudyError, match=f"trial 0 is failed; {only}; it was continued as trial 1$"):
        best_of(study, 0)
    with pytest.raises(StudyError, match=f"trial 2 is failed; {only}$"):
        best_of(study, 2)


def test_a_study_is_continued_with_another_budget_other_jobs_and_other_retries(make_study: MakeStudy) -> None:
    make_study()
    study = make_study(budget={"trials": 9}, resources={"jobs": 2}, retry={"oom": 4})
    stored = open_study(STORAGE, "small").space
    assert (study.space.budget.trials, stored.budget.trials, stored.resources.jobs) == (9, 9, 2)
    assert {str(cause): n for cause, n in stored.retry.items()} == {"oom": 4}


def test_a_changed_space_is_refused_with_the_difference(make_study: MakeStudy) -> None:
    make_study(pruner={"median": {}})
    with pytest.raises(StudyError) as caught:
        make_study(
            parameters={"lr": {"values": [1e-3]}, "beta1": {"values": [0.9]}},
            base={"data_path": "nowhere", "epochs": 8, "eval_interval": 1},
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == "small: was started with another search space, so its trials would not be comparable:"
    assert set(lines[1:-1]) == {
        "  base.epochs: was 4, now 8",
        "  parameters.lr.values: was [0.001, 0.002], now [0.001]",
        "  parameters.beta1: was absent, now {'values': [0.9]}",
        "  pruner.median: was {'startup_trials': 5, 'warmup_epochs': 0, 'interval_epochs': 1, 'min_trials': 1}, "
        "now absent",
    }
    assert lines[-1] == "go back to the first one, or start another study with --study NAME"
    assert open_study(STORAGE, "small").space.parameters.keys() == {"lr"}


def test_the_seed_of_a_study_is_kept_and_another_one_refused(make_study: MakeStudy) -> None:
    make_study()
    space = small_space(name="seeded")
    assert create_or_continue(STORAGE, "seeded", space, seed=7).space.sampler.seed == 7
    assert create_or_continue(STORAGE, "seeded", space).space.sampler.seed == 7
    with pytest.raises(StudyError, match="was started with --seed 7, not 8"):
        create_or_continue(STORAGE, "seeded", space, seed=8)


def test_a_study_that_does_not_exist_is_named_with_the_nearest(make_study: MakeStudy) -> None:
    make_study()
    with pytest.raises(StudyError, match=r"smal: no study of this name; did you mean small\?"):
        open_study(STORAGE, "smal")
    with pytest.raises(StudyError, match="zzz: no study of this name; there are: small"):
        open_study(STORAGE, "zzz")


def test_a_study_of_another_program_is_left_alone(make_study: MakeStudy) -> None:
    make_study()
    optuna.create_study(storage=STORAGE, study_name="foreign")
    with pytest.raises(StudyError, match="foreign: not a study of hrm-sweep"):
        open_study(STORAGE, "foreign")


def test_the_space_of_a_study_is_known_by_its_name(make_study: MakeStudy) -> None:
    assert known_space(STORAGE, "small") is None
    made = make_study()
    assert known_space(STORAGE, "small") == made.space
    assert known_space(STORAGE, "other") is None


@given(seed=st.integers(0, 10**6))
@settings(max_examples=50)
def test_chains_that_are_kept_from_look_to_look_are_those_that_are_made_at_once(seed: int) -> None:
    """Trials come, end and are tried again; some looks see several changes at once."""
    rng, kept = random.Random(seed), GroupedTrials()
    trials: list[FrozenTrial] = []
    for _ in range(30):
        running = [one for one in trials if not one.state.is_finished()]
        failed = [one.number for one in trials if one.state is TrialState.FAIL]
        if running and rng.random() < 0.5:
            ended = rng.choice(running)
            state = rng.choice([TrialState.FAIL, TrialState.COMPLETE])
            trials[ended.number] = trial(ended.number, state=state, **ended.user_attrs)
        elif failed and rng.random() < 0.5:
            trials.append(trial(len(trials), state=TrialState.RUNNING, retry_of=rng.choice(failed)))
        else:
            trials.append(trial(len(trials), state=rng.choice([TrialState.RUNNING, TrialState.WAITING])))
        if rng.random() < 0.5:
            kept.look_at(trials)
    assert kept.look_at(trials) == chains(trials)
