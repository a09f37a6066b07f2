"""Whether progressive training pays: runs in stages against runs without, at equal training FLOPs.

    python tests/benchmarks/progressive.py [--seeds 5] [--sizes 4x4,6x6] [--epochs 60] [--json FILE] [--folder DIR]

Of each size and seed one run lets its puzzles take 2, then 4, then 8 ACT steps, for a fifth, three tenths and half of
its epochs (the preset `progressive`); the other, with the same seed, data and weights to begin with, takes 8 from
beginning to end. A train step costs the same with any limit above 1, so equal FLOPs are equal epochs, which is checked.
Both are evaluated at their end, with 8 ACT steps, on puzzles that decided nothing. The difference has a 95 % interval
of Student's t over the seeds; where it holds 0, the benchmark has not shown that one is better.

A run that is in the folder already is not trained again, so that a benchmark that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.data.build import ensure_data
from hrm_sweep.data.folder import open_folder
from hrm_sweep.evaluation.accuracy import evaluate_checkpoint
from hrm_sweep.planning.cost import train_flops
from hrm_sweep.runs import RunDirectory, State, read_status
from hrm_sweep.training.session import run_training

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5 % point of Student's t with 1, 2, ... degrees of freedom."""

LIMITS, SHARES = (2, 4, 8), (0.2, 0.3, 0.5)
SIZES: dict[str, dict[str, Any]] = {
    "4x4": {"data": {"size": 4, "subsample_size": 1000, "test_size": 400, "min_blanks": 5, "max_blanks": 8}},
    "6x6": {
        "data": {"size": 6, "subsample_size": 1000, "test_size": 400, "min_blanks": 8, "max_blanks": 12},
        "arch.hidden_size": 96,
        "arch.num_heads": 4,
    },
}
EQUAL_FLOPS = 0.01


@dataclass(frozen=True)
class Pair:
    """Exact accuracy on unseen puzzles of the two runs of one size and seed, and their training FLOPs."""

    size: str
    seed: int
    staged: float
    single: float
    puzzles: int
    staged_flops: float
    single_flops: float


@dataclass(frozen=True)
class Summary:
    """Of one size: means, and the mean difference with its interval; None where one seed gives none."""

    size: str
    seeds: int
    staged: float
    single: float
    difference: float
    interval: tuple[float, float] | None


def configs(size: str, seed: int, epochs: int, tiny: bool) -> dict[str, RunConfig]:
    """Both runs of a size and seed. `tiny` makes them as small as they can be, to see that the benchmark works."""
    parts = [round(epochs * share) for share in SHARES]
    parts[-1] = epochs - sum(parts[:-1])
    stages = [
        {"epochs": part, "overrides": {"arch.halt_max_steps": limit}} for part, limit in zip(parts, LIMITS, strict=True)
    ]
    interval = {"eval_interval": math.gcd(*parts), "seed": seed, "device": "cpu"}
    small = {"arch.hidden_size": 16, "arch.num_heads": 2, "global_batch_size": 200, "eval_puzzles": 20} if tiny else {}
    shared = {**SIZES[size], **interval, **small}
    return {
        "staged": load_config("hrm_v1_tiny", {**shared, "stages": stages}),
        "single": load_config("hrm_v1_tiny", {**shared, "epochs": epochs, "arch.halt_max_steps": LIMITS[-1]}),
    }


def measured(config: RunConfig, directory: RunDirectory, data: Path) -> tuple[float, int, float]:
    """(exact accuracy on unseen puzzles, how many they are, training FLOPs) of a run, trained where it is not yet."""
    config = config.model_copy(update={"data_path": str(data)})
    status = read_status(directory.status)
    if status is None or status.state is not State.COMPLETED:
        status = run_training(config, directory, resume=directory.is_run(), say=lambda line: None)
    if status.state is not State.COMPLETED:
        sys.exit(f"{directory.path}: ended {status.state}: {status.message}")
    result = evaluate_checkpoint(config, directory.step_weights(status.step), "holdout")
    assert result.exact_accuracy is not None
    cells = open_folder(data).train.metadata.seq_len
    return result.exact_accuracy, result.count, train_flops(config, cells, status.step)


def pair_of(size: str, seed: int, epochs: int, folder: Path, tiny: bool) -> Pair:
    both = {}
    for name, config in configs(size, seed, epochs, tiny).items():
        assert config.data is not None
        data = ensure_data(config.data, folder / "data")
        both[name] = measured(config, RunDirectory(folder / f"{size}-{name}-{seed}"), data)
    (staged, puzzles, staged_flops), (single, _, single_flops) = both["staged"], both["single"]
    assert abs(staged_flops / single_flops - 1) < EQUAL_FLOPS, (staged_flops, single_flops)
    return Pair(size, seed, staged, single, puzzles, staged_flops, single_flops)


def summary(size: str, pairs: Sequence[Pair]) -> Summary:
    differences = [pair.staged - pair.single for pair in pairs]
    mean, interval = statistics.mean(differences), None
    if 2 <= len(pairs) <= len(STUDENT) + 1:
        half = STUDENT[len(pairs) - 2] * statistics.stdev(differences) / math.sqrt(len(pairs))
        interval = (mean - half, mean + half)
    staged, single = (statistics.mean(getattr(pair, name) for pair in pairs) for name in ("staged", "single"))
    return Summary(size, len(pairs), staged, single, mean, interval)


def table(summaries: Sequence[Summary]) -> str:
    lines = [
        "| board | seeds | in stages | single stage | difference, points | 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for one in summaries:
        low_high = "none" if one.interval is None else f"{100 * one.interval[0]:+.1f} to {100 * one.interval[1]:+.1f}"
        lines.append(
            f"| {one.size} | {one.seeds} | {one.staged:.1%} | {one.single:.1%} | {100 * one.difference:+.1f} "
            f"| {low_high} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=range(1, len(STUDENT) + 2), metavar="1..10")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--tiny", action="store_true", help="see that it works; the numbers mean nothing")
    parser.add_argument("--folder", type=Path, help="where runs are kept, default: a temporary folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = options.sizes.split(",")
    if unknown := [size for size in sizes if size not in SIZES]:
        parser.error(f"--sizes: {unknown[0]!r} is none of {', '.join(SIZES)}")
    if options.epochs < 10:
        parser.error("--epochs: at least 10, so that each stage has some")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        pairs = [
            pair_of(size, seed, options.epochs, folder, options.tiny) for size in sizes for seed in range(options.seeds)
        ]
    summaries = [summary(size, [pair for pair in pairs if pair.size == size]) for size in sizes]
    print(table(summaries))
    if options.json is not None:
        content = {"runs": [asdict(pair) for pair in pairs], "sizes": [asdict(one) for one in summaries]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
