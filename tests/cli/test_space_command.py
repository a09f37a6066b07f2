"""`hrm-sweep space`: the file on standard output or where it was asked for, what was left out beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hrm_sweep.sweep.space import load_space

SPACES = Path(__file__).resolve().parents[1] / "fixtures" / "spaces"


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_sweep_is_written_once_and_what_is_left_out_is_said(folder: Path) -> None:
    words = ("space", "from-wandb", str(SPACES / "wandb_bayes.yaml"), "--base", "hrm_v1_tiny")
    printed = hrm_sweep(*words, folder=folder)
    assert "without counterpart: optimizer: no key of the configuration" in printed.stderr
    written = hrm_sweep(*words, "--output", "ours.yaml", folder=folder)
    assert written.stdout == "written: ours.yaml\nnext: hrm-sweep run ours.yaml\n"
    assert (folder / "ours.yaml").read_text() == printed.stdout
    assert load_space("ours.yaml").base == "hrm_v1_tiny"
    again = hrm_sweep(*words, "--output", "ours.yaml", folder=folder)
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists and is left as it is" in again.stderr


def test_what_cannot_be_converted_writes_nothing(folder: Path) -> None:
    refused = hrm_sweep("space", "from-hydra", str(SPACES / "wandb_bayes.yaml"), "--output", "x.yaml", folder=folder)
    assert refused.returncode == 2
    assert "expected a config of Hydra with hydra.sweeper" in refused.stderr
    assert not (folder / "x.yaml").exists()
