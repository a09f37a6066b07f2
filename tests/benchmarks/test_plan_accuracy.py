"""The benchmark predicts, trains and compares, at a size that takes no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).with_name("plan_accuracy.py")
SMALL = ("arch.hidden_size=16", "arch.num_heads=2", "arch.H_layers=1", "arch.L_layers=1", "eval_puzzles=8")


@pytest.mark.proof
def test_it_prints_predicted_beside_measured_and_how_many_are_near(tmp_path: Path) -> None:
    out = tmp_path / "accuracy.json"
    words = ["--spaces", "learning_rate_and_batch", "--trials", "1", "--seconds", "0.5", "--json", str(out), *SMALL]
    done = subprocess.run([sys.executable, str(BENCHMARK), *words], capture_output=True, text=True, check=True)
    numbers = json.loads(out.read_text())
    (trial,) = numbers["trials"]
    assert trial["predicted"] > 0
    assert trial["measured"] > 0
    head, line, verdict = done.stdout.splitlines()
    assert head.split() == ["space", "predicted", "measured", "ratio", "values"]
    assert line.split()[0] == "learning_rate_and_batch"
    assert f"{trial['predicted']:.1f} s" in line
    assert verdict == f"within 15%: {numbers['within']} of 1 trials"
