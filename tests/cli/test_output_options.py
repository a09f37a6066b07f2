"""--quiet, --no-color and NO_COLOR on every verb, before it and behind it; the first screen; --json for scripts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from hrm_sweep.cli.app import app

CONTROL_CODE = re.compile(r"\x1b\[|\r")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]")

SPACE = {
    "name": "mine",
    "base": "hrm_v1_tiny",
    "overrides": {
        "arch": {"hidden_size": 16, "num_heads": 2, "H_cycles": 1, "L_cycles": 1, "halt_max_steps": 2},
        "data": {"size": 4, "subsample_size": 60, "test_size": 20, "min_blanks": 1, "max_blanks": 1},
        "global_batch_size": 30,
        "epochs": 4,
        "eval_interval": 2,
    },
    "parameters": {"lr": {"values": [1e-3, 2e-3]}},
    "sampler": {"name": "random", "seed": 0},
    "budget": {"trials": 1},
}


def hrm_sweep(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with a study of one trial, and what the call printed."""
    folder = tmp_path_factory.mktemp("studied")
    (folder / "mine.yaml").write_text(json.dumps(SPACE))
    return folder, hrm_sweep("run", "mine.yaml", "--json", folder=folder)


def test_every_verb_takes_the_shared_options() -> None:
    waiting = [get_command(app)]
    while waiting:
        command = waiting.pop()
        inner = list(getattr(command, "commands", {}).values())
        waiting += inner
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert {"--quiet", "--no-color"} <= flags or (inner and command.name != "hrm-sweep"), command.name


def test_the_first_screen_names_the_verbs_that_matter_first_and_fits_80_columns(folder: Path) -> None:
    screen = hrm_sweep(folder=folder)
    assert screen.returncode == 0
    named = re.findall(r"^  hrm-sweep (\w+) ", screen.stdout, re.MULTILINE)
    assert named == [verb for verb in ("run", "diagnose", "report", "best", "dashboard") if verb in named]
    assert {"run", "diagnose", "dashboard"} <= set(named) <= set(get_command(app).commands)  # type: ignore[attr-defined]
    assert max(map(len, screen.stdout.splitlines())) <= 80


def test_json_stands_alone_on_standard_output(studied: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, called = studied
    said = json.loads(called.stdout)
    assert (said["study"], said["trials"], said["budget_reached"]) == ("mine", {"complete": 1}, True)
    assert said["exit_code"] == called.returncode == 0
    assert (folder / said["best"]["config"]).is_file()
    assert "1 at once" in called.stderr or "trial 0: running" in called.stderr


def test_quiet_leaves_the_result_and_nothing_else(studied: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = studied
    for words in (("--quiet", "run", "mine.yaml"), ("run", "mine.yaml", "--quiet")):
        quiet = hrm_sweep(*words, folder=folder)
        assert "\nmine: 1 complete\n" in quiet.stdout
        assert not any(words in quiet.stdout for words in ("next:", "storage", "varies", "trial 0: "))
        assert quiet.stderr == ""
    assert "next:" in hrm_sweep("run", "mine.yaml", folder=folder).stdout
    trained = hrm_sweep("train", "trials/mine/0000/config.yaml", "--run-dir", "again", "--quiet", folder=folder)
    assert trained.stdout.splitlines()[-1] == "again"
    assert "optimizer steps" in (folder / "again" / "log.txt").read_text()


def test_a_pipe_gets_no_control_codes(studied: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, called = studied
    for words in (["status", "mine"], ["studies"], ["diagnose", "trials/mine/0000"], ["--help"], ["nonsense"]):
        printed = hrm_sweep(*words, folder=folder)
        assert not CONTROL_CODE.search(printed.stdout + printed.stderr)
    assert not CONTROL_CODE.search(called.stderr)


def test_colours_can_be_switched_off(studied: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = studied
    words = ("diagnose", "trials/mine/0000")
    assert COLOUR.search(hrm_sweep(*words, folder=folder, FORCE_COLOR="1", TERM="xterm-256color").stdout)
    for arguments, variables in (
        ((*words, "--no-color"), {"FORCE_COLOR": "1"}),
        (("--no-color", *words), {"FORCE_COLOR": "1"}),
        (words, {"FORCE_COLOR": "1", "NO_COLOR": "1"}),
    ):
        assert not COLOUR.search(hrm_sweep(*arguments, folder=folder, TERM="xterm-256color", **variables).stdout)
