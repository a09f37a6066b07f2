"""The proof that a sweep survives: workers and children are killed whenever, and nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import stand_in_training
from optuna.trial import TrialState
from small_studies import MakeStudy

from hrm_sweep.config import load_config
from hrm_sweep.runs import MetricRow, Owner, RunDirectory, State, read_metrics, read_status
from hrm_sweep.runs.status import process_start
from hrm_sweep.sweep.budget import owner_of
from hrm_sweep.sweep.conduct import Conducted, conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.study import Study, open_study

PATIENCE_S = 120.0


def until(what: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait for something to become true; the clock only limits how long a broken program is waited for."""
    give_up = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def descendants_of(pid: int) -> list[Owner]:
    """Every process that `pid` started, and those that these started, and so on."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended in this moment
            continue
    found, last = {pid}, set()
    while found != last:
        last = set(found)
        found |= {child for child, parent in parents.items() if parent in found}
    host = Owner.this_process().host
    return [Owner(host, one, start) for one in found - {pid} if (start := process_start(one)) is not None]


def killed_after_s(victim: Owner, child: Owner | None) -> float | None:
    """Kill -9, and wait: at most five seconds for the end of the training process, and then for that of the helpers of
    multiprocessing. Returns how long the first took; None where the victim had ended by itself before."""
    family = [victim, *descendants_of(victim.pid)]
    try:
        os.kill(victim.pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    killed_at = time.monotonic()
    until(lambda: not victim.is_alive() and (child is None or not child.is_alive()), patience_s=5)
    took_s = time.monotonic() - killed_at
    until(lambda: not any(one.is_alive() for one in family), patience_s=60)
    return took_s


@dataclass(frozen=True)
class Kill:
    """What was killed, and how long the training process lived on."""

    kind: str
    trial: int
    orphans_s: float


class Killer(threading.Thread):
    """Kills -9 while a study runs: as many workers as children, spread over the study at moments of chance.

    After each kill it waits until all that the victim had started is gone, and looks whether the trial's metrics reach
    up to its checkpoint.
    """

    def __init__(self, study: Study, kills: int, rng: random.Random, may_kill: Callable[[RunDirectory], bool]) -> None:
        super().__init__(name="killer", daemon=True)
        self._study, self._rng, self._may_kill = study, rng, may_kill
        kinds = ["worker", "child"] * kills
        rng.shuffle(kinds)
        share = max(1, study.space.budget.trials - 4) / kills
        self._plan = [(kinds[i], int(1 + i * share + rng.uniform(0, share))) for i in range(kills)]
        self._over = threading.Event()
        self.kills: list[Kill] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for kind, begun in self._plan:
                while len(self._study.chains()) < begun and not self._over.wait(0.1):
                    pass
                self._over.wait(self._rng.uniform(0, 0.5))
                while not self._over.is_set() and not self._kill(kind):
                    self._over.wait(0.02)
        except BaseException as error:
            self.error = error

    def _kill(self, kind: str) -> bool:
        running = [trial for trial in self._study.trials() if trial.state is TrialState.RUNNING]
        for trial in self._rng.sample(running, len(running)):
            directory = self._study.run_directory(self._study.first_attempt_of(trial))
            worker, status = owner_of(trial), read_status(directory.status)
            child = status.owner if status is not None and status.state is State.RUNNING else None
            victim = worker if kind == "worker" else child
            if victim is None or not victim.is_alive() or not self._may_kill(directory):
                continue
            after_s = killed_after_s(victim, child)
            if after_s is not None:
                self.kills.append(Kill(kind, trial.number, after_s))
                return True
        return False

    def finish(self) -> None:
        """Raises what went wrong in the thread."""
        self._over.set()
        self.join()
        if self.error is not None:
            raise self.error


@pytest.fixture
def survive() -> Iterator[Callable[..., tuple[Conducted, list[Kill]]]]:
    """Conducts a study while a killer is about."""
    engines: list[LocalEngine] = []

    def conducted(
        study: Study,
        jobs: int,
        kills: int,
        may_kill: Callable[[RunDirectory], bool] = lambda directory: True,
        **plan: str,
    ) -> tuple[Conducted, list[Kill]]:
        seed = random.SystemRandom().randrange(2**32)
        print(f"seed {seed}")
        engines.append(LocalEngine(WorkerPlan(study, threads=1, **plan)))
        killer = Killer(open_study(study.storage_url, study.name), kills, random.Random(seed), may_kill)
        killer.start()
        try:
            ended = conduct(study, engines[-1], jobs, say=print)
        finally:
            killer.finish()
        for kill in killer.kills:
            print(f"killed the {kill.kind} of trial {kill.trial}; no child after {kill.orphans_s:.2f} s")
        return ended, killer.kills

    yield conducted
    for engine in engines:
        engine.kill()
        engine.close()


def check(study: Study, ended: Conducted, budget: int) -> None:
    """Exactly the budget ended, nothing runs, and everything that failed was killed and tried again."""
    counted = ended.account
    assert (counted.given_out, counted.ended, counted.running, counted.due, counted.lost) == (budget, budget, 0, 0, 0)
    assert counted.is_reached
    all_chains = open_study(study.storage_url, study.name).chains()
    assert len(all_chains) == budget
    for chain in all_chains:
        assert chain.last.state is TrialState.COMPLETE
        assert {one.user_attrs["cause"] for one in chain.attempts[:-1]} <= {"killed"}
        retried = [one.user_attrs.get("retry_of") for one in chain.attempts]
        assert retried == [None, *chain.numbers[:-1]]


def check_history(directory: RunDirectory) -> None:
    """Each attempt went on at the checkpoint that was there. Between a checkpoint and the line that says so the process
    may have been killed: then it went on one evaluation later than it had said."""
    saved = 0
    for line in (directory.path / "history").read_text().splitlines():
        word, number = line.split()
        if word == "from":
            assert int(number) in (saved, saved + 1)
        saved = int(number)
    assert saved == 4


@pytest.mark.parametrize(
    ("jobs", "budget", "kills"), [(3, 8, 3), pytest.param(8, 40, 10, marks=pytest.mark.proof)], ids=["small", "full"]
)
def test_a_study_survives_kills_of_workers_and_children(
    make_study: MakeStudy, survive: Callable[..., tuple[Conducted, list[Kill]]], jobs: int, budget: int, kills: int
) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "slow"}
    study = make_study(base=base, budget={"trials": budget}, retry={"killed": 99})
    gaps: list[object] = []

    def has_no_gap(directory: RunDirectory) -> bool:
        """At any moment metrics.jsonl reaches up to the checkpoint; looked at just before a kill."""
        done = stand_in_training.evaluations_done(directory)
        steps = [row.step for row in read_metrics(directory.metrics)]
        if steps[:done] != [10, 20, 30, 40][:done]:
            gaps.append((directory, done, steps))
        return True

    ended, killed = survive(study, jobs, kills, has_no_gap, training=stand_in_training.NAME)
    assert (len(killed), gaps) == (kills, [])
    check(study, ended, budget)
    assert sum(len(chain.attempts) - 1 for chain in study.chains()) <= kills
    for chain in study.chains():
        directory = study.run_directory(chain.first.number)
        assert [row.step for row in read_metrics(directory.metrics)] == [10, 20, 30, 40]
        assert chain.last.intermediate_values.keys() == {1, 2, 3, 4}
        check_history(directory)
        assert not list(directory.path.rglob("*.part"))


SMALL = {"arch.hidden_size": 16, "arch.num_heads": 2, "arch.H_cycles": 1, "arch.L_cycles": 1, "arch.halt_max_steps": 3}


@pytest.mark.proof
def test_real_training_that_is_killed_ends_with_the_numbers_of_one_that_is_not(
    make_study: MakeStudy, sudoku_4x4: Path, survive: Callable[..., tuple[Conducted, list[Kill]]]
) -> None:
    """Killed between its second checkpoint and its end, a trial has to the last digit the metrics of an undisturbed
    run of the same configuration."""
    from hrm_sweep.training.session import run_training

    study = make_study(
        base="hrm_v1_tiny",
        overrides={**SMALL, "data_path": str(sudoku_4x4), "global_batch_size": 50, "epochs": 40, "eval_interval": 4,
                   "eval_puzzles": 20, "arch.halt_exploration_prob": 0.3},
        parameters={"lr": {"min": 1e-4, "max": 1e-3, "log": True}},
        budget={"trials": 3},
        retry={"killed": 99},
    )  # fmt: skip

    def is_in_the_middle(directory: RunDirectory) -> bool:
        return 2 <= sum(row.kind == "eval" for row in read_metrics(directory.metrics)) <= 8

    ended, killed = survive(study, 2, 3, is_in_the_middle)
    assert len(killed) == 3
    check(study, ended, 3)
    numbers = [chain.first.number for chain in study.chains()]  # a retry has a number too
    logs = [study.run_directory(number).log.read_text() for number in numbers]
    assert (
        1 <= sum(log.count("continuing at optimizer step") for log in logs) <= 3
    )  # fewer where one was hit at its start
    for number in numbers:
        directory = study.run_directory(number)
        undisturbed = RunDirectory(Path(f"undisturbed-{number}"))
        run_training(load_config(directory.config), undisturbed, threads=1, say=lambda line: None)
        assert without_time(read_metrics(directory.metrics)) == without_time(read_metrics(undisturbed.metrics))


def without_time(rows: list[MetricRow]) -> list[str]:
    return [json.dumps({**json.loads(row.to_json()), "time_s": 0}) for row in rows]
