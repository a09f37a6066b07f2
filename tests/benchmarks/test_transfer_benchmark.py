"""Rank correlation and its interval, and the benchmark at a size that takes no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transfer import interval, ranks, spearman

BENCHMARK = Path(__file__).with_name("transfer.py")
SMALL = ("arch.hidden_size=16", "arch.num_heads=2", "eval_puzzles=4", "checkpoint=false")


def test_equal_values_share_their_ranks() -> None:
    assert ranks(np.array([0.5, 0.1, 0.5, 0.9])).tolist() == [2.5, 1.0, 2.5, 4.0]


@pytest.mark.parametrize(
    ("other", "expected"),
    [([1, 2, 3, 4, 5], 1.0), ([5, 4, 3, 2, 1], -1.0), ([2, 1, 4, 3, 5], 0.8), ([1, 1, 1, 1, 1], float("nan"))],
)
def test_rank_correlation_by_the_textbook(other: list[float], expected: float) -> None:
    """1 - 6 sum d^2 / (n (n^2 - 1)); 0.8 is 1 - 24 / 120."""
    assert spearman(np.arange(5.0), np.array(other, float)) == pytest.approx(expected, nan_ok=True)


def test_the_interval_is_wide_for_noise_and_narrow_for_order() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 20))
    low, high = interval(noise[0], noise[1])
    assert low < 0 < high
    low, high = interval(np.arange(20.0), np.arange(20.0) ** 3)
    assert low > 0.9


@pytest.mark.proof
def test_both_tasks_are_trained_and_compared(tmp_path: Path) -> None:
    out = tmp_path / "transfer.json"
    words = ["--configurations", "3", "--small-epochs", "1", "--large-epochs", "1", "--json", str(out), *SMALL]
    done = subprocess.run([sys.executable, str(BENCHMARK), *words], capture_output=True, text=True, check=True)
    numbers = json.loads(out.read_text())
    assert len(numbers["pairs"]) == 3
    assert "rank correlation" in done.stdout
    assert "of the best 1 on 4x4" in done.stdout
