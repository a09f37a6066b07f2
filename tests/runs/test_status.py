"""status.json and environment.json: what became of a run, who runs it, on what."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hrm_sweep.runs import (
    Cause,
    Environment,
    Owner,
    State,
    Status,
    describe_environment,
    read_environment,
    read_status,
    write_environment,
    write_status,
)
from hrm_sweep.runs.status import process_start


def waiting_child() -> subprocess.Popen[bytes]:
    """A process that lives until it is killed or its standard input is closed."""
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


def owner_of(pid: int) -> Owner:
    return dataclasses.replace(Owner.this_process(), pid=pid, started=process_start(pid) or "")


def test_this_process_is_alive_and_on_this_host() -> None:
    owner = Owner.this_process()
    assert owner.pid == os.getpid()
    assert owner.is_alive()
    assert owner.on_this_host()
    assert not dataclasses.replace(owner, host="elsewhere").on_this_host()


def test_a_killed_process_is_dead_before_and_after_it_is_reaped() -> None:
    with waiting_child() as child:
        owner = owner_of(child.pid)
        assert owner.is_alive()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
        assert not owner.is_alive()
        child.wait()
        assert not owner.is_alive()


def test_a_later_process_with_the_same_pid_is_another_one() -> None:
    with waiting_child() as child:
        child_started, we_started = process_start(child.pid), process_start(os.getpid())
        assert child_started is not None
        assert we_started is not None
        assert int(child_started) > int(we_started)
        assert not dataclasses.replace(Owner.this_process(), started=child_started).is_alive()
        child.kill()


def test_a_process_that_never_was_has_no_start() -> None:
    assert process_start(2**30) is None


def test_a_process_may_call_itself_anything(tmp_path: Path) -> None:
    program = tmp_path / ") Z 0 (x"
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        assert owner_of(child.pid).is_alive()
        assert process_start(child.pid) is not None
        child.kill()


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("cause", [None, *Cause])
def test_a_status_comes_back_as_it_was_written(tmp_path: Path, state: State, cause: Cause | None) -> None:
    path = tmp_path / "status.json"
    status = Status.starting().at_step(7, 10).ended(state, cause=cause, exit_code=1, message="ünïcode\n")
    write_status(path, status)
    assert read_status(path) == status
    assert json.loads(path.read_text())["state"] == state.value


def test_a_status_knows_its_times() -> None:
    began = Status.starting()
    later = began.at_step(1, 2)
    ended = later.ended(State.COMPLETED)
    assert began.ended_at is None
    assert began.started_at == later.started_at == ended.started_at
    assert began.started_at <= later.updated_at <= ended.updated_at == ended.ended_at
    assert (ended.step, ended.total_steps) == (1, 2)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"state": "running"}',
        '{"state": "dancing", "owner": {"host": "h", "pid": 1, "started": "1"}, "started_at": 1, "updated_at": 1}',
        '{"state": "running", "owner": "me", "started_at": 1, "updated_at": 1}',
        '{"state": "running", "owner": {"host": "h", "pid": 1, "started": "1", "user": "me"}, "started_at": 1}',
        b"\xff\xfe",
    ],
)
def test_a_status_that_cannot_be_understood_is_none(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "status.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_status(path) is None
    assert read_environment(path) is None


def here() -> Environment:
    return describe_environment(
        device="cpu", device_name="a processor", dtype="float32", attention_backend="naive", threads=2
    )


def test_an_environment_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    environment = dataclasses.replace(here(), attention_error=1e-7)
    write_environment(path, environment)
    assert read_environment(path) == environment


def test_the_environment_names_versions_and_commit() -> None:
    environment = here()
    assert environment.python == ".".join(map(str, sys.version_info[:3]))
    assert set(environment.packages) == {"hrm-sweep", "torch", "numpy", "optuna"}
    root = Path(__file__).parents[2]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    assert environment.commit == (head.stdout.strip() or None)


def test_a_machine_without_git_has_an_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert here().commit is None
