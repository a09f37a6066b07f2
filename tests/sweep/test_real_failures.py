"""Failures that really happen to a process: no room on the disk, silence, a library that is not there, a bad end."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stand_in_training
from optuna.trial import TrialState
from small_studies import MakeStudy

from hrm_sweep.runs import read_metrics
from hrm_sweep.sweep.conduct import Conducted, conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.study import Study

ROOM = 256 * 1024

Run = Callable[..., Conducted]


@pytest.fixture
def run() -> Iterator[Run]:
    """Conducts a study with one real worker, which does not outlive the test."""
    engines: list[LocalEngine] = []

    def conducted(study: Study, training: str = stand_in_training.NAME) -> Conducted:
        engines.append(LocalEngine(WorkerPlan(study, threads=1, training=training)))
        return conduct(study, engines[-1], 1)

    yield conducted
    for engine in engines:
        engine.kill()
        engine.close()


@pytest.fixture
def little_room(folder: Path) -> Iterator[Path]:
    """The run directory of trial 0, on a disk of 256 KiB where one may be mounted, and on none at all elsewhere: there
    a file stands in the way, which fails to be written to as well."""
    place = folder / "trials" / "small" / "0000"
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(place)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        yield place
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        return
    place.rmdir()
    place.write_text("not a folder")
    yield place


def test_a_full_disk_fails_the_trial_as_storage_and_the_study_goes_on(
    make_study: MakeStudy, little_room: Path, run: Run
) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "large"}
    study = make_study(base=base, budget={"trials": 2}, retry={"storage": 1})
    ended = run(study)
    assert (ended.account.is_reached, ended.account.given_out, ended.account.ended) == (True, 2, 2)
    full, fine = study.chains()
    assert [one.user_attrs["cause"] for one in full.attempts] == ["storage", "storage"]  # tried again, as it says
    assert fine.last.state is TrialState.COMPLETE
    if little_room.is_dir():
        assert "No space left on device" in full.last.user_attrs["message"]
        assert not list(little_room.rglob("*.part"))
        done = stand_in_training.evaluations_done(study.run_directory(0))  # the checkpoint that is there can be read
        assert len(read_metrics(study.run_directory(0).metrics)) >= done


FAULTS = [
    ("segv@2", stand_in_training.NAME, "bug", "ended by SIGSEGV"),
    ("kill@2", stand_in_training.NAME, "killed", "ended by SIGKILL"),
    ("oom@2", stand_in_training.NAME, "oom", "CUDA out of memory"),
    ("", "there_is_no_such_library:train", "bug", "No module named 'there_is_no_such_library'"),
    ("silent@2", stand_in_training.NAME, "stalled", "no sign of life for 0.02 minutes"),
]


@pytest.mark.parametrize(
    ("words", "training", "cause", "message"), FAULTS, ids=[f"{row[0]}-{row[2]}" for row in FAULTS]
)
def test_each_bad_end_of_a_real_process_has_its_cause_and_ends_no_study(
    make_study: MakeStudy, run: Run, words: str, training: str, cause: str, message: str
) -> None:
    study = make_study(
        base={"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": words},
        budget={"trials": 2},
        retry={cause: 0},
        resources={"stall_minutes": 0.02} if cause == "stalled" else {},
    )
    ended = run(study, training)
    assert (ended.account.is_reached, ended.account.ended) == (True, 2)
    for trial in study.trials():
        assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, cause)
        assert message in trial.user_attrs["message"]
