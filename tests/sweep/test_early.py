"""The process that loads beside the parent becomes a worker, or ends without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_studies import STORAGE, small_space

from hrm_sweep.sweep.child import TRAINING
from hrm_sweep.sweep.early import PRELOADED, EarlyWorker, early_worker
from hrm_sweep.sweep.environment import STORAGE_VARIABLE
from hrm_sweep.sweep.study import create_or_continue


def running_in_group(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group = (process / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended in this moment
        if int(its_group) == group and state not in "ZX":
            found.append(int(process.name))
    return found


def wait_for_none(group: int) -> None:
    give_up = time.monotonic() + 120
    while running_in_group(group):
        assert time.monotonic() < give_up, running_in_group(group)
        time.sleep(0.02)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Iterator[EarlyWorker]:
    monkeypatch.setenv(STORAGE_VARIABLE, "sqlite:///of-the-parent.db")
    worker = EarlyWorker()
    yield worker
    worker.close()


def test_it_runs_the_command_that_it_is_given(folder: Path, early: EarlyWorker) -> None:
    create_or_continue(STORAGE, "small", small_space())
    log = Path("worker.log")
    log.write_text("from before\n")
    process = early.become(["studies", "--json"], {STORAGE_VARIABLE: STORAGE}, log)
    assert process is not None
    assert process.wait() == 0
    assert process.stdin is not None
    process.stdin.close()
    first, *listed = log.read_text().splitlines()
    assert first == "from before"
    assert json.loads("".join(listed))[0]["name"] == "small"
    assert early.become(["studies"], {}, log) is None  # it can be given away once
    wait_for_none(process.pid)


def test_it_knows_no_storage_before_it_is_told(early: EarlyWorker) -> None:
    assert early._process is not None
    environment = Path(f"/proc/{early._process.pid}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"of-the-parent" not in environment


def test_without_a_use_it_ends_with_all_that_it_has_started(early: EarlyWorker) -> None:
    assert early._process is not None
    group = early._process.pid
    early.close()
    wait_for_none(group)
    assert early.become(["studies"], {}, Path("worker.log")) is None


def test_it_ends_with_its_parent() -> None:
    """A parent that is killed cannot close it."""
    code = (
        "import os, signal; from hrm_sweep.sweep.early import EarlyWorker;"
        "print(EarlyWorker()._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    wait_for_none(int(killed.stdout))


def test_there_is_none_where_none_is_wanted() -> None:
    with early_worker(wanted=False) as early:
        assert early is None


def test_what_it_preloads_is_what_trains() -> None:
    assert TRAINING.partition(":")[0] in PRELOADED
    assert STORAGE_VARIABLE not in os.environ
