"""The live table of a real study in a real terminal, driven by tmux, at 80 and at 200 columns."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from hrm_sweep.config import DataConfig
from hrm_sweep.data.build import ensure_data

BLOCKS = set("▁▂▃▄▅▆▇█")
SPACE = {
    "name": "watched",
    "base": "hrm_v1_tiny",
    "overrides": {
        "arch": {"hidden_size": 16, "num_heads": 2, "H_cycles": 1, "L_cycles": 1, "halt_max_steps": 2},
        "global_batch_size": 30,
        "epochs": 1000,
        "eval_interval": 2,
        "eval_puzzles": 30,
        "lr_warmup_steps": 10,
        "puzzle_emb_lr": 1e-5,
        "stop_when_solved": 0.5,
    },
    "parameters": {"lr": {"values": [1e-6, 1e-5, 3e-3]}},
    # One that is solved soon, two that are pruned soon, and two that are neither while somebody looks.
    "first": [{"lr": 3e-3}, {"lr": 1e-6}, {"lr": 1e-6}],
    "sampler": {"name": "random", "seed": 3},
    "pruner": {"zero_accuracy": {"epoch": 12}},
    "budget": {"trials": 40},
    "resources": {"jobs": 2},
}


class Screen:
    """A terminal of its own."""

    def __init__(self, columns: int, lines: int, folder: Path, command: str) -> None:
        self._name = f"hrm-sweep-{uuid.uuid4().hex}"
        size = ("-x", str(columns), "-y", str(lines))
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), command)
        self._tmux("set-option", "-g", "status", "off")

    def lines(self) -> list[str]:
        """What is on the screen. No line of it had to wrap."""
        shown, joined = self._captured("-p"), self._captured("-p", "-J")
        assert len(shown) == len(joined), "\n".join(shown)
        return shown

    def _captured(self, *options: str) -> list[str]:
        return [line.rstrip() for line in self._tmux("capture-pane", *options).splitlines()]

    def press(self, key: str) -> None:
        self._tmux("send-keys", key)

    def wait_for(self, condition: Callable[[list[str]], bool], timeout_s: float = 120) -> list[str]:
        """The first screen of which the condition holds."""
        give_up = time.monotonic() + timeout_s
        while True:
            shown = self.lines()
            if condition(shown):
                return shown
            assert time.monotonic() < give_up, "\n".join(shown)
            time.sleep(0.05)

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._name, "kill-server"], check=False, capture_output=True)

    def _tmux(self, *arguments: str) -> str:
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        command = ["tmux", "-u", "-L", self._name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def rows_of(lines: list[str]) -> list[list[str]]:
    """The rows of the table, as words."""
    heads = [place for place, line in enumerate(lines) if line.split()[:3] == ["trial", "state", "epoch"]]
    return (
        [line.split() for line in lines[heads[-1] + 1 :] if line.split()[:1] and line.split()[0].isdigit()]
        if heads
        else []
    )


def tells_all(lines: list[str]) -> bool:
    """A trial that completed, one that was pruned, one that runs and has a curve, and the time left of the study."""
    rows = rows_of(lines)
    states = {row[1] for row in rows}
    curves = any(row[1] == "running" and BLOCKS & set("".join(row)) for row in rows)
    return {"complete", "pruned"} <= states and curves and any("left (" in line for line in lines)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the space and its puzzles."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux here; on Debian and Ubuntu: apt install tmux")
    folder = tmp_path_factory.mktemp("watched")
    puzzles = ensure_data(
        DataConfig(size=4, subsample_size=300, test_size=80, min_blanks=1, max_blanks=1), folder / "data"
    )
    content = {**SPACE, "overrides": {**SPACE["overrides"], "data_path": str(puzzles)}}  # type: ignore[dict-item]
    (folder / "watched.yaml").write_text(json.dumps(content))
    return folder


@pytest.fixture(params=[(80, 24), (200, 50)], ids=["80x24", "200x50"])
def screen(request: pytest.FixtureRequest, watched: Path) -> Iterator[Screen]:
    columns, lines = request.param
    command = [sys.executable, "-m", "hrm_sweep", "run", "watched.yaml", "--study", f"at-{columns}"]
    one = Screen(columns, lines, watched, f"{shlex.join(command)}; cat")
    yield one
    one.close()


@pytest.mark.proof
def test_the_table_fits_the_screen_and_tells_what_happens(screen: Screen, request: pytest.FixtureRequest) -> None:
    columns, height = request.node.callspec.params["screen"]
    shown = screen.wait_for(tells_all)
    start = max(place for place, line in enumerate(shown) if line.startswith(f"at-{columns}  "))
    table = [line for line in shown[start:] if line]
    assert len(table) < height
    assert max(cell_len(line) for line in table) <= columns
    pruned = next(line for line in table if " pruned " in line)
    assert "zero_accuracy at epoch" in pruned
    if columns == 200:  # there is room for all of it
        assert "lr=1e-06" in pruned
        assert "no puzzle solved in 6 evaluations" in pruned
    screen.press("C-c")
    screen.press("C-c")
    ended = screen.wait_for(lambda lines: any("continue with:" in line for line in lines))
    screen.wait_for(lambda lines: any(line.startswith("  hrm-sweep dashboard") for line in lines))
    assert not any("Traceback" in line for line in ended)
