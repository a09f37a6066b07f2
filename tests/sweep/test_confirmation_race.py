"""A confirmation as a study: candidates times seeds, raced, killed, shared by workers, and exact in its budget."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import stand_in_training
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from small_studies import MakeStudy

from hrm_sweep.report.confirmation import Verdict
from hrm_sweep.runs import Cause, Owner
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import Claim, Nothing, account, claim, owner_of
from hrm_sweep.sweep.conduct import Wish, conduct
from hrm_sweep.sweep.confirm.results import confirmation_report
from hrm_sweep.sweep.confirm.runs import keep_unseen
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.debug import DebugEngine
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.space import space_from_mapping
from hrm_sweep.sweep.study import Study

US = Owner.this_process()
GOOD, NEARLY, BAD = 1.8e-3, 1.79e-3, 1e-4


def confirming(lrs: Mapping[str, float], seeds: int = 5, **changes: Any) -> dict[str, Any]:
    """Top-level keys of a space that confirms these learning rates."""
    fresh = list(range(1_000_000, 1_000_000 + seeds))
    candidates = [{"name": name, "values": {"lr": lr}} for name, lr in lrs.items()]
    candidates[-1]["is_baseline"] = True
    return {
        "base": {"data_path": "nowhere", "epochs": 2, "eval_interval": 1, "project_name": "unseen"},
        "parameters": {"seed": {"values": fresh}},
        "budget": {"trials": len(lrs) * seeds},
        "confirm": {"of": "search", "top": 2, "candidates": candidates, "seeds": fresh, "puzzles": "stand-in"},
        **changes,
    }


def finish(study: Study, one: Claim) -> None:
    """What the stand-in training would do, without a process."""
    keep_unseen(study, one.trial, stand_in_training.unseen(study.space.config({"seed": one.seed, **one.values})))
    study.optuna.tell(one.trial, 0.5)


def begun(study: Study) -> list[tuple[int, int]]:
    """(candidate, seed) of each trial."""
    return [(trial.user_attrs["candidate"], trial.user_attrs["seed"] - 1_000_000) for trial in study.trials()]


def test_rounds_are_seeds_and_a_clear_loser_is_trained_no_further(make_study: MakeStudy) -> None:
    study = make_study(**confirming({"trial 1": GOOD, "trial 2": NEARLY, "baseline": BAD}))
    while isinstance(one := claim(study, US), Claim):
        assert one.values == {"lr": (GOOD, NEARLY, BAD)[begun(study)[-1][0]], "seed": one.seed}
        finish(study, one)
    assert one is Nothing.FOR_GOOD
    three_rounds = [(candidate, seed) for seed in range(3) for candidate in range(3)]
    assert begun(study) == [*three_rounds, (0, 3), (1, 3), (0, 4), (1, 4)]
    report = confirmation_report(study)
    assert (report.verdict, report.leading) == (Verdict.TIE, ["trial 1", "trial 2"])
    assert (report.ended, report.planned, report.spared) == (13, 13, 2)
    assert report.candidates[-1].out is not None
    assert report.candidates[-1].out.startswith("beaten by trial 1 after 3 seeds (p ")
    assert account(study).is_reached


def test_no_run_of_a_later_round_begins_before_the_look_is_taken(make_study: MakeStudy) -> None:
    study = make_study(**confirming({"trial 1": GOOD, "baseline": BAD}))
    taken = []
    while isinstance(one := claim(study, US), Claim):
        taken.append(one)
    assert one is Nothing.FOR_NOW
    assert len(taken) == 6
    assert account(study).left == 4
    for each in reversed(taken):
        finish(study, each)
    assert account(study).left == 2  # the baseline is out
    assert isinstance(claim(study, US), Claim)


def test_a_candidate_that_always_fails_is_out_and_one_that_diverges_solves_nothing(make_study: MakeStudy) -> None:
    study = make_study(**confirming({"good": GOOD, "diverges": NEARLY, "baseline": NEARLY}, retry={"oom": 0}))
    while isinstance(one := claim(study, US), Claim):
        candidate = begun(study)[-1][0]
        if candidate == 0:
            finish(study, one)
            continue
        one.trial.set_user_attr(attributes.CAUSE, str(Cause.NAN if candidate == 1 else Cause.OOM))
        study.optuna.tell(one.trial, state=TrialState.FAIL)
    report = confirmation_report(study)
    assert (report.verdict, report.leading) == (Verdict.WINNER, ["good"])
    diverged = next(one for one in report.candidates if one.name == "diverges")
    assert [run.score for run in diverged.runs] == [0.0] * 3
    assert [one.out for one in report.candidates if one.is_baseline] == ["no score in 3 runs"]
    assert len(study.trials()) == 3 + 3 + 5


NAMES = itertools.count()
ENDS = st.lists(st.sampled_from(["complete", "killed", "nan"]), max_size=10)


@given(ends=ENDS, workers=st.integers(1, 5), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_many_workers_there_are_and_whatever_they_suffer_the_same_runs_are_made(
    make_study: MakeStudy, ends: list[str], workers: int, shuffle: Any
) -> None:
    """Kills are made up for, so that the race sees the same scores: the same runs, each exactly once."""
    lrs = {"trial 1": GOOD, "trial 2": NEARLY, "baseline": BAD}
    study = make_study(name=f"race-{next(NAMES)}", **confirming(lrs, seeds=4, retry={"nan": 20, "killed": 20}))
    fates = iter([*ends, *itertools.repeat("complete", 100)])
    running: list[Claim] = []
    while True:
        while len(running) < workers and isinstance(one := claim(study, US), Claim):
            running.append(one)
        if not running:
            break
        ending = running.pop(shuffle.randrange(len(running)))
        if (fate := next(fates)) == "complete":
            finish(study, ending)
        else:
            ending.trial.set_user_attr(attributes.CAUSE, fate)
            study.optuna.tell(ending.trial, state=TrialState.FAIL)
    made = [begun(study)[chain.first.number] for chain in study.chains()]
    expected = [(candidate, seed) for seed in range(3) for candidate in range(3)] + [(0, 3), (1, 3)]
    assert Counter(made) == Counter(expected)
    assert account(study).is_reached


@pytest.fixture
def engine_of() -> Iterator[Any]:
    engines: list[LocalEngine] = []

    def make(study: Study) -> LocalEngine:
        engines.append(LocalEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.kill()
        engine.close()


def test_two_workers_share_it_and_a_killed_one_costs_no_run(make_study: MakeStudy, engine_of: Any) -> None:
    study = make_study(**confirming({"trial 1": GOOD, "baseline": BAD}, seeds=4))
    killed: list[int] = []

    def kill_once() -> Wish:
        running = [trial for trial in study.trials() if trial.state is TrialState.RUNNING]
        if not killed and running and (worker := owner_of(running[0])) is not None:
            os.kill(worker.pid, 9)
            killed.append(running[0].number)
        return Wish.GO_ON

    ended = conduct(study, engine_of(study), 2, wish=kill_once)
    assert ended.account.is_reached
    assert killed
    made = Counter(begun(study)[chain.first.number] for chain in study.chains())
    assert made == Counter([(candidate, seed) for seed in range(3) for candidate in range(2)] + [(0, 3)])
    report = confirmation_report(study)
    assert (report.verdict, report.leading, report.puzzles) == (Verdict.WINNER, ["trial 1"], 100)


def test_a_run_that_cannot_be_measured_on_unseen_puzzles_has_failed(make_study: MakeStudy) -> None:
    content = confirming({"trial 1": GOOD, "baseline": BAD}, seeds=2)
    content["base"].pop("project_name")  # which lets the stand-in write what it does of unseen puzzles
    study = make_study(**content)
    ended = conduct(study, DebugEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME)), 1)
    assert ended.account.is_reached
    for trial in study.trials():
        assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "data")
        assert trial.user_attrs["message"].startswith("on unseen puzzles: nowhere: expected a puzzle folder")
    assert confirmation_report(study).verdict is Verdict.NOTHING


def test_a_confirmation_has_no_other_parameter_than_the_seed(make_study: MakeStudy) -> None:
    content = confirming({"one": GOOD, "two": BAD})
    content["parameters"] = {**content["parameters"], "lr": {"values": [1e-3]}}
    with pytest.raises(Exception, match="the one parameter of a confirmation is seed"):
        space_from_mapping({"name": "x", **content}, "x")
