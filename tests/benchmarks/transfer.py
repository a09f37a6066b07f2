"""Does what is good on a small proxy stay good on the larger task? 4x4 sudoku against 6x6, the same configurations.

    python tests/benchmarks/transfer.py [--configurations 16] [--small-epochs 40] [--large-epochs 60] [key=value ...]

Draws configurations (learning rate, batch, cycles, ACT steps), trains each on both tasks, prints both scores and the
rank correlation (Spearman) with a bootstrap interval over configurations, and how many of the best quarter are the
same. Each score is that of one seed on the selection puzzles, so noise counts against the correlation. With `--folder`
it continues, and trains nothing twice. Sixteen configurations take about twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hrm_sweep.config import parse_overrides
from hrm_sweep.sweep.space_lint import spelled
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import open_study

STORAGE = "sqlite:///trials/optuna.db"
BOOTSTRAPS = 10_000
_PUZZLES = {"source": "generator", "subsample_size": 1000, "test_size": 400}
DATA = {
    "small": {**_PUZZLES, "size": 4, "min_blanks": 4, "max_blanks": 7},
    "large": {**_PUZZLES, "size": 6, "min_blanks": 6, "max_blanks": 12},
}
METRIC = "accuracy"
"""Cells and not puzzles: on the larger task many configurations solve no puzzle in so few steps, and equal zeros have
no order."""


@dataclass(frozen=True)
class Pair:
    """One configuration, and what it reached on each task."""

    values: dict[str, Any]
    small: float
    large: float


def drawn(configurations: int) -> list[dict[str, Any]]:
    rng = random.Random(0)
    return [
        {
            "lr": float(f"{10 ** rng.uniform(-4, -2):.2g}"),
            "global_batch_size": rng.choice([32, 64]),
            "arch.H_cycles": rng.choice([1, 2]),
            "arch.L_cycles": rng.choice([1, 2, 3]),
            "arch.halt_max_steps": rng.choice([2, 4, 8]),
        }
        for _ in range(configurations)
    ]


def scores(task: str, points: Sequence[dict[str, Any]], epochs: int, overrides: dict[str, Any]) -> list[float]:
    """The best evaluation of each configuration on this task; trains what was not trained before, in this folder."""
    space = {
        "name": task,
        "base": "hrm_v1_tiny",
        "overrides": {"data": DATA[task], "epochs": epochs, "eval_interval": max(1, epochs // 4), **overrides},
        "objective": {"metric": METRIC},
        "parameters": {name: {"values": sorted({point[name] for point in points})} for name in points[0]},
        "first": points,
        "sampler": {"name": "random", "seed": 0},
        "budget": {"trials": len(points)},
    }
    Path(f"{task}.yaml").write_text(json.dumps(space))
    subprocess.run([sys.executable, "-m", "hrm_sweep", "run", f"{task}.yaml"], check=True, stdout=sys.stderr)
    found = {}
    for chain in open_study(STORAGE, task).chains():
        found[spelled(dict(sorted(chain.last.params.items())))] = chain.last.value
    values = [found.get(spelled(dict(sorted(point.items())))) for point in points]
    if None in values:
        raise SystemExit(f"{task}: some configurations failed; `hrm-sweep report {task}` says why")
    return [float(value) for value in values if value is not None]


def ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 for the least; equal values share the mean of their ranks."""
    below = (values[:, None] > values[None, :]).sum(axis=1)
    equal = (values[:, None] == values[None, :]).sum(axis=1)
    return below + (equal + 1) / 2.0


def spearman(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Rank correlation; NaN where all values of one are equal."""
    a, b = ranks(one), ranks(other)
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else float("nan")


def interval(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> tuple[float, float]:
    """95 % of the rank correlations of configurations drawn again with replacement."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(one), (BOOTSTRAPS, len(one)))
    low, high = np.nanpercentile([spearman(one[draw], other[draw]) for draw in draws], [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description="Rank correlation between a small proxy and a larger task.")
    parser.add_argument("--configurations", type=int, default=16)
    parser.add_argument("--small-epochs", type=int, default=40)
    parser.add_argument("--large-epochs", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where to train, and to continue (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    quiet_optuna()
    points = drawn(arguments.configurations)
    overrides = parse_overrides(arguments.overrides)
    out = None if arguments.json is None else arguments.json.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        before = Path.cwd()
        os.chdir(folder)
        small = scores("small", points, arguments.small_epochs, overrides)
        large = scores("large", points, arguments.large_epochs, overrides)
        os.chdir(before)
    pairs = [Pair(*one) for one in zip(points, small, large, strict=True)]
    print(f"{METRIC}: {'4x4':>8}{'6x6':>8}  configuration")
    for pair in sorted(pairs, key=lambda pair: -pair.small):
        print(f"{'':>{len(METRIC) + 1}} {pair.small:>8.3f}{pair.large:>8.3f}  {spelled(pair.values)}")
    one, other = np.array(small), np.array(large)
    correlation, (low, high) = spearman(one, other), interval(one, other)
    quarter = max(1, len(pairs) // 4)
    shared = len(set(np.argsort(-one)[:quarter]) & set(np.argsort(-other)[:quarter]))
    print(f"rank correlation {correlation:.2f} (95 % interval {low:.2f} to {high:.2f}, {len(pairs)} configurations)")
    print(f"of the best {quarter} on 4x4, {shared} are among the best {quarter} on 6x6")
    if out is not None:
        content = {"spearman": correlation, "low": low, "high": high, "best_shared": shared, "best": quarter}
        out.write_text(json.dumps({**content, "pairs": [dataclasses.asdict(pair) for pair in pairs]}, indent=1))


if __name__ == "__main__":
    main()
