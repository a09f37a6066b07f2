"""A worker that starts loading before anybody knows what it will work on.

Until its first step a sweep mostly loads: Optuna in the parent, Optuna again in the worker, and torch, which takes
longer than both, in the process that trials are forked from (docs/performance.md has the seconds). So `run` begins with
an `EarlyWorker`, which loads all that a worker needs beside the parent, and then waits for its command line.

This module imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

from hrm_sweep.sweep.environment import STORAGE_VARIABLE

PRELOADED = ("hrm_sweep.sweep.child", "hrm_sweep.training.session")
"""What the process has loaded that trials are forked from; the second is the module of `child.TRAINING`."""


def load_training() -> None:
    """Let the process that this one's trials are forked from load torch, beside whatever this one does next."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        forkserver.set_forkserver_preload(list(PRELOADED))
        forkserver.ensure_running()


class EarlyWorker:
    """A process that becomes a worker of this machine once it is told which."""

    def __init__(self) -> None:
        # Neither it nor what it starts has any business with the storage before it is told.
        environment = {name: value for name, value in os.environ.items() if name != STORAGE_VARIABLE}
        self._process: subprocess.Popen[str] | None = subprocess.Popen(
            [sys.executable, "-m", __name__, "worker"],  # the word is for those who list processes
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def become(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[str] | None:
        """The process, from now on `hrm-sweep WORDS` with this besides in its environment, writing to `log`; None when
        it was given away before, or has ended."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return None
        order = {"words": list(words), "environment": dict(environment), "log": str(log)}
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        except OSError:  # it ended in this moment
            return None
        return process

    def close(self) -> None:
        """End it, and what it started, unless it has become a worker."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


@contextlib.contextmanager
def early_worker(*, wanted: bool) -> Iterator[EarlyWorker | None]:
    """One for as long as the block runs. None where it is not wanted; where processes cannot be forked; and where there
    are GPUs, for which of them a worker has must stand in its environment before torch is loaded."""
    can_fork = "forkserver" in multiprocessing.get_all_start_methods()
    if not wanted or not can_fork or any(Path("/dev").glob("nvidia[0-9]*")):
        yield None
        return
    with contextlib.closing(EarlyWorker()) as early:
        yield early


def main() -> None:
    load_training()
    import hrm_sweep.sweep.worker  # noqa: F401 - to have it loaded

    line = sys.stdin.readline()
    if not line:
        return  # whoever started it has ended
    order = json.loads(line)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    os.environ.update(order["environment"])
    sys.argv = ["hrm-sweep", *order["words"]]
    runpy.run_module("hrm_sweep", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
