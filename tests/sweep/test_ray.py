"""Workers as Ray tasks, on a cluster whose nodes are lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_in_training
from killing import descendants_of
from optuna.trial import TrialState
from ray_cluster import node, running_cluster
from small_studies import MakeStudy

from hrm_sweep.runs import read_metrics
from hrm_sweep.sweep.budget import owner_of
from hrm_sweep.sweep.conduct import Wish, conduct
from hrm_sweep.sweep.engines import make_engine
from hrm_sweep.sweep.engines.base import WorkerPlan

pytestmark = pytest.mark.proof


@pytest.fixture
def cluster() -> Iterator[Any]:
    with running_cluster(cpus=0) as cluster:
        yield cluster


def until(what: Callable[[], object]) -> None:
    give_up = time.monotonic() + 300
    while not what():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


def test_a_trial_whose_node_is_lost_ends_on_another_from_its_checkpoint(cluster: Any, make_study: MakeStudy) -> None:
    nodes = [cluster.add_node(**node(cpus=1)) for _ in range(2)]
    cluster.wait_for_nodes()
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}
    study = make_study(base=base, budget={"trials": 1})
    engine = make_engine("ray", WorkerPlan(study, threads=1, training=stand_in_training.NAME))
    lost: list[Any] = []

    def lose_its_node() -> Wish:
        """Everything there ends at once, as if the power were gone: Ray's processes, the worker, the training."""
        if not lost and len(read_metrics(study.run_directory(0).metrics)) == 1:
            worker = owner_of(study.trials()[0])
            assert worker is not None
            (its_node,) = [one for one in nodes if worker.pid in descendants_of(raylet_of(one))]
            lost.append(its_node)
            for pid in descendants_of(raylet_of(its_node)):
                kill(pid)
            cluster.remove_node(its_node, allow_graceful=False)
            Path("go").touch()
        return Wish.GO_ON

    ended = conduct(study, engine, 1, wish=lose_its_node)
    assert (len(lost), ended.account.given_out, ended.account.is_reached) == (1, 1, True)
    first, second = study.trials()
    assert (first.state, first.user_attrs["cause"]) == (TrialState.FAIL, "killed")
    assert (second.state, second.user_attrs["retry_of"]) == (TrialState.COMPLETE, 0)
    assert "from evaluation 1" in study.run_directory(0).log.read_text()
    assert [row.step for row in read_metrics(study.run_directory(0).metrics)] == [10, 20, 30, 40]


def test_workers_whose_orders_are_lost_hand_back_their_trials_and_others_go_on(
    cluster: Any, make_study: MakeStudy
) -> None:
    import ray

    cluster.add_node(**node(cpus=2))
    cluster.wait_for_nodes()
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}
    study = make_study(base=base, budget={"trials": 2})
    engine = make_engine("ray", WorkerPlan(study, threads=1, training=stand_in_training.NAME))
    lost: list[bool] = []

    def lose_the_orders() -> Wish:
        if not lost and all(len(read_metrics(study.run_directory(number).metrics)) == 1 for number in (0, 1)):
            lost.append(True)
            ray.kill(engine._orders)  # type: ignore[attr-defined]
            until(lambda: engine.alive() == 0)
            Path("go").touch()
        return Wish.GO_ON

    ended = conduct(study, engine, 2, wish=lose_the_orders)
    assert (lost, ended.account.ended, ended.account.is_reached) == ([True], 2, True)
    assert {trial.user_attrs.get("cause") for trial in study.trials()} == {"preempted", None}


def test_half_a_gpu_puts_two_workers_on_each(cluster: Any, make_study: MakeStudy) -> None:
    cluster.add_node(**node(cpus=4), num_gpus=1)
    cluster.wait_for_nodes()
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}
    study = make_study(base=base, budget={"trials": 3})
    engine = make_engine("ray", WorkerPlan(study, threads=1, gpus=0.5, training=stand_in_training.NAME))

    def two_run() -> bool:
        return sum(len(read_metrics(study.run_directory(k).metrics)) == 1 for k in range(3)) == 2

    engine.start(3)
    try:
        until(two_run)
        assert len(study.trials()) == 2  # the third waits for its turn
        workers = [owner_of(trial) for trial in study.trials()]
        assert [environment_of(worker.pid)["CUDA_VISIBLE_DEVICES"] for worker in workers if worker] == ["0", "0"]
        Path("go").touch()
        until(lambda: engine.alive() == 0)
    finally:
        engine.close()
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE] * 3


def raylet_of(one: Any) -> int:
    (raylet,) = one.all_processes["raylet"]
    return int(raylet.process.pid)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
