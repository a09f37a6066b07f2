"""Every engine, held to what all engines promise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_conformance import EngineConformance, MakeEngine

from hrm_sweep.errors import UsageError
from hrm_sweep.sweep.engines import BEYOND_THIS_MACHINE, ENGINES, make_engine
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study

quiet_optuna()
STAND_IN_FOLDER = Path(__file__).resolve().parents[1] / "sweep"
sys.path.append(str(STAND_IN_FOLDER))
from ray_cluster import running_cluster  # noqa: E402


@pytest.mark.parametrize("name", sorted(set(ENGINES) - set(BEYOND_THIS_MACHINE)))
class TestEveryEngineOfThisMachine(EngineConformance):
    @pytest.fixture
    def make_engine(self, name: str, monkeypatch: pytest.MonkeyPatch) -> MakeEngine:
        monkeypatch.setenv("PYTHONPATH", str(STAND_IN_FOLDER), prepend=os.pathsep)  # for workers
        monkeypatch.syspath_prepend(str(STAND_IN_FOLDER))  # for training in this process
        self.name = name
        return lambda study: make_engine(name, WorkerPlan(study, 1, training="stand_in_training:run_training"))

    def has_heard(self, study: Study) -> bool:
        return self.name == "debug" or "taking no further trial" in (study.folder / "worker-0.log").read_text()


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    with running_cluster(cpus=2):
        yield


@pytest.mark.proof
class TestRay(EngineConformance):
    """On a Ray of the test's own, on loopback."""

    @pytest.fixture
    def make_engine(self, ray: None, monkeypatch: pytest.MonkeyPatch) -> MakeEngine:
        monkeypatch.setenv("PYTHONPATH", str(STAND_IN_FOLDER), prepend=os.pathsep)
        return lambda study: make_engine("ray", WorkerPlan(study, 1, training="stand_in_training:run_training"))

    def has_heard(self, study: Study) -> bool:
        return "taking no further trial" in (study.folder / "worker-0.log").read_text()


class TestSlurm(EngineConformance):
    """With submitit's executor of local processes, which stand in for jobs."""

    @pytest.fixture
    def make_engine(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeEngine]:
        submitit = pytest.importorskip("submitit", reason="no submitit here; the extra [slurm] has it")
        from hrm_sweep.sweep.engines.slurm import SlurmEngine

        monkeypatch.setenv("PYTHONPATH", str(STAND_IN_FOLDER), prepend=os.pathsep)
        engines = []

        def make(study: Study) -> SlurmEngine:
            plan = WorkerPlan(study, 1, training="stand_in_training:run_training")
            engines.append(SlurmEngine(plan, submitit.LocalExecutor(study.folder / "slurm")))
            return engines[-1]

        yield make
        for engine in engines:
            engine.kill()
            engine.close()

    def has_heard(self, study: Study) -> bool:
        return "taking no further trial" in (study.folder / "worker-0.log").read_text()


def test_an_engine_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="--engine: expected debug, local, ray, slurm, found 'dask'"):
        make_engine("dask", None)  # type: ignore[arg-type]
