"""The audit of pruners: which condemned trials go on, and that they are true trials in every other way."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import optuna
import pytest
import stand_in_training
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note
from small_studies import MakeStudy

from hrm_sweep.report.study_report_page import report_page
from hrm_sweep.report.study_report_text import report_json, report_markdown
from hrm_sweep.runs import Owner
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.audit import ONE_OF_THE_FIRST, Condemnation, condemn, is_drawn, is_to_go_on
from hrm_sweep.sweep.audit_account import audit_account
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.conduct import Conducted, conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.launch import ChildProcess, ChildThread, Launcher
from hrm_sweep.sweep.replay import replayed_pruners
from hrm_sweep.sweep.status import Audited, study_status
from hrm_sweep.sweep.study import Study, open_study
from hrm_sweep.sweep.study_page import keep_study_page
from hrm_sweep.sweep.study_report import study_report
from hrm_sweep.sweep.trial import Surroundings, run_trial
from hrm_sweep.sweep.view import study_view

REASON = "zero_accuracy at epoch 2: no puzzle solved in 2 evaluations up to optimizer step 20"
NEVER = 1e-12  # a share so small that no number is drawn


def dead_runs(words: str = "", **changes: Any) -> dict[str, Any]:
    """Trials that the zero rule condemns after their second of four evaluations."""
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": words}
    rule = {"zero_accuracy": {"epoch": 2}}
    return {"base": base, "parameters": {"lr": {"values": [0.0]}}, "pruner": rule, "audit": 1.0, **changes}


def late_runs(**changes: Any) -> dict[str, Any]:
    """The same of trials that solve everything in the end."""
    return dead_runs("late@3", parameters={"lr": {"values": [2e-3]}}, **changes)


def run_next(study: Study, launch: Launcher = ChildThread) -> FrozenTrial:
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    surroundings = Surroundings(launch, 1, lambda: None, lambda line: None, stand_in_training.NAME)
    run_trial(study, one, surroundings)
    return study.trials()[one.number]


@pytest.fixture
def run() -> Iterator[Callable[[Study, int], Conducted]]:
    engines: list[LocalEngine] = []

    def conducted(study: Study, jobs: int) -> Conducted:
        engines.append(LocalEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME)))
        return conduct(study, engines[-1], jobs)

    yield conducted
    for engine in engines:
        engine.kill()
        engine.close()


# Which trials go on ---------------------------------------------------------------------------------------------------

CONDEMNED = st.lists(st.integers(0, 200), unique=True, min_size=1, max_size=40)


@given(order=CONDEMNED, seed=st.integers(0, 2**31), share=st.floats(0, 1))
def test_one_of_the_first_five_goes_on_and_of_the_others_those_that_the_seed_draws(
    order: list[int], seed: int, share: float
) -> None:
    first: dict[str, bool] = {}
    fates: dict[int, bool] = {}
    for number in order:
        fates[number] = is_to_go_on(number, first, seed, share)
        if len(first) < ONE_OF_THE_FIRST:
            first[str(number)] = fates[number]
        assert is_to_go_on(number, first, seed, share) == fates[number]  # asked again, after a kill
    if len(order) >= ONE_OF_THE_FIRST:
        assert any(fates[number] for number in order[:ONE_OF_THE_FIRST])
    drawn = {number for number in order if is_drawn(seed, number, share)}
    others = {number for number, goes_on in fates.items() if goes_on} - drawn
    assert drawn <= set(fates)
    assert all(fates[number] for number in drawn)
    assert others <= set(order[ONE_OF_THE_FIRST - 1 : ONE_OF_THE_FIRST])  # the fifth alone goes on undrawn
    assert not (others and drawn & set(order[:ONE_OF_THE_FIRST]))  # and only where none of the first four does


@given(seed=st.integers(0, 2**31), number=st.integers(0, 10**6), share=st.floats(0, 1), more=st.floats(0, 1))
def test_a_larger_share_has_all_trials_of_a_smaller_one(seed: int, number: int, share: float, more: float) -> None:
    small, large = sorted((share, more))
    assert is_drawn(seed, number, large) or not is_drawn(seed, number, small)
    assert is_drawn(seed, number, 1.0)
    assert not is_drawn(seed, number, 0.0)


def test_the_share_is_what_it_says() -> None:
    drawn = [is_drawn(seed, number, 0.1) for seed in range(1000) for number in (0, 7)]
    assert 155 < sum(drawn) < 245  # 3.3 standard deviations of 2,000 draws


@given(seed=st.integers(0, 2**31), first=st.integers(0, 10**4))
def test_they_are_spread_evenly(seed: int, first: int) -> None:
    stretch = [is_drawn(seed, number, 0.1) for number in range(first, first + 24)]
    assert 1 <= sum(stretch) <= 4
    numbers = [number for number in range(first, first + 200) if is_drawn(seed, number, 0.1)]
    assert {after - before for before, after in itertools.pairwise(numbers)} <= {5, 8, 13}  # the golden section's


# One trial ------------------------------------------------------------------------------------------------------------


def test_without_an_audit_a_condemned_trial_ends_and_nothing_is_noted(make_study: MakeStudy) -> None:
    study = make_study(**dead_runs("hold@4", audit=0))
    trial = run_next(study)
    assert (trial.state, trial.user_attrs["pruned_by"]) == (TrialState.PRUNED, REASON)
    assert attributes.AUDITED not in trial.user_attrs
    assert study.attribute(attributes.FIRST_CONDEMNED) is None


def test_a_condemned_trial_that_goes_on_is_complete_with_its_true_value_and_says_so_everywhere(
    make_study: MakeStudy,
) -> None:
    study = make_study(**late_runs(budget={"trials": 1}))
    trial = run_next(study)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 1.0)
    assert trial.user_attrs["audited"] == {"condemned_by": REASON, "epoch": 2, "step": 20, "time_s": 0.2}
    assert "pruned_by" not in trial.user_attrs
    assert study.optuna.best_trial.number == 0
    mark = f"audited, for it was condemned by {REASON}"
    assert mark in get_note(optuna.Trial(study.optuna, trial._trial_id))
    (line,) = study_view(study, 1.0).trials
    assert (line.is_audited, line.said) == (True, mark)
    status = study_status(study)
    assert status.audited is not None
    assert (status.audited.condemned, status.audited.pruned, status.audited.ended) == (1, 0, 1)


def test_a_trial_that_goes_on_is_condemned_once_and_by_one_pruner(make_study: MakeStudy) -> None:
    """Asked again, hyperband would count it in rungs that it would never have reached."""
    pruner = {"zero_accuracy": {"epoch": 2}, "threshold": {"lower": 0.1, "warmup_epochs": 3}, "hyperband": {}}
    trial = run_next(make_study(**dead_runs(pruner=pruner)))
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.0)
    assert trial.user_attrs["audited"]["condemned_by"] == REASON
    assert [key for key in trial.system_attrs if key.startswith("completed_rung")] == ["completed_rung_0"]


def test_a_rule_of_the_diagnosis_counts_as_a_pruner(make_study: MakeStudy) -> None:
    study = make_study(**dead_runs("still", pruner={"diagnosis": None}))
    trial = run_next(study)
    assert trial.state is TrialState.COMPLETE
    assert trial.user_attrs["audited"]["condemned_by"].startswith("diagnosis at epoch 1: frozen_puzzle_embedding: ")


def test_an_audited_trial_may_still_fail(make_study: MakeStudy) -> None:
    study = make_study(**dead_runs("nan@4"))
    trial = run_next(study)
    assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "nan")
    assert trial.user_attrs["audited"]["condemned_by"] == REASON


def test_a_retry_keeps_the_mark_and_is_not_condemned_again(make_study: MakeStudy) -> None:
    study = make_study(**dead_runs("kill@4-once", budget={"trials": 1}))
    first, second = run_next(study, ChildProcess), run_next(study, ChildProcess)
    assert (first.state, first.user_attrs["cause"]) == (TrialState.FAIL, "killed")
    assert (second.state, second.value, second.user_attrs["retry_of"]) == (TrialState.COMPLETE, 0.0, 0)
    assert second.user_attrs["audited"] == first.user_attrs["audited"]
    assert study.attribute(attributes.FIRST_CONDEMNED) == {"0": True}


def test_a_kill_between_the_mark_and_the_note_changes_nothing(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(**dead_runs(audit=1.0))
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    condemnation = Condemnation(REASON, 2, 20, 0.2)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "set_user_attr", die)
        with pytest.raises(KeyboardInterrupt):
            condemn(study, one.trial, condemnation)
    again = open_study(study.storage_url, study.name)
    assert condemn(again, optuna.Trial(again.optuna, one.trial._trial_id), condemnation)
    assert again.attribute(attributes.FIRST_CONDEMNED) == {"0": True}


# Whole studies --------------------------------------------------------------------------------------------------------


def test_two_workers_let_exactly_one_of_the_first_five_go_on_within_an_exact_budget(
    make_study: MakeStudy, run: Callable[[Study, int], Conducted]
) -> None:
    study = make_study(**dead_runs(audit=NEVER, budget={"trials": 6}))
    ended = run(study, 2)
    assert (ended.account.is_reached, ended.account.given_out) == (True, 6)
    audited = [trial for trial in study.trials() if attributes.AUDITED in trial.user_attrs]
    assert len(audited) == 1
    assert audited[0].state is TrialState.COMPLETE
    assert [trial.state for trial in study.trials()].count(TrialState.PRUNED) == 5
    first = study.attribute(attributes.FIRST_CONDEMNED)
    assert list(first.values()) == [False] * 4 + [True]
    assert list(first)[-1] == str(audited[0].number)


def test_the_same_trials_go_on_whatever_is_killed_and_however_many_workers_there_are(
    make_study: MakeStudy, run: Callable[[Study, int], Conducted]
) -> None:
    study = make_study(
        **dead_runs("kill@3-once", audit=0.5, budget={"trials": 5}, sampler={"name": "random", "seed": 3})
    )
    ended = run(study, 2)
    assert (ended.account.is_reached, ended.account.given_out) == (True, 5)
    expected = {number for number in range(len(study.trials())) if is_drawn(3, number, 0.5)}
    undrawn = {int(number) for number, goes_on in study.attribute(attributes.FIRST_CONDEMNED).items() if goes_on}
    expected |= undrawn  # the fifth, if there is one that goes on undrawn
    marked = {chain.first.number for chain in study.chains() if attributes.AUDITED in chain.last.user_attrs}
    assert marked
    assert marked == {chain.first.number for chain in study.chains()} & expected
    for chain in study.chains():
        goes_on = chain.first.number in expected
        assert chain.last.state is (TrialState.COMPLETE if goes_on else TrialState.PRUNED)
        assert len({json.dumps(one.user_attrs.get("audited")) for one in chain.attempts}) == 1


# What a study learns from it ------------------------------------------------------------------------------------------


def ended(study: Study, *curve: float, pruned: bool = False, seconds: float = 20.0, **attrs: Any) -> None:
    """A trial with a value at each epoch from 1 on; complete with its best one, or pruned."""
    trial = optuna.trial.create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=None if pruned else max(curve),
        intermediate_values=dict(enumerate(curve, start=1)),
        user_attrs={attributes.SECONDS: seconds, **attrs},
    )
    study.optuna.add_trial(trial)


def audited(time_s: float) -> dict[str, Any]:
    return {"audited": {"condemned_by": REASON, "epoch": 2, "step": 20, "time_s": time_s}}


def test_the_account_of_a_study_says_what_pruning_saved_and_what_it_may_have_cost(make_study: MakeStudy) -> None:
    study = make_study(audit=0.1, pruner={"zero_accuracy": {"epoch": 2}}, budget={"trials": 20})
    for best in (0.2, 0.4, 0.6):
        ended(study, 0.1, 0.2, 0.2, best)
    for _ in range(4):
        ended(study, 0.0, 0.0, pruned=True, seconds=10, pruned_by=REASON)
    ended(study, 0.0, 0.0, 0.1, 0.5, seconds=9, **audited(4))
    ended(study, 0.0, 0.0, 0.0, 0.0, seconds=9, **audited(4))
    found = audit_account(study)
    assert (found.pruned, found.condemned, [trial.number for trial in found.ended]) == (4, 6, [7, 8])
    assert found.median == pytest.approx(0.4)
    assert [trial.number for trial in found.better] == [7]
    assert (found.trained_s, found.saved_s, found.spent_s) == (118, 40, 10)
    assert found.zero_rule_safe_from(winners_only=False) == 3
    wrong = found.wrongly_condemned
    assert wrong is not None
    assert (wrong.share, wrong.n) == (0.5, 2)
    assert found.winners_condemned is not None
    assert found.winners_condemned[0] == pytest.approx(3 / 4)  # half of 6 condemned, beside one that was let live
    assert study_status(study).audited == Audited(6, 4, 0, 2, 1, found.standing())


def test_each_pruner_and_each_near_miss_is_told_of_wherever_the_audit_is(make_study: MakeStudy) -> None:
    study = make_study(audit=0.1, pruner={"zero_accuracy": {"epoch": 2}, "median": None}, budget={"trials": 20})
    ended(study, 0.1, 0.2, 0.3, 0.4)
    ended(study, 0.3, 0.4, 0.5, 0.6)
    ended(study, 0.0, 0.15, pruned=True, pruned_by="median at epoch 2: exact_accuracy 0.15")
    ended(study, 0.9, 0.95, pruned=True, pruned_by="constraints at epoch 2: seconds 9 > 8")
    ended(study, 0.0, 0.0, 0.1, 0.1, **audited(4))
    found = audit_account(study)
    assert [(one.name, one.condemned, one.audited) for one in found.by_pruner] == [
        ("median", 1, 0),
        ("zero_accuracy", 1, 1),
    ]
    near = (
        "Trial 2 was pruned by median with 0.150 at epoch 2, where completed ones had 0.300 (median) to 0.400 (best)."
    )
    assert near in list(found.sentences())
    status = study_status(study)
    assert status.audited is not None
    text = report_markdown(study_report(study, measure=False, next_commands=[], now=datetime(2026, 1, 2)))
    keep_study_page(study, lambda said: None, every_s=0.0)
    note = get_note(study.optuna).replace("\\", "")  # of Markdown's escapes
    for said in (status.audited.said, text.replace("\\", ""), note):
        assert "That tells nothing of median (1 condemned)." in said
    assert near in text.replace("\\", "")


def test_the_report_says_it_in_every_form(make_study: MakeStudy) -> None:
    study = make_study(audit=0.1, pruner={"zero_accuracy": {"epoch": 2}}, budget={"trials": 20})
    ended(study, 0.1, 0.2, 0.3, 0.4)
    ended(study, 0.0, 0.0, pruned=True, seconds=10, pruned_by=REASON)
    ended(study, 0.0, 0.0, 0.1, 0.5, seconds=9, **audited(4))
    report = study_report(study, measure=False, next_commands=[], now=datetime(2026, 1, 2))
    told = json.loads(report_json(report))["audit"]
    assert (told["condemned"], told["above_median"], told["above_zero"]) == (2, [2], [2])
    standing = (
        "1 trial was pruned, 1 more condemned but let go on, to audit the pruners: of 1 audited, 1 ended above the "
        "median of the others (0.4), 1 above 0 %."
    )
    page, text = html.unescape(report_page(report)), report_markdown(report)
    for said in (page, text):
        assert "Did pruning end a winner?" in said
        assert standing in said
        assert "Pruning saved an estimated 10 s of training" in said
        assert "One audited trial tells next to nothing" in said
    assert f"| 2 | zero_accuracy | 2 | 0.500 | yes | {REASON} |" in text
    assert dict(report.setting)["audited"] == "10% of the trials that a pruner condemns go on"


def test_retries_count_as_one_trial(make_study: MakeStudy) -> None:
    study = make_study(**dead_runs("kill@4-once", budget={"trials": 1}))
    run_next(study, ChildProcess)
    run_next(study, ChildProcess)
    found = audit_account(study)
    assert (found.condemned, len(found.audited), len(found.ended)) == (1, 1, 1)


def test_audit_may_be_switched_on_when_a_study_goes_on(make_study: MakeStudy) -> None:
    run_next(make_study(**dead_runs(audit=0)))
    study = make_study(**dead_runs(audit=1.0))
    assert [run_next(study).state, study.trials()[0].state] == [TrialState.COMPLETE, TrialState.PRUNED]


# At the end of a run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solved", "state"), [(None, TrialState.PRUNED), (0.1, TrialState.COMPLETE)])
def test_a_run_that_has_solved_enough_to_end_is_no_more_pruned_for_others_that_solved_more(
    make_study: MakeStudy, solved: float | None, state: TrialState
) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "", "stop_when_solved": solved}
    study = make_study(
        base=base,
        parameters={"lr": {"values": [2e-3, 1e-3]}},
        first=[{"lr": 2e-3}, {"lr": 1e-3}],
        pruner={"median": {"startup_trials": 1}},
        budget={"trials": 2},
    )
    assert run_next(study).state is TrialState.COMPLETE
    assert run_next(study).state is state


def test_what_violates_a_constraint_was_condemned_by_no_pruner(make_study: MakeStudy) -> None:
    study = make_study(audit=0.1, pruner={"zero_accuracy": {"epoch": 2}}, budget={"trials": 20})
    ended(study, 0.1, 0.2, 0.3, 0.4)
    for _ in range(3):
        ended(study, 0.0, pruned=True, pruned_by="constraints at epoch 0: parameters 9 > 8; not trained")
    assert (audit_account(study).pruned, audit_account(study).standing()) == (0, "")
    ended(study, 0.0, 0.0, pruned=True, pruned_by="zero_accuracy at epoch 2: no puzzle solved")
    ended(study, 0.0, 0.0, 0.1, 0.1, **audited(5))
    found = audit_account(study)
    assert (found.pruned, found.condemned) == (1, 2)
    assert found.standing().startswith("1 trial was pruned, 1 more condemned")
    assert replayed_pruners(study, "zero_accuracy at 2").pruned == 1
