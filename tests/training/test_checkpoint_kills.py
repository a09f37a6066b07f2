"""A kill at every single point of writing a checkpoint: last.pt and best.pt always load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_session import small_config

from hrm_sweep.config import write_config

# At its second checkpoint the run forks a child for each point at which a kill can come, and each child writes the
# checkpoint until it is killed there: before its n-th call of the operating system (open, write, sync, rename, link,
# remove ...), or when the file has reached a size, which the system itself sees to. The parent looks at what is left.
SCRIPT = """
import io, json, os, resource, shutil, signal, sys
from pathlib import Path
import torch
from hrm_sweep.config import load_config
from hrm_sweep.model.checkpoint import load_state
from hrm_sweep.runs import RunDirectory
from hrm_sweep.training import loop
from hrm_sweep.training.session import run_training

directory = RunDirectory(Path(sys.argv[2]))
save, saves, found = loop.Run._save, [], []

def before_call(n):
    seen = 0
    def count(frame, event, function):
        nonlocal seen
        if event != "c_call":
            return
        module, owner = getattr(function, "__module__", None) or "", getattr(function, "__self__", None)
        if module in ("posix", "_io") or isinstance(owner, (io.IOBase, torch._C.PyTorchFileWriter)):
            seen += 1
            if seen == n:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)

def at_size(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, so that writing fails; here it ends the process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def killed(training, arm, *arguments):
    child = os.fork()
    if child == 0:
        arm(*arguments)
        save(training, best=True)
        sys.setprofile(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    last, best = load_state(directory.last_checkpoint), load_state(directory.best_checkpoint)
    found.append((arm.__name__, last["iteration"], best["iteration"]))
    for path in (directory.last_checkpoint, directory.best_checkpoint):
        path.unlink()
        shutil.copyfile("old.pt", path)
    return os.WIFSIGNALED(status)

def save_and_be_killed(training, *, best):
    saves.append(training.iteration)
    if len(saves) == 2:
        shutil.copyfile(directory.last_checkpoint, "old.pt")
        size, n = directory.last_checkpoint.stat().st_size, 1
        while killed(training, before_call, n):
            n += 1
        for limit in range(0, size, size // 50):
            assert killed(training, at_size, limit)
        assert not killed(training, at_size, 2 * size)
    save(training, best=best)

loop.Run._save = save_and_be_killed
status = run_training(load_config(sys.argv[1]), directory, threads=1)
print(json.dumps({"state": status.state, "saves": saves, "found": found}))
"""


@pytest.mark.proof
def test_a_kill_at_any_point_of_a_checkpoint_leaves_one_that_loads(tmp_path: Path, sudoku_4x4: Path) -> None:
    config = tmp_path / "config.yaml"
    write_config(small_config(sudoku_4x4), config)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(config), "run"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    old, new = told["saves"][:2]
    calls = [(last, best) for how, last, best in told["found"] if how == "before_call"]
    assert told["state"] == "completed"
    assert len(calls) > 20
    assert set(calls) == {(old, old), (new, old), (new, new)}  # nothing else, and all of it was seen
    assert calls == sorted(calls)  # a later kill never leaves an older checkpoint
    sizes = [(last, best) for how, last, best in told["found"] if how == "at_size"]
    assert sizes == [(old, old)] * (len(sizes) - 1) + [(new, new)]
    assert len(sizes) > 50
