"""A study looked after from outside: stopped, tried again, reaped, and ended when it is without hope."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_in_training
from bulk_studies import fill
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from small_studies import MakeStudy, small_space

from hrm_sweep.errors import StudyError
from hrm_sweep.runs import Cause, Owner, read_metrics
from hrm_sweep.runs.status import process_start
from hrm_sweep.sweep import attributes, status
from hrm_sweep.sweep.again import try_again
from hrm_sweep.sweep.budget import SILENCE_S, Claim, Nothing, account, claim, owner_of
from hrm_sweep.sweep.conduct import Conducted, Wish, conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.reap import reap
from hrm_sweep.sweep.status import study_status
from hrm_sweep.sweep.stopping import Stop, StopListener, request_stop, requested_stop
from hrm_sweep.sweep.study import Study, open_study

US = Owner.this_process()


@pytest.fixture(scope="module")
def dead() -> Owner:
    """A process of this host that is no more."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(US.host, process.pid, process_start(process.pid) or "")
    process.communicate(b"\n")
    return owner


@pytest.fixture
def run(make_study: MakeStudy) -> Iterator[Callable[..., Conducted]]:
    """Conducts a study with real workers of the stand-in training, none of which outlives the test."""
    engines: list[LocalEngine] = []

    def conducted(study: Study, jobs: int = 1, **options: Any) -> Conducted:
        engines.append(LocalEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME)))
        return conduct(study, engines[-1], jobs, **options)

    yield conducted
    for engine in engines:
        engine.kill()
        engine.close()


def taken(study: Study, owner: Owner = US) -> Claim:
    got = claim(study, owner)
    assert isinstance(got, Claim), got
    return got


def fail(study: Study, cause: Cause) -> None:
    one = taken(study)
    one.trial.set_user_attr(attributes.CAUSE, str(cause))
    one.trial.set_user_attr(attributes.MESSAGE, f"it was {cause}")
    study.optuna.tell(one.trial, state=TrialState.FAIL)


def end(study: Study, how: str) -> None:
    """Let the next trial end: `complete`, `pruned` or a cause, all of which are final here."""
    if how in ("complete", "pruned"):
        state = TrialState.COMPLETE if how == "complete" else TrialState.PRUNED
        study.optuna.tell(taken(study).trial, 0.5 if how == "complete" else None, state=state)
    else:
        fail(study, Cause(how))


FINAL = dict.fromkeys((str(cause) for cause in Cause), 0)  # nothing is tried again by itself

STREAKS: list[tuple[str, list[str], str | None]] = [
    ("three in a row", ["oom", "oom", "oom"], "oom"),
    ("two are not enough", ["oom", "oom"], None),
    ("a success breaks the row", ["oom", "oom", "complete", "oom"], None),
    ("so does a pruned trial", ["oom", "oom", "pruned", "oom"], None),
    ("so does another cause", ["oom", "oom", "nan", "oom"], None),
    ("the last row counts", ["complete", "bug", "oom", "oom", "oom"], "oom"),
    ("killed and preempted never do", ["killed", "killed", "killed", "preempted", "preempted", "preempted"], None),
    ("nor do they break a row", ["oom", "killed", "oom", "preempted", "oom"], "oom"),
]


@pytest.mark.parametrize(("ends", "cause"), [row[1:] for row in STREAKS], ids=[row[0] for row in STREAKS])
def test_failures_in_a_row_for_one_cause_end_a_study(make_study: MakeStudy, ends: list[str], cause: str | None) -> None:
    study = make_study(budget={"trials": 20}, retry=FINAL, stop_after_same_cause=3)
    for how in ends:
        end(study, how)
    again = open_study(study.storage_url, study.name)  # as after a restart
    streak = account(again).streak
    assert (None if streak is None else str(streak.cause)) == cause
    got = claim(again, US)
    assert got is Nothing.HOPELESS if cause else isinstance(got, Claim)


def test_failures_that_are_tried_again_are_no_reason_to_end(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 1}, retry={"oom": 5}, stop_after_same_cause=1)
    for _ in range(5):
        fail(study, Cause.OOM)
        assert account(study).streak is None
    fail(study, Cause.OOM)
    assert claim(study, US) is Nothing.HOPELESS


def test_a_study_without_hope_goes_on_when_the_limit_is_raised_or_its_trials_are_tried_again(
    make_study: MakeStudy,
) -> None:
    make = {"budget": {"trials": 20}, "retry": FINAL}
    study = make_study(**make, stop_after_same_cause=2)
    end(study, "data")
    end(study, "data")
    assert claim(study, US) is Nothing.HOPELESS
    assert isinstance(claim(make_study(**make, stop_after_same_cause=3), US), Claim)
    assert isinstance(claim(make_study(**make), US), Claim)  # off by default
    study = make_study(**make, stop_after_same_cause=2)
    assert claim(study, US) is Nothing.HOPELESS
    try_again(study, {Cause.DATA}, [])
    assert taken(study).retry_of == 0


def test_real_workers_end_a_study_without_hope_and_leave_the_rest_of_the_budget(
    make_study: MakeStudy, run: Callable[..., Conducted]
) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "exit@2"}
    study = make_study(base=base, budget={"trials": 30}, stop_after_same_cause=3)
    ended = run(study, 2)
    assert ended.account.streak is not None
    assert str(ended.account.streak.cause) == "bug"
    assert (ended.interrupted, ended.account.is_reached, ended.account.running) == (False, False, 0)
    assert 3 <= ended.account.given_out <= 5  # what had begun when the third failed goes on


def test_failed_trials_are_tried_again_once_more_in_their_directories(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 3}, retry={"oom": 0, "killed": 1})
    for how in ("oom", "complete", "nan"):
        end(study, how)
    assert claim(study, US) is Nothing.FOR_GOOD
    (asked,) = try_again(study, {Cause.OOM}, [])
    assert (asked.number, asked.retry_of, asked.cause) == (3, 0, Cause.OOM)
    standing = account(study)
    assert (standing.given_out, standing.ended, standing.due, standing.is_reached) == (3, 2, 1, False)
    assert try_again(study, {Cause.OOM}, []) == []  # asked for twice is asked for once
    again = taken(open_study(study.storage_url, study.name))
    first = study.trials()[0]
    assert (again.number, again.retry_of, again.seed) == (3, 0, first.user_attrs["seed"])
    assert (again.directory, again.values) == (study.run_directory(0), first.params)
    study.optuna.tell(again.trial, 0.5)
    standing = account(study)
    assert (standing.given_out, standing.ended, standing.due, standing.is_reached) == (3, 3, 0, True)


def test_retries_count_anew_from_an_attempt_that_was_asked_for(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 1}, retry={"killed": 1})
    fail(study, Cause.KILLED)
    fail(study, Cause.KILLED)
    assert claim(study, US) is Nothing.FOR_GOOD
    try_again(study, set(), [0])
    fail(study, Cause.KILLED)
    fail(study, Cause.KILLED)
    assert claim(study, US) is Nothing.FOR_GOOD
    assert [chain.numbers for chain in study.chains()] == [(0, 1, 2, 3)]


def test_what_did_not_fail_for_good_cannot_be_tried_again(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 3})
    end(study, "complete")
    fail(study, Cause.KILLED)
    for number, message in [
        (0, "trial 0 has not failed, it is complete; there is nothing to retry"),
        (1, "trial 1 is tried again anyway"),
        (7, "no trial 7; there are 2, counted from 0"),
    ]:
        with pytest.raises(StudyError, match=message):
            try_again(study, set(), [number])
    assert len(study.trials()) == 2


def test_a_trial_that_was_asked_for_continues_from_its_checkpoint_whoever_is_killed(
    make_study: MakeStudy, run: Callable[..., Conducted]
) -> None:
    """Four trials run out of memory once, in their second evaluation; then their workers are killed on the way."""
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "oom@2-once"}
    study = make_study(base=base, budget={"trials": 4}, retry={"oom": 0, "killed": 9})
    first = run(study, 2)
    assert (first.account.is_reached, study_status(study).causes) == (True, {"oom": 4})
    assert [asked.retry_of for asked in try_again(study, {Cause.OOM}, [])] == [0, 1, 2, 3]
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng, killed = random.Random(seed), []

    def kill_two() -> Wish:
        running = [owner_of(trial) for trial in study.trials() if trial.state is TrialState.RUNNING]
        alive = [owner for owner in running if owner is not None and owner.is_alive()]
        if alive and len(killed) < 2:
            killed.append(rng.choice(alive))
            os.kill(killed[-1].pid, signal.SIGKILL)
        return Wish.GO_ON

    again = run(study, 2, wish=kill_two)
    assert (again.account.given_out, again.account.ended, again.account.is_reached) == (4, 4, True)
    assert [chain.last.state for chain in study.chains()] == [TrialState.COMPLETE] * 4
    for number in range(4):
        assert [row.step for row in read_metrics(study.run_directory(number).metrics)] == [10, 20, 30, 40]
        assert "from evaluation 1" in study.run_directory(number).log.read_text()


ENDS = st.sampled_from(["complete", "oom", "killed", "vanish", "ask"])


@given(budget=st.integers(1, 3), ends=st.lists(ENDS, max_size=14))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_for_the_budget_stays_exact(
    make_study: MakeStudy, dead: Owner, budget: int, ends: list[str]
) -> None:
    study = make_study(name=f"study-{random.SystemRandom().randrange(10**9)}", budget={"trials": budget})
    for how in [*ends, *["complete"] * 30]:
        if how == "ask":
            try_again(study, set(Cause), [])
            continue
        got = claim(study, dead if how == "vanish" else US)
        assert account(study).given_out <= budget
        if not isinstance(got, Claim) or how == "vanish":
            continue
        if how == "complete":
            study.optuna.tell(got.trial, 0.5)
        else:
            got.trial.set_user_attr(attributes.CAUSE, how)
            study.optuna.tell(got.trial, state=TrialState.FAIL)
    while isinstance(got := claim(study, US), Claim):
        study.optuna.tell(got.trial, 0.5)
    seen = account(open_study(study.storage_url, study.name))
    assert (seen.given_out, seen.ended, seen.running, seen.due, seen.left) == (budget, budget, 0, 0, 0)
    assert all(trial.state.is_finished() for trial in study.trials())


def test_reaping_ends_what_nobody_runs_and_asks_about_the_rest(make_study: MakeStudy, dead: Owner) -> None:
    study = make_study(budget={"trials": 9})
    alive, far = taken(study), taken(study, Owner("another-host", 1, "1"))
    foreign = study.optuna.ask()
    lost = taken(study, dead)
    found = reap(study, everything=False)
    assert (found.recovered, found.ended, found.left) == ((lost.number,), (), (foreign.number,))
    assert found.alive == (alive.number, far.number)
    assert study.trials()[lost.number].user_attrs["cause"] == "killed"
    again = reap(study, everything=True)
    assert (again.recovered, again.ended, again.left, again.alive) == ((), (2,), (), (0, 1))
    ended = study.trials()[foreign.number]
    assert (ended.state, "cause" in ended.user_attrs) == (TrialState.FAIL, False)
    assert taken(study).retry_of == lost.number  # and nobody retries what another program began


def test_a_trial_of_a_host_that_died_comes_back_and_continues(
    make_study: MakeStudy, run: Callable[..., Conducted]
) -> None:
    """The worker of another host wrote a checkpoint, and has said nothing since."""
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1}
    study = make_study(base=base, budget={"trials": 1})
    one = taken(study, Owner("another-host", 1, "1"))
    one.directory.checkpoints.mkdir(parents=True)
    one.directory.last_checkpoint.write_text('{"evaluation": 2}')
    one.trial.set_user_attr(attributes.ALIVE_AT, time.time() - SILENCE_S + 100)
    assert account(study).running == 1
    one.trial.set_user_attr(attributes.ALIVE_AT, time.time() - SILENCE_S - 1)
    ended = run(study)
    first, second = study.trials()
    assert (first.state, first.user_attrs["cause"]) == (TrialState.FAIL, "killed")
    assert (second.state, second.user_attrs["retry_of"], ended.account.given_out) == (TrialState.COMPLETE, 0, 1)
    assert "from evaluation 2" in one.directory.log.read_text()


def test_a_study_that_is_to_stop_starts_nothing_until_the_next_run(
    make_study: MakeStudy, run: Callable[..., Conducted]
) -> None:
    study = make_study(budget={"trials": 2})
    request_stop(study, Stop.DRAIN)
    assert claim(study, US) is Nothing.STOPPED
    ended = run(study)
    assert (ended.account.is_reached, ended.interrupted, requested_stop(study)) == (True, False, None)


@pytest.mark.parametrize(("how", "state"), [(Stop.DRAIN, TrialState.COMPLETE), (Stop.NOW, TrialState.FAIL)])
def test_workers_hear_of_a_stop_through_the_storage(
    make_study: MakeStudy, run: Callable[..., Conducted], how: Stop, state: TrialState
) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}
    study = make_study(base=base, budget={"trials": 3})
    asked = []

    def ask_once() -> Wish:
        if not asked and len(read_metrics(study.run_directory(0).metrics)) == 1:
            asked.append(how)
            request_stop(open_study(study.storage_url, study.name), how)
            if how is Stop.DRAIN:
                Path("go").touch()
        return Wish.GO_ON

    ended = run(study, 1, wish=ask_once)
    assert (ended.interrupted, ended.account.is_reached, ended.account.running) == (True, False, 0)
    (trial,) = study.trials()
    assert trial.state is state
    assert trial.user_attrs.get("cause") == (None if how is Stop.DRAIN else "preempted")
    assert study.run_directory(0).checkpoints.is_dir()


def test_the_storage_is_asked_every_five_seconds_at_most(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    now, reads = [1000.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("hrm_sweep.sweep.stopping.requested_stop", lambda _study: reads.append(now[0]) or Stop.NOW)
    listener = StopListener(study)
    for _ in range(100):
        now[0] += 0.1
        assert listener.heard() is Stop.NOW
    assert len(reads) == 2


def test_status_says_who_runs_what_and_why_the_others_failed(make_study: MakeStudy, dead: Owner) -> None:
    study = make_study(budget={"trials": 12}, retry={"oom": 1})
    end(study, "complete")
    end(study, "pruned")
    end(study, "nan")
    fail(study, Cause.OOM)
    fail(study, Cause.OOM)  # its retry
    fail(study, Cause.KILLED)
    mine, far, gone = taken(study), taken(study, Owner("another-host", 7, "1")), taken(study, dead)
    far.trial.set_user_attr(attributes.ALIVE_AT, time.time() - 0.7 * SILENCE_S)
    foreign = study.optuna.ask()
    now = study_status(study)
    assert mine.retry_of == 5
    assert now.trials == {"complete": 1, "pruned": 1, "failed": 2, "running": 4}
    assert (now.causes, now.retried) == ({"nan": 1, "oom": 1}, {"oom": 1, "killed": 1})
    assert [(line.trial, line.host, line.state) for line in now.workers] == [
        (mine.number, US.host, "alive"), (far.number, "another-host", "silent"), (gone.number, US.host, "gone"),
    ]  # fmt: skip
    assert (now.ended, now.due, now.left, now.attempts) == (4, 0, 4, 10)
    assert (now.foreign, now.stop, now.streak, now.is_reached) == ((foreign.number,), None, None, False)


def test_the_rate_is_that_of_the_time_in_which_something_ran(make_study: MakeStudy) -> None:
    """One trial a minute; a night in between changes nothing."""
    study = make_study(budget={"trials": 200})
    fill(study, 30)
    now = study_status(study)
    assert now.rate is not None
    assert now.rate.per_hour == pytest.approx(60, rel=1e-3)
    assert now.rate.low < 60 < now.rate.high
    assert now.hours_left is not None
    assert now.hours_left[1] == pytest.approx(170 / 60, rel=1e-3)
    trials = study.trials()
    for trial in trials[:20]:
        for name in ("_datetime_start", "datetime_complete"):
            moment = getattr(trial, name)
            object.__setattr__(trial, name, moment.replace(year=moment.year - 1))
    paused = status.measured_rate(study.chains(), trials)
    assert paused is not None
    assert paused.per_hour == pytest.approx(60 * 29 / (29 + 3), rel=1e-3)  # 4 min of work before the first end


def test_without_three_ends_no_rate_is_given(make_study: MakeStudy) -> None:
    study = make_study()
    end(study, "complete")
    end(study, "complete")
    assert (study_status(study).rate, study_status(study).hours_left) == (None, None)


def test_an_old_study_without_the_option_is_continued(make_study: MakeStudy) -> None:
    study = make_study()
    content = dict(study.attribute(attributes.SPACE))
    content.pop("stop_after_same_cause")
    study.optuna.set_user_attr(attributes.SPACE, content)
    assert open_study(study.storage_url, study.name).space == small_space()
