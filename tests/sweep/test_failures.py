"""The cause of a failure, from what a dead process leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm_sweep.config import load_config
from hrm_sweep.runs import Cause, State, Status
from hrm_sweep.sweep.failures import Failure, end_of_log, explain_end, retries_of, with_smaller_micro_batches

RUNNING = Status.starting()


def failed(cause: Cause) -> Status:
    return RUNNING.ended(State.FAILED, cause=cause, exit_code=1, message="what it said")


@pytest.mark.parametrize(
    ("status", "exit_code", "printed", "oom_killed", "failure"),
    [
        (failed(Cause.NAN), 1, "", False, Failure(Cause.NAN, "what it said")),
        (failed(Cause.STORAGE), 1, "", False, Failure(Cause.STORAGE, "what it said")),
        (failed(Cause.KILLED), 1, "", False, Failure(Cause.KILLED, "what it said")),
        (failed(Cause.KILLED), 1, "", True,
         Failure(Cause.OOM, "what it said, while the kernel killed for want of memory")),
        (RUNNING, -9, "", False, Failure(Cause.KILLED, "ended by SIGKILL")),
        (None, -15, "", False, Failure(Cause.KILLED, "ended by SIGTERM")),
        (RUNNING, -9, "", True, Failure(Cause.OOM, "ended by SIGKILL, while the kernel killed for want of memory")),
        (RUNNING, -11, "a\nb\n", False, Failure(Cause.BUG, "ended by SIGSEGV, having printed last: b")),
        (RUNNING, -6, "terminate\nCUDA out of memory\n", False, Failure(Cause.OOM, "CUDA out of memory")),
        (RUNNING, 1, "OSError: [Errno 28] No space left on device", False,
         Failure(Cause.STORAGE, "OSError: [Errno 28] No space left on device")),
        (None, 1, "ModuleNotFoundError: No module named 'x'\n", False,
         Failure(Cause.BUG, "ended with exit code 1, having printed last: ModuleNotFoundError: No module named 'x'")),
        (None, 255, "", False, Failure(Cause.BUG, "ended with exit code 255, having printed last: nothing")),
        (RUNNING, 0, "done", False, Failure(Cause.BUG, "ended with exit code 0, having printed last: done")),
        (RUNNING, -99, "", False, Failure(Cause.BUG, "ended by signal 99, having printed last: nothing")),
    ],
)  # fmt: skip
def test_each_end_has_its_cause(
    status: Status | None, exit_code: int, printed: str, oom_killed: bool, failure: Failure
) -> None:
    assert explain_end(status, exit_code, printed, oom_killed=oom_killed) == failure


def test_only_what_this_attempt_printed_counts(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("CUDA out of memory\n")
    began = log.stat().st_size
    with log.open("a") as handle:
        handle.write("x" * 20_000 + "\nlast words\n")
    assert end_of_log(log, began).endswith("last words\n")
    assert "memory" not in end_of_log(log, began)
    assert len(end_of_log(log, began)) <= 8192
    assert end_of_log(tmp_path / "none", 0) == ""


def test_every_cause_has_a_number_of_attempts_and_the_space_may_change_it() -> None:
    assert [retries_of(cause, {}) for cause in Cause] == [1, 0, 0, 0, 5, 5, 5, 0, 3, 0]
    assert retries_of(Cause.OOM, {Cause.OOM: 7}) == 7


@pytest.mark.parametrize(
    ("given", "memory_failures", "processes", "rows"),
    [
        (None, 0, 1, None),
        (None, 1, 1, 50),
        (None, 2, 1, 25),
        (None, 3, 1, 13),
        (None, 99, 1, 1),
        (None, 1, 2, 25),  # each process has 50 of the 100 rows
        (16, 0, 1, 16),
        (16, 1, 1, 8),
        (1000, 1, 1, 50),
    ],
)
def test_each_failure_for_memory_halves_what_is_in_memory_at_once(
    given: int | None, memory_failures: int, processes: int, rows: int | None
) -> None:
    config = load_config("hrm_v1_tiny", {"global_batch_size": 100, "micro_batch_size": given})
    smaller = with_smaller_micro_batches(config, memory_failures, processes)
    assert smaller == config.model_copy(update={"micro_batch_size": rows})
