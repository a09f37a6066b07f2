"""`stop_when`: a study that has stopped getting better ends before its budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import stand_in_training
from optuna.trial import TrialState
from small_studies import MakeStudy, small_space

from hrm_sweep.errors import SpaceError
from hrm_sweep.runs import Cause, Owner
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import Claim, Nothing, account, claim
from hrm_sweep.sweep.conduct import Conducted, conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.enough import NoImprovement
from hrm_sweep.sweep.status import study_status
from hrm_sweep.sweep.study import Study, open_study

US = Owner.this_process()


def taken(study: Study) -> Claim:
    one = claim(study, US)
    assert isinstance(one, Claim)
    return one


def end(study: Study, how: float | str, one: Claim | None = None) -> None:
    """Complete with a value, `pruned`, or failed for a cause."""
    one = one or taken(study)
    if isinstance(how, float):
        study.optuna.tell(one.trial, how)
    elif how == "pruned":
        study.optuna.tell(one.trial, state=TrialState.PRUNED)
    else:
        one.trial.set_user_attr(attributes.CAUSE, how)
        study.optuna.tell(one.trial, state=TrialState.FAIL)


ENDS: list[tuple[str, list[float | str], str | None]] = [
    ("three that are no better", [0.5, 0.4, 0.5, 0.1], "the last 3 trials brought nothing better than trial 0"),
    ("two are not enough", [0.5, 0.4, 0.4], None),
    ("a better one begins anew", [0.5, 0.4, 0.4, 0.6, 0.1, 0.1], None),
    ("a pruned one counts", [0.5, "pruned", 0.4, "pruned"], "the last 3 trials brought nothing better than trial 0"),
    ("a failed one does not", [0.5, "nan", "nan", "nan", 0.4, 0.4], None),
    ("nothing but pruned ones", ["pruned", "pruned", "pruned"], "the last 3 trials brought nothing better"),
]


@pytest.mark.parametrize(("ends", "reason"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_a_study_ends_when_its_last_trials_brought_nothing_better(
    make_study: MakeStudy, ends: list[float | str], reason: str | None
) -> None:
    study = make_study(budget={"trials": 30}, stop_when={"no_improvement": 3})
    for how in ends:
        end(study, how)
    again = open_study(study.storage_url, study.name)  # as after a restart
    now = account(again)
    got = claim(again, US)
    if reason is None:
        assert (now.enough, isinstance(got, Claim)) == (None, True)
        return
    assert str(now.enough) == f"{reason} (stop_when: no_improvement is 3)"
    assert (now.is_reached, got) == (True, Nothing.FOR_GOOD)
    assert study_status(again).enough == str(now.enough)


def test_lower_is_better_where_a_loss_is_minimised(make_study: MakeStudy) -> None:
    study = make_study(objective={"metric": "loss"}, budget={"trials": 30}, stop_when={"no_improvement": 2})
    for value in (0.5, 0.4, 0.3):
        end(study, value)
    assert account(study).enough is None
    end(study, 0.9)
    end(study, 0.9)
    assert account(study).enough is not None


def test_a_running_trial_that_turns_out_better_lets_the_study_go_on(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 30}, stop_when={"no_improvement": 2})
    end(study, 0.5)
    running = taken(study)
    end(study, 0.4)
    end(study, 0.4)
    assert claim(study, US) is Nothing.FOR_NOW
    end(study, 0.9, running)
    assert isinstance(claim(study, US), Claim)


def test_a_retry_that_is_due_still_runs(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 30}, stop_when={"no_improvement": 1})
    end(study, 0.5)
    first = taken(study)
    end(study, 0.4)
    end(study, str(Cause.KILLED), first)
    assert (account(study).enough is not None, account(study).due) == (True, 1)
    assert taken(study).retry_of == first.number


def test_the_number_may_change_when_a_study_goes_on(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 30}, stop_when={"no_improvement": 1})
    end(study, 0.5)
    end(study, 0.4)
    assert claim(study, US) is Nothing.FOR_GOOD
    assert isinstance(claim(make_study(budget={"trials": 30}, stop_when={"no_improvement": 5}), US), Claim)
    assert isinstance(claim(make_study(budget={"trials": 30}), US), Claim)  # off by default


def test_a_wrong_stop_when_is_named() -> None:
    with pytest.raises(
        SpaceError, match=r"stop_when.no_improvment: unknown key; the nearest valid key is no_improvement"
    ):
        small_space(stop_when={"no_improvment": 3})
    with pytest.raises(SpaceError, match=r"stop_when.no_improvement: expected"):
        small_space(stop_when={"no_improvement": 0})


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


def test_two_workers_end_a_study_whose_trials_are_all_alike(
    make_study: MakeStudy, run: Callable[[Study, int], Conducted]
) -> None:
    study = make_study(parameters={"lr": {"values": [2e-3]}}, budget={"trials": 30}, stop_when={"no_improvement": 2})
    ended = run(study, 2)
    assert ended.account.is_reached
    assert not ended.interrupted
    assert isinstance(ended.account.enough, NoImprovement)
    assert ended.account.enough.best in (0, 1)
    assert 3 <= ended.account.given_out <= 4  # what had begun when the third ended goes on


def test_what_violates_a_constraint_is_nothing_to_be_better_than(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 30}, stop_when={"no_improvement": 2}, constraints={"parameters": "<= 1k"})
    for value, violation in ((0.9, 1.0), (0.1, -1.0), (0.2, -1.0), (0.3, -1.0)):
        one = taken(study)
        one.trial.set_constraint("parameters", violation)
        end(study, value, one)
    assert account(study).enough is None
    end(study, 0.3)
    end(study, 0.2)
    assert str(account(study).enough).startswith("the last 2 trials brought nothing better than trial 3")
