"""`status`, `stop`, `retry` and `reap` as a user types them."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

from bulk_studies import fill
from optuna.trial import TrialState
from small_studies import STORAGE, small_space

from hrm_sweep.runs import Cause, Owner
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.stopping import Stop, requested_stop
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, create_or_continue, open_study

quiet_optuna()


def hrm_sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def study(folder: Path) -> Study:
    """Two trials that ran out of memory for good, one that runs here, one of another program."""
    made = create_or_continue(STORAGE, "small", small_space(budget={"trials": 6}, retry={"oom": 0}))
    for _ in range(2):
        one = claim(made, Owner.this_process())
        assert isinstance(one, Claim)
        one.trial.set_user_attr("cause", str(Cause.OOM))
        made.optuna.tell(one.trial, state=TrialState.FAIL)
    assert isinstance(claim(made, Owner.this_process()), Claim)
    made.optuna.ask()
    return made


def test_status_tells_people_and_programs(study: Study) -> None:
    said = hrm_sweep("status", "small").stdout.splitlines()
    us = Owner.this_process()
    assert said[0] == "small: 2 of 6 trials ended, 1 running, 0 to be retried, 2 not started"
    assert said[1] == "trials: 2 failed, 2 running, in 4 attempts"
    assert said[2] == "failed for good: 2 oom"
    assert said[3].startswith(f"worker {us.host} {us.pid}: trial 2 for ")
    assert said[4] == "left running by other programs: trial 3; `hrm-sweep reap small --all` ends them"
    assert said[5] == "rate: cannot be said before three trials have ended"
    told = json.loads(hrm_sweep("status", "small", "--json").stdout)
    assert (told["budget"], told["ended"], told["causes"], told["foreign"]) == (6, 2, {"oom": 2}, [3])
    assert [(line["pid"], line["trial"], line["state"]) for line in told["workers"]] == [(us.pid, 2, "alive")]
    assert (told["rate"], told["hours_left"], told["stop"]) == (None, None, None)


def test_stop_leaves_word_in_the_storage_and_says_how_to_go_on(study: Study) -> None:
    drained = hrm_sweep("stop", "small")
    assert "trial 2: will go on to the end; no other will be started" in drained.stdout
    assert requested_stop(study) is Stop.DRAIN
    now = hrm_sweep("stop", "small", "--now")
    assert "trial 2: will write a checkpoint and end" in now.stdout
    assert now.stdout.splitlines()[-1] == "continue with: hrm-sweep run --study small"
    assert requested_stop(study) is Stop.NOW
    assert "asked to stop (now); `hrm-sweep run` goes on" in hrm_sweep("status", "small").stdout


def test_a_study_that_has_ended_is_not_asked_to_stop(folder: Path) -> None:
    ended = create_or_continue(STORAGE, "small", small_space(budget={"trials": 1}))
    one = claim(ended, Owner.this_process())
    assert isinstance(one, Claim)
    ended.optuna.tell(one.trial, 0.5)
    assert hrm_sweep("stop", "small").stdout == "small: the budget is reached, so there is nothing to stop\n"
    assert requested_stop(ended) is None


def test_retry_makes_failed_trials_due(study: Study) -> None:
    none = hrm_sweep("retry", "small", "--cause", "nan")
    assert none.stdout == "small: no trial failed for good for nan; those that did, by cause: 2 oom\n"
    done = hrm_sweep("retry", "small", "1", "--cause", "oom")
    assert done.stdout.splitlines() == [
        "trial 0 (oom): due again, as attempt 4",
        "trial 1 (oom): due again, as attempt 5",
        "run them with: hrm-sweep run --study small",
    ]
    assert "0 of 6 trials ended, 1 running, 2 to be retried, 2 not started" in hrm_sweep("status", "small").stdout


def test_reap_lists_what_it_ended_and_what_it_left(study: Study) -> None:
    left = hrm_sweep("reap", "small")
    assert left.stdout.splitlines() == [
        "trial 2: its worker is alive; left alone",
        "trial 3: of another program; left alone (--all ends it)",
        "small: 0 ended, 2 left running",
    ]
    ended = hrm_sweep("reap", "small", "--all")
    assert "trial 3: of another program; ended as failed" in ended.stdout
    assert study.trials()[3].state is TrialState.FAIL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "smal"], "did you mean small?"),
        (["retry", "small"], "expected --cause CAUSE or numbers of trials"),
        (["retry", "small", "--cause", "oops"], "--cause: expected one of oom, nan, "),
        (["retry", "small", "2"], "trial 2 has not failed, it is running"),
        (["status", "small", "--storage", "postgresql://me:s3cr3t@h/x"], "--storage postgresql://me:***@h/x: holds a"),
        (["worker", "--study", "s", "--storage", "postgresql://h/x?password=s3cr3t"], "HRM_SWEEP_STORAGE"),
    ],
)
def test_bad_input_is_named(study: Study, arguments: list[str], message: str) -> None:
    refused = hrm_sweep(*arguments)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "s3cr3t" not in refused.stderr + refused.stdout


def test_status_of_5000_trials_takes_less_than_five_seconds(folder: Path) -> None:
    """Processor seconds of the whole command, which on a quiet machine are the seconds that one waits."""
    made = create_or_continue(STORAGE, "small", small_space(budget={"trials": 6000}))
    fill(made, 5000)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(hrm_sweep("status", "small", "--json").stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (told["ended"], told["left"], told["causes"]) == (5000, 1000, {"nan": 500})
    assert told["rate"]["per_hour"] == pytest.approx(60, rel=0.01)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
    assert open_study(STORAGE, "small").space.budget.trials == 6000
