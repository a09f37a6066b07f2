"""What every engine promises. A new one proves itself by a subclass with the fixture `make_engine`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from hrm_sweep.runs import read_metrics
from hrm_sweep.sweep.conduct import conduct
from hrm_sweep.sweep.engines.base import Engine
from hrm_sweep.sweep.space import space_from_mapping
from hrm_sweep.sweep.study import Study, create_or_continue

MakeEngine = Callable[[Study], Engine]


def make_study(trials: int, words: str = "") -> Study:
    content: dict[str, Any] = {
        "name": "engine",
        "base": {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": words},
        "parameters": {"lr": {"values": [1e-3, 2e-3]}},
        "sampler": {"name": "random", "seed": 0},
        "budget": {"trials": trials},
    }
    return create_or_continue("sqlite:///trials/optuna.db", "engine", space_from_mapping(content, "engine.yaml"))


def held() -> bool:
    return len(read_metrics(Path("trials/engine/0000/metrics.jsonl"))) == 1


def until(what: Callable[[], object]) -> None:
    give_up = time.monotonic() + 300  # only limits how long a broken engine is waited for
    while not what():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


class EngineConformance:
    """Subclass it as `class TestMine(EngineConformance)`; workers must use the stand-in training of tests/sweep."""

    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        raise NotImplementedError

    def has_heard(self, study: Study) -> bool:
        """Whether the worker has been told to drain; an order to another process takes its time."""
        return True

    def test_the_budget_is_reached_exactly(self, folder: Path, make_engine: MakeEngine) -> None:
        study = make_study(3)
        engine = make_engine(study)
        ended = conduct(study, engine, 2)
        assert (ended.account.given_out, ended.account.is_reached, ended.interrupted) == (3, True, False)
        assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE] * 3
        assert (engine.alive(), engine.complaints()) == (0, [])

    def test_a_drain_ends_workers_after_their_running_trial(self, folder: Path, make_engine: MakeEngine) -> None:
        study = make_study(3, "hold@2")
        engine = make_engine(study)
        starting = threading.Thread(target=engine.start, args=(1,))
        starting.start()
        until(held)
        engine.drain()
        engine.drain()  # twice is no more than once
        until(lambda: self.has_heard(study))
        Path("go").touch()
        starting.join()
        until(lambda: engine.alive() == 0)
        engine.close()
        assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE]

    def test_a_stop_hands_trials_back_and_the_next_call_continues_them(
        self, folder: Path, make_engine: MakeEngine
    ) -> None:
        study = make_study(1, "hold@2")
        engine = make_engine(study)
        starting = threading.Thread(target=engine.start, args=(1,))
        starting.start()
        until(held)
        engine.stop()
        starting.join()
        until(lambda: engine.alive() == 0)
        engine.close()
        (trial,) = study.trials()
        assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "preempted")
        Path("go").touch()
        ended = conduct(study, make_engine(study), 1)
        assert (ended.account.given_out, ended.account.is_reached) == (1, True)
        assert study.trials()[1].user_attrs["retry_of"] == 0
