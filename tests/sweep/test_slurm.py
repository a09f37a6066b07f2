"""Workers as Slurm jobs: with submitit's local executor for their lives, and a stand-in `sbatch` for the submission."""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stand_in_training
from optuna.trial import TrialState
from small_studies import MakeStudy, small_space

from hrm_sweep.errors import StorageError, UsageError
from hrm_sweep.runs import read_metrics
from hrm_sweep.sweep.budget import owner_of
from hrm_sweep.sweep.engines.base import Place, WorkerPlan, minutes
from hrm_sweep.sweep.study import Study

submitit = pytest.importorskip("submitit", reason="no submitit here; the extra [slurm] has it")
from hrm_sweep.sweep.engines.slurm import SlurmEngine  # noqa: E402

SECRET = "s3cr3t-of-the-test"


def until(what: Callable[[], object]) -> None:
    give_up = time.monotonic() + 300
    while not what():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


def requeued(study: Study, executor: Any, warn: Callable[[], None]) -> None:
    """Hold a trial in a job until the job was warned and requeued, and look at how it goes on."""
    engine = SlurmEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME), executor)
    engine.start(1)
    until(lambda: len(read_metrics(study.run_directory(0).metrics)) == 1)
    warn()
    until(lambda: study.trials()[0].user_attrs.get("cause") == "preempted")
    Path("go").touch()
    until(lambda: engine.alive() == 0)
    engine.close()
    assert engine.complaints() == []
    assert [chain.last.state for chain in study.chains()] == [TrialState.COMPLETE]
    assert "from evaluation 1" in study.run_directory(0).log.read_text()
    assert [row.step for row in read_metrics(study.run_directory(0).metrics)] == [10, 20, 30, 40]


HELD = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}


def test_a_job_that_is_preempted_is_requeued_and_goes_on_from_the_checkpoint(make_study: MakeStudy) -> None:
    study = make_study(base=HELD, budget={"trials": 1})

    def preempt() -> None:
        """What Slurm does: SIGUSR2 to the job, which is the grandparent of the training."""
        worker = owner_of(study.trials()[0])
        assert worker is not None
        os.kill(int(Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGUSR2)

    requeued(study, submitit.LocalExecutor(study.folder / "slurm"), preempt)


@pytest.mark.proof
def test_a_job_that_times_out_is_requeued_and_goes_on_from_the_checkpoint(make_study: MakeStudy) -> None:
    """Thirty seconds for the job to begin its trial, then the warning, thirty seconds before the time limit."""
    study = make_study(base=HELD, budget={"trials": 1}, retry={"preempted": 99})
    executor = submitit.LocalExecutor(study.folder / "slurm", max_num_timeout=50)
    executor.update_parameters(timeout_min=1, signal_delay_s=30)
    requeued(study, executor, lambda: None)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands that answer as Slurm's do and write down what they were given; returns that file."""
    said, programs = tmp_path / "said", tmp_path / "programs"
    programs.mkdir()
    answers = {
        "sbatch": f'echo "sbatch $*" >> {said}; cat "${{@: -1}}" >> {said}; echo "Submitted batch job 4711"',
        "srun": "exit 1",
        "squeue": "exit 0",
        "sacct": "echo 'JobID|State|NodeList'; echo '4711_0|PENDING|'; echo '4711_1|PENDING|'",
        "scancel": f'echo "scancel $*" >> {said}',
    }
    for name, answer in answers.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{answer}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return said


def study_elsewhere(url: str) -> Study:
    """A study whose database nobody asks in these tests."""
    return Study("small", url, small_space(), None, None)  # type: ignore[arg-type]


def test_what_slurm_is_asked_for(slurm: Path, folder: Path) -> None:
    study = study_elsewhere(f"postgresql+psycopg://sweep:{SECRET}@db/sweeps")
    place = Place(minutes=minutes("4h"), partition="gpu")
    engine = SlurmEngine(WorkerPlan(study, threads=4, gpus=0.5, needs_gpu=True, place=place))
    engine.start(2)
    said = slurm.read_text()
    asked = dict(re.findall(r"#SBATCH --([a-z-]+)=?(.*)", said))
    assert asked["time"] == "240"
    assert asked["partition"] == "gpu"
    assert asked["array"].startswith("0-1")
    assert (asked["nodes"], asked["ntasks-per-node"], asked["cpus-per-task"]) == ("1", "1", "4")
    assert asked["gpus-per-node"] == "1"
    assert asked["signal"] == "USR2@90"
    assert "requeue" in asked
    assert asked["open-mode"] == "append"
    assert engine.alive() == 2
    engine.drain()
    assert re.findall(r"scancel .*4711_[01]", slurm.read_text())
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert written
    assert not any(SECRET.encode() in content for content in [*written, said.encode()])


def test_sqlite_is_refused_for_there_is_more_than_one_machine(slurm: Path, make_study: MakeStudy) -> None:
    with pytest.raises(StorageError, match="SQLite serves the workers of one machine"):
        SlurmEngine(WorkerPlan(make_study(), threads=1)).start(1)
    assert not slurm.exists()


def test_without_slurm_there_is_no_such_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="no sbatch on the PATH"):
        SlurmEngine(WorkerPlan(study_elsewhere("postgresql+psycopg://db/sweeps"), threads=1)).start(1)


@pytest.mark.parametrize(("text", "expected"), [("4h", 240), ("90m", 90), ("90", 90), ("2d", 2880)])
def test_a_time_limit(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "h", "0", "0h", "1.5h", "4 h", "four"])
def test_what_is_no_time_limit(text: str) -> None:
    with pytest.raises(UsageError, match="--time: expected a whole number with d, h or m"):
        minutes(text)
