"""The exact budget: what is given out, to whom, and what becomes of trials whose worker is gone."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from small_studies import MakeStudy

from hrm_sweep.runs import Cause, Owner
from hrm_sweep.runs.status import process_start
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import Claim, Nothing, account, claim, recover
from hrm_sweep.sweep.study import Study, open_study

US = Owner.this_process()


@pytest.fixture(scope="module")
def dead() -> Owner:
    """A process of this host that is no more."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(US.host, process.pid, process_start(process.pid) or "")
    process.communicate(b"\n")
    return owner


def taken(study: Study, owner: Owner = US) -> Claim:
    got = claim(study, owner)
    assert isinstance(got, Claim), got
    return got


def fail(study: Study, one: Claim, cause: Cause) -> None:
    one.trial.set_user_attr(attributes.CAUSE, str(cause))
    study.optuna.tell(one.trial, state=TrialState.FAIL)


def complete(study: Study, one: Claim, value: float = 0.5) -> None:
    study.optuna.tell(one.trial, value)


def test_exactly_the_budget_is_given_out(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 3})
    for _ in range(3):
        complete(study, taken(study))
    assert claim(study, US) is Nothing.FOR_GOOD
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE] * 3
    assert account(study).is_reached


def test_a_running_trial_keeps_the_others_waiting_because_it_may_come_back(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 1})
    one = taken(study)
    assert claim(study, US) is Nothing.FOR_NOW
    complete(study, one)
    assert claim(study, US) is Nothing.FOR_GOOD


def test_a_trial_carries_everything_a_recovery_needs_from_its_first_moment(make_study: MakeStudy) -> None:
    one = taken(make_study())
    attrs = one.trial.user_attrs
    assert Owner(**attrs["owner"]) == US
    assert (attrs["seed"], attrs["run_dir"]) == (0, "trials/small/0000")
    assert (one.seed, str(one.directory.path), one.retry_of) == (0, "trials/small/0000", None)


def test_each_trial_has_a_seed_of_its_own(make_study: MakeStudy) -> None:
    study = make_study(sampler={"name": "random", "seed": 40})
    assert [taken(study).seed for _ in range(3)] == [40, 41, 42]


def test_a_trial_whose_worker_died_is_failed_as_killed_and_tried_again_where_it_was(
    make_study: MakeStudy, dead: Owner
) -> None:
    study = make_study(budget={"trials": 1})
    lost = taken(study, dead)
    again = taken(study)
    assert (again.retry_of, again.directory, again.seed) == (lost.number, lost.directory, lost.seed)
    assert again.values == lost.values
    before, after = study.trials()
    assert (before.state, before.user_attrs["cause"], after.state) == (TrialState.FAIL, "killed", TrialState.RUNNING)
    complete(study, again)
    assert claim(study, US) is Nothing.FOR_GOOD
    assert account(study).given_out == 1


def test_trials_of_other_hosts_and_of_other_programs_are_left_alone(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 3})
    taken(study, Owner("another-host", 1, "1"))
    study.optuna.ask()
    assert recover(study) == []
    assert [trial.state for trial in study.trials()] == [TrialState.RUNNING] * 2
    assert account(study).running == 1


def test_a_worker_of_another_host_is_taken_for_dead_after_seven_minutes_of_silence(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 1})
    one = taken(study, Owner("another-host", 1, "1"))
    one.trial.set_user_attr("alive_at", time.time() - 400)
    assert recover(study) == []
    one.trial.set_user_attr("alive_at", time.time() - 440)
    assert account(study).running == 0
    assert taken(study).retry_of == 0


def test_a_trial_killed_before_it_drew_its_values_is_tried_again_with_those_it_was_born_with(
    make_study: MakeStudy, dead: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(first=[{"lr": 2e-3}], budget={"trials": 1})

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hrm_sweep.sweep.budget._draw_all", killed)
        with pytest.raises(KeyboardInterrupt):
            claim(study, dead)
    assert study.trials()[0].params == {}
    again = taken(study)
    assert (again.values, again.retry_of) == ({"lr": 2e-3}, 0)


@pytest.mark.parametrize(
    ("cause", "attempts"),
    [
        (Cause.OOM, 2),
        (Cause.PREEMPTED, 6),
        (Cause.KILLED, 6),
        (Cause.STALLED, 6),
        (Cause.STORAGE, 4),
        (Cause.NAN, 1),
        (Cause.CONFIG, 1),
        (Cause.DATA, 1),
        (Cause.NO_METRIC, 1),
        (Cause.BUG, 1),
    ],
)
def test_each_cause_has_its_number_of_attempts(make_study: MakeStudy, cause: Cause, attempts: int) -> None:
    study = make_study(budget={"trials": 1})
    seen = 0
    while isinstance(one := claim(study, US), Claim):
        fail(study, one, cause)
        seen += 1
    assert (one, seen) == (Nothing.FOR_GOOD, attempts)
    assert [trial.user_attrs.get("retry_of") for trial in study.trials()] == [None, *range(attempts - 1)]
    assert account(study).given_out == 1


def test_the_space_may_set_other_numbers_of_attempts(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 1}, retry={"oom": 0, "nan": 1})
    fail(study, taken(study), Cause.NAN)
    fail(study, taken(study), Cause.OOM)
    assert claim(study, US) is Nothing.FOR_GOOD


def test_the_points_of_first_are_tried_first_and_once(make_study: MakeStudy) -> None:
    study = make_study(
        parameters={"lr": {"min": 0.0, "max": 1.0}, "weight_decay": {"min": 0.0, "max": 1.0}},
        first=[{"lr": 0.25, "weight_decay": 0.5}, {"lr": 0.75}],
    )
    values = [taken(study).values for _ in range(4)]
    assert values[0] == {"lr": 0.25, "weight_decay": 0.5}
    assert values[1]["lr"] == 0.75
    assert not {0.25, 0.75} & {one["lr"] for one in values[2:]}


def test_a_trial_equal_to_a_finished_one_is_marked_as_its_replicate_and_has_another_seed(make_study: MakeStudy) -> None:
    study = make_study(parameters={"lr": {"values": [1e-3]}})
    first = taken(study)
    side_by_side = taken(study)
    assert "replicate_of" not in side_by_side.trial.user_attrs
    complete(study, first)
    later = taken(study)
    assert later.trial.user_attrs["replicate_of"] == first.number
    assert later.seed != first.seed
    fail(study, later, Cause.KILLED)
    assert taken(study).trial.user_attrs["replicate_of"] == first.number


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_exhaustive_samplers_try_every_combination_once_and_then_end_the_study(
    make_study: MakeStudy, sampler: str
) -> None:
    study = make_study(
        parameters={
            "arch.H_cycles": {"min": 1, "max": 2},
            "lr": {"values": [1e-3, 2e-3]},
            "weight_decay": {"values": [0.1, 1.0], "when": {"lr": "> 1e-3"}},
        },
        first=[{"arch.H_cycles": 2, "lr": 2e-3, "weight_decay": 1.0}],
        sampler={"name": sampler, "seed": 3},
        budget={"trials": 100},
    )
    seen = []
    while isinstance(one := claim(study, US), Claim):
        seen.append(tuple(sorted(one.values.items())))
        complete(study, one)
    assert (one, len(seen), len(set(seen))) == (Nothing.FOR_GOOD, 6, 6)
    assert account(study).is_reached


def test_a_grid_goes_in_the_order_of_the_file(make_study: MakeStudy) -> None:
    study = make_study(
        parameters={"lr": {"values": [2e-3, 1e-3]}, "arch.H_cycles": {"min": 1, "max": 2}},
        sampler={"name": "grid"},
    )
    assert [tuple(taken(study).values.values()) for _ in range(4)] == [(2e-3, 1), (2e-3, 2), (1e-3, 1), (1e-3, 2)]


def test_a_trial_in_optunas_queue_is_run_in_place_of_a_new_one(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 2})
    study.optuna.enqueue_trial({"lr": 2e-3})
    assert account(study).left == 2
    queued = taken(study)
    assert (queued.number, queued.values, queued.seed) == (0, {"lr": 2e-3}, 0)
    complete(study, queued)
    complete(study, taken(study))
    study.optuna.enqueue_trial({"lr": 1e-3})
    assert claim(study, US) is Nothing.FOR_GOOD
    assert account(study).given_out == 2


def test_a_larger_budget_continues_and_a_smaller_one_stops(make_study: MakeStudy) -> None:
    complete(make_study(budget={"trials": 1}), taken(make_study(budget={"trials": 1})))
    study = make_study(budget={"trials": 2})
    complete(study, taken(study))
    assert claim(make_study(budget={"trials": 1}), US) is Nothing.FOR_GOOD


NAMES = itertools.count()
ENDS = st.sampled_from(["complete", "prune", "killed", "nan", "vanish", "still running"])


@given(budget=st.integers(1, 4), ends=st.lists(ENDS, max_size=12))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_becomes_of_trials_the_budget_is_never_passed_and_always_reached(
    make_study: MakeStudy, dead: Owner, budget: int, ends: list[str]
) -> None:
    study = make_study(name=f"study-{next(NAMES)}", budget={"trials": budget})
    running = []
    for end in [*ends, *["complete"] * (budget + 12)]:
        got = claim(study, dead if end == "vanish" else US)
        if not isinstance(got, Claim):
            for one in running:
                complete(study, one)
            running = []
        elif end == "complete":
            complete(study, got)
        elif end == "prune":
            study.optuna.tell(got.trial, state=TrialState.PRUNED)
        elif end in ("killed", "nan"):
            fail(study, got, Cause(end))
        elif end == "still running":
            running.append(got)
        assert account(study).given_out <= budget
    for one in running:
        complete(study, one)
    while isinstance(got := claim(study, US), Claim):
        complete(study, got)
    seen = account(open_study(study.storage_url, study.name))
    assert (seen.given_out, seen.ended, seen.running, seen.due, seen.left) == (budget, budget, 0, 0, 0)
    states = Counter(trial.state for trial in study.trials())
    assert states[TrialState.RUNNING] == states[TrialState.WAITING] == 0
