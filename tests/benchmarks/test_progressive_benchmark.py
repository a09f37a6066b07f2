"""The benchmark of progressive training compares equal costs, prints its table, and goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from progressive import Pair, configs, pair_of, summary

BENCHMARK = Path(__file__).with_name("progressive.py")


def test_both_runs_end_with_the_same_model_after_as_many_epochs() -> None:
    both = configs("6x6", 3, 60, tiny=False)
    assert both["staged"].epochs == both["single"].epochs == 60
    assert both["staged"].last_stage.arch == both["single"].arch
    assert [stage.epochs for stage in both["staged"].stages or ()] == [12, 18, 30]
    assert both["staged"].eval_interval == both["single"].eval_interval


def test_a_difference_has_the_interval_of_student() -> None:
    pairs = [Pair("4x4", n, 0.5 + step, 0.5, 200, 1.0, 1.0) for n, step in enumerate((0.0, 0.02, 0.04))]
    found = summary("4x4", pairs)
    assert found.difference == pytest.approx(0.02)
    assert found.interval == pytest.approx((0.02 - 4.303 * 0.02 / 3**0.5, 0.02 + 4.303 * 0.02 / 3**0.5))
    assert summary("4x4", pairs[:1]).interval is None


@pytest.mark.proof
def test_it_trains_both_and_prints_a_row(tmp_path: Path) -> None:
    out = tmp_path / "progressive.json"
    command = [sys.executable, str(BENCHMARK), "--tiny", "--seeds", "1", "--sizes", "4x4", "--epochs", "10"]
    done = subprocess.run(
        [*command, "--json", str(out), "--folder", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(out.read_text())["runs"]
    assert one["puzzles"] == 380  # of 400; the others decided
    assert one["staged_flops"] == pytest.approx(one["single_flops"])
    assert done.stdout.splitlines()[-1].startswith("| 4x4 | 1 | ")
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("4x4-*/metrics.jsonl"))]
    again = pair_of("4x4", 0, 10, tmp_path, tiny=True)
    assert asdict(again) == one
    assert times == [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("4x4-*/metrics.jsonl"))]


def test_a_size_that_is_none_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--sizes", "5x5"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'5x5' is none of 4x4, 6x6" in done.stderr
