"""A study of three real trials, for whatever reads studies: one that learns, one that is pruned, one that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SPACE: dict[str, Any] = {
    "name": "three",
    "base": "hrm_v1_tiny",
    "overrides": {
        "arch.hidden_size": 32,
        "arch.halt_max_steps": 2,
        "arch.H_cycles": 1,
        "arch.L_cycles": 1,
        "data": {"size": 4, "subsample_size": 200, "test_size": 100, "min_blanks": 1, "max_blanks": 1},
        "global_batch_size": 40,
        "lr_warmup_steps": 5,
        "epochs": 16,
        "eval_interval": 4,
    },
    "parameters": {"lr": {"values": [3e-3, 1e-9, 1e30]}},
    "first": [{"lr": 3e-3}, {"lr": 1e-9}, {"lr": 1e30}],
    "pruner": {"zero_accuracy": {"epoch": 8}},
    "budget": {"trials": 3},
}


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def make_study(folder: Path) -> None:
    """Run the study in an empty folder."""
    (folder / "three.yaml").write_text(json.dumps(SPACE))
    done = hrm_sweep("run", "three.yaml", "--jobs", "1", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
