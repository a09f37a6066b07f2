"""`remedies: true`: a trial that did not learn is tried again with what its diagnosis proposes, once for each rule."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import stand_in_training
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note
from small_studies import STORAGE, MakeStudy, small_space

from hrm_sweep.config import load_config
from hrm_sweep.errors import SpaceError
from hrm_sweep.report.terminal import Summary, plain_line, summary_lines
from hrm_sweep.runs import Cause, Owner
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import Claim, Nothing, account, claim
from hrm_sweep.sweep.conduct import conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.housekeeping import list_studies
from hrm_sweep.sweep.launch import ChildThread
from hrm_sweep.sweep.remedies import comparable
from hrm_sweep.sweep.study import Study, create_or_continue
from hrm_sweep.sweep.trial import Surroundings, run_trial
from hrm_sweep.sweep.view import importances, study_view

US = Owner.this_process()
SURROUNDINGS = Surroundings(ChildThread, 1, lambda: None, lambda line: None, stand_in_training.NAME)

# Every trial of it has a learning rate of 0: the diagnosis pruner ends it, and its diagnosis proposes 1e-4.
DEAD: dict[str, Any] = {
    "parameters": {"lr": {"values": [0.0]}},
    "pruner": {"diagnosis": ["lr_out_of_range"]},
    "remedies": True,
}


def taken(study: Study) -> Claim:
    got = claim(study, US)
    assert isinstance(got, Claim), got
    return got


def run_next(study: Study) -> FrozenTrial:
    one = taken(study)
    run_trial(study, one, SURROUNDINGS)
    return study.trials()[one.number]


def prune(study: Study, one: Claim, rule: str = "lr_out_of_range", **overrides: Any) -> None:
    """End a trial as the diagnosis of a real one would."""
    one.trial.set_user_attr(attributes.REMEDY, {"rule": rule, "overrides": overrides or {"lr": 1e-4}})
    study.optuna.tell(one.trial, state=TrialState.PRUNED)


def marks(study: Study) -> list[tuple[int, str] | None]:
    """(trial, rule) that each trial is the remedy of."""
    attrs = [trial.user_attrs for trial in study.trials()]
    return [(one["remedy_of"], one["remedy_rule"]) if "remedy_of" in one else None for one in attrs]


def test_the_remedy_of_a_pruned_trial_is_a_trial_that_says_so(make_study: MakeStudy) -> None:
    study = make_study(**DEAD, budget={"trials": 2})
    dead, cured = run_next(study), run_next(study)
    assert dead.state is TrialState.PRUNED
    assert dead.user_attrs["remedy"] == {"rule": "lr_out_of_range", "overrides": {"lr": 1e-4}}
    assert (cured.state, cured.value) == (TrialState.COMPLETE, 0.05)
    assert marks(study) == [None, (0, "lr_out_of_range")]
    assert load_config(study.run_directory(1).config).lr == 1e-4
    assert "**remedy**: `lr=0.0001`" in get_note(optuna.Trial(study.optuna, dead._trial_id))
    assert "remedy of trial 0 (lr_out_of_range)" in get_note(optuna.Trial(study.optuna, cured._trial_id))
    assert account(study).is_reached


def test_without_the_key_there_are_none(make_study: MakeStudy) -> None:
    study = make_study(**{**DEAD, "remedies": False}, budget={"trials": 3})
    for _ in range(3):
        run_next(study)
    assert marks(study) == [None, None, None]
    assert small_space().remedies is False


def test_a_study_may_begin_with_remedies_when_it_is_continued(make_study: MakeStudy) -> None:
    study = make_study(**{**DEAD, "remedies": False}, budget={"trials": 1})
    run_next(study)
    continued = make_study(**DEAD, budget={"trials": 2})
    run_next(continued)
    assert marks(continued) == [None, (0, "lr_out_of_range")]


def test_a_study_tries_one_remedy_a_rule(make_study: MakeStudy) -> None:
    study = make_study(**DEAD, budget={"trials": 5})
    for rule in ("lr_out_of_range", "lr_out_of_range", "warmup_never_ends"):
        prune(study, taken(study), rule)
    for _ in range(2):
        study.optuna.tell(taken(study).trial, 0.1)
    # The second trial is itself the remedy of the first, and its own remedy, by the same rule, is not tried.
    assert marks(study) == [None, (0, "lr_out_of_range"), None, (2, "warmup_never_ends"), None]


def test_a_remedy_that_fails_for_another_reason_is_remedied_on_top_of_what_it_changed(make_study: MakeStudy) -> None:
    study = make_study(**DEAD, budget={"trials": 3})
    prune(study, taken(study), lr=1e-4)
    prune(study, taken(study), "warmup_never_ends", lr_warmup_steps=5)
    last = taken(study)
    assert (last.values, marks(study)[2]) == ({"lr": 1e-4, "lr_warmup_steps": 5}, (1, "warmup_never_ends"))


def test_a_failed_trial_is_remedied_when_it_is_not_tried_again_itself(make_study: MakeStudy) -> None:
    study = make_study(**DEAD, budget={"trials": 2})
    for attempt in range(2):
        one = taken(study)
        assert one.number == attempt
        one.trial.set_user_attr(attributes.CAUSE, str(Cause.OOM))
        one.trial.set_user_attr(attributes.REMEDY, {"rule": "out_of_memory", "overrides": {"global_batch_size": 384}})
        study.optuna.tell(one.trial, state=TrialState.FAIL)
    assert taken(study).values == {"lr": 0.0, "global_batch_size": 384}
    assert marks(study) == [None, None, (1, "out_of_memory")]


def test_a_completed_trial_has_no_remedy(make_study: MakeStudy) -> None:
    study = make_study(**{**DEAD, "pruner": {}}, budget={"trials": 2})
    first, second = run_next(study), run_next(study)
    assert (first.state, second.state, marks(study)) == (TrialState.COMPLETE, TrialState.COMPLETE, [None, None])
    assert first.user_attrs["verdict"] == "The learning rate is far too low"


def test_the_points_of_first_come_before_remedies_and_none_is_lost(make_study: MakeStudy) -> None:
    study = make_study(
        parameters={"lr": {"min": 0.0, "max": 1.0}},
        first=[{"lr": 0.25}, {"lr": 0.5}],
        remedies=True,
        budget={"trials": 4},
    )
    one = taken(study)
    prune(study, one, lr=0.125)
    values = [taken(study).values["lr"] for _ in range(2)]
    assert (one.values["lr"], values) == (0.25, [0.5, 0.125])


def test_a_remedy_inside_the_space_is_a_point_of_it(make_study: MakeStudy) -> None:
    study = make_study(parameters={"lr": {"min": 0.0, "max": 1.0}}, remedies=True, budget={"trials": 2})
    prune(study, taken(study), lr=0.125)
    one = taken(study)
    assert (one.trial.params, one.values) == ({"lr": 0.125}, {"lr": 0.125})
    assert attributes.OVERRIDES not in one.trial.user_attrs
    assert len(comparable(study).get_trials()) == 2


def test_what_lies_outside_of_the_space_is_kept_from_optuna(make_study: MakeStudy) -> None:
    """A parameter that is overridden is not drawn, and no sampler and no importance learns from such a trial."""
    space = {"lr": {"min": 0.1, "max": 1.0}, "beta1": {"min": 0.0, "max": 0.9}}
    sampler = {"name": "tpe", "seed": 0, "n_startup_trials": 2, "multivariate": True}
    study = make_study(parameters=space, sampler=sampler, remedies=True, budget={"trials": 9})
    source = taken(study)
    prune(study, source, lr=1e-3, lr_warmup_steps=7)
    remedy = taken(study)
    assert remedy.trial.params == {"beta1": source.values["beta1"]}
    assert remedy.values == {"lr": 1e-3, "lr_warmup_steps": 7, "beta1": source.values["beta1"]}
    study.optuna.tell(remedy.trial, 0.9)
    for value in (0.1, 0.2, 0.3, 0.4, 0.5):
        study.optuna.tell(taken(study).trial, value)
    assert [trial.number for trial in comparable(study).get_trials()] == [0, 2, 3, 4, 5, 6]
    assert optuna.search_space.intersection_search_space(comparable(study).get_trials()).keys() == space.keys()
    assert importances(study)[1] == 5
    assert "replicate_of" not in remedy.trial.user_attrs


def test_a_value_whose_condition_does_not_hold_is_an_override(make_study: MakeStudy) -> None:
    study = make_study(
        parameters={"lr": {"values": [1e-3]}, "lr_warmup_steps": {"min": 1, "max": 9, "when": {"lr": "> 1e-2"}}},
        remedies=True,
    )
    prune(study, taken(study), "warmup_never_ends", lr_warmup_steps=5)
    one = taken(study)
    assert (one.trial.params, one.values) == ({"lr": 1e-3}, {"lr": 1e-3, "lr_warmup_steps": 5})


def test_a_grid_has_its_remedies_before_it_ends_the_study(make_study: MakeStudy) -> None:
    study = make_study(sampler={"name": "grid"}, remedies=True, budget={"trials": 9})
    study.optuna.tell(taken(study).trial, 0.1)
    prune(study, taken(study), lr_warmup_steps=5)
    assert (account(study).left, account(study).is_reached) == (1, False)
    study.optuna.tell(taken(study).trial, 0.2)
    assert claim(study, US) is Nothing.FOR_GOOD
    assert account(study).is_reached
    assert [trial.params["lr"] for trial in study.trials()] == [1e-3, 2e-3, 2e-3]


def test_a_remedy_that_is_killed_is_tried_again_as_what_it_was(make_study: MakeStudy) -> None:
    study = make_study(**DEAD, budget={"trials": 2})
    prune(study, taken(study))
    first = taken(study)
    first.trial.set_user_attr(attributes.CAUSE, str(Cause.KILLED))
    study.optuna.tell(first.trial, state=TrialState.FAIL)
    again = taken(study)
    assert (again.retry_of, again.values, again.directory) == (1, {"lr": 1e-4}, first.directory)
    assert marks(study)[1:] == [(0, "lr_out_of_range")] * 2
    study.optuna.tell(again.trial, 0.5)
    assert account(study).given_out == 2


def test_a_remedy_that_makes_no_configuration_is_none(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    from hrm_sweep.diagnosis.rules import optimisation

    monkeypatch.setattr(optimisation, "usual_lr", lambda run: -1.0)
    study = make_study(**DEAD, budget={"trials": 1})
    assert "remedy" not in run_next(study).user_attrs


def test_remedies_are_shown_in_the_table_in_the_summary_and_among_the_studies(make_study: MakeStudy) -> None:
    study = make_study(**DEAD, budget={"trials": 2})
    run_next(study)
    running = taken(study)
    shown = study_view(study, 1.0)
    assert plain_line(shown.trials[1], shown.metric) == (
        "trial 1: running, lr=0.0001, remedy of trial 0 (lr_out_of_range)"
    )
    run_trial(study, running, SURROUNDINGS)
    lines = list(summary_lines(Summary(study_view(study, 1.0), None, None, None)))
    at = lines.index("remedies:")
    assert lines[at + 1] == (
        "  trial 1  lr=0.0001  remedy of trial 0 (lr_out_of_range): exact_accuracy 0.000 -> 0.050, complete"
    )
    assert [line.remedies for line in list_studies(STORAGE)] == [1]


@pytest.mark.parametrize("given", ["yes", 1, "lr_out_of_range"])
def test_the_key_is_true_or_false(given: Any) -> None:
    with pytest.raises(SpaceError, match="remedies: expected a valid boolean, found"):
        small_space(remedies=given)


NAMES = itertools.count()
RULES = ["lr_out_of_range", "warmup_never_ends", "non_finite"]
ENDS = st.sampled_from(["complete", "killed", "still running", *RULES])


@given(budget=st.integers(1, 6), ends=st.lists(ENDS, max_size=14), sampler=st.sampled_from(["random", "grid"]))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_becomes_of_trials_the_budget_is_exact_and_no_rule_is_remedied_twice(
    make_study: MakeStudy, budget: int, ends: list[str], sampler: str
) -> None:
    study = make_study(
        name=f"study-{next(NAMES)}", sampler={"name": sampler}, remedies=True, budget={"trials": budget},
        parameters={"lr": {"values": [1e-3, 2e-3]}, "arch.H_cycles": {"values": [1, 2]}},
    )  # fmt: skip
    running = []
    for end in [*ends, *["complete"] * 24]:
        got = claim(study, US)
        if not isinstance(got, Claim):
            for one in running:
                study.optuna.tell(one.trial, 0.5)
            running = []
        elif end in RULES:
            prune(study, got, end, lr_warmup_steps=len(end))
        elif end == "killed":
            got.trial.set_user_attr(attributes.CAUSE, "killed")
            study.optuna.tell(got.trial, state=TrialState.FAIL)
        elif end == "still running":
            running.append(got)
        else:
            study.optuna.tell(got.trial, 0.5)
        assert account(study).given_out <= budget
    seen = account(study)
    assert seen.is_reached
    assert seen.given_out == seen.ended
    firsts = [chain.first for chain in study.chains()]
    remedied = [one.user_attrs["remedy_rule"] for one in firsts if "remedy_rule" in one.user_attrs]
    assert len(remedied) == len(set(remedied))
    assert len(firsts) == budget or sampler == "grid"


# Real processes -----------------------------------------------------------------------------------------------------


def conducted(study: Study, jobs: int = 1, **options: Any) -> Any:
    engine = LocalEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME))
    try:
        return conduct(study, engine, jobs, **options)
    finally:
        engine.kill()
        engine.close()


KILLED_WORKER = """
import os, signal, sys
import optuna
import stand_in_training
from hrm_sweep.runs import Owner
from hrm_sweep.sweep.budget import claim
from hrm_sweep.sweep.launch import ChildThread
from hrm_sweep.sweep.study import open_study
from hrm_sweep.sweep.trial import Surroundings, run_trial

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

study = open_study(sys.argv[1], "small")
one = claim(study, Owner.this_process())
if sys.argv[2] == "before it is told":
    optuna.Study.tell = die
run_trial(study, one, Surroundings(ChildThread, 1, lambda: None, print, stand_in_training.NAME))
die()
"""


@pytest.mark.parametrize("moment", ["before it is told", "before its remedy is born"])
def test_a_worker_that_is_killed_in_between_neither_loses_nor_doubles_a_remedy(
    make_study: MakeStudy, moment: str
) -> None:
    study = make_study(**DEAD, budget={"trials": 3})
    died = subprocess.run([sys.executable, "-c", KILLED_WORKER, STORAGE, moment], check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert [trial.state for trial in study.trials()] == [
        TrialState.RUNNING if moment == "before it is told" else TrialState.PRUNED
    ]
    assert "remedy" in study.trials()[0].user_attrs
    ended = conducted(study, jobs=2)
    assert (ended.account.given_out, ended.account.is_reached) == (3, True)
    given = [mark for mark in marks(study) if mark is not None]
    assert [rule for _, rule in given] == ["lr_out_of_range"]


def test_the_budget_with_remedies_is_exact_whoever_is_killed(make_study: MakeStudy) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    study = make_study(**DEAD, budget={"trials": 5}, retry={"killed": 99})
    kills = 0

    def kill_some() -> Any:
        from hrm_sweep.sweep.budget import owner_of
        from hrm_sweep.sweep.conduct import Wish

        nonlocal kills
        running = [trial for trial in study.trials() if trial.state is TrialState.RUNNING]
        victim = owner_of(rng.choice(running)) if running and kills < 3 else None
        if victim is not None and victim.is_alive():
            os.kill(victim.pid, signal.SIGKILL)
            kills += 1
        return Wish.GO_ON

    ended = conducted(study, jobs=2, wish=kill_some)
    assert (ended.account.given_out, ended.account.ended, ended.account.is_reached) == (5, 5, True)
    chains = study.chains()
    assert [chain.last.state for chain in chains].count(TrialState.COMPLETE) == 1
    assert sum(attributes.REMEDY_OF in chain.first.user_attrs for chain in chains) == 1


def test_a_space_file_with_remedies_lints_and_says_when_there_is_no_room_for_one(
    folder: Path, sudoku_4x4: Path
) -> None:
    from hrm_sweep.sweep.space import load_space
    from hrm_sweep.sweep.space_lint import lint_space

    content = {
        "name": "mine",
        "base": "hrm_v1_tiny",
        "overrides": {"data_path": str(sudoku_4x4)},
        "parameters": {"lr": {"values": [1e-3, 1e-4]}},
        "first": [{"lr": 1e-3}, {"lr": 1e-4}],
        "remedies": True,
        "budget": {"trials": 2},
    }
    Path("mine.yaml").write_text(json.dumps(content))
    space = load_space("mine.yaml")
    assert lint_space(space, "mine.yaml").warnings == (
        "remedies: no trial is left for one, because the 2 points of first come before them and the budget is 2",
    )
    study = create_or_continue(STORAGE, "mine", space)
    assert study.space.remedies
