"""A sweep of 24 configurations: as a loop in a shell would run them, and by the product with its defaults.

    python tests/benchmarks/sweep.py [--configurations 24] [--folder DIR] [--json FILE] [--threads N]
                                     [--order SEED] [key=value ...]

Both get the same configurations of the quickstart space, drawn once from a fixed seed, on the same data:

loop     one process after another trains each with the plain reading of the specification (plain_training.py), default
         threads, nothing pruned; every evaluation is of the whole test set.
product  `hrm-sweep run` of the quickstart with these as `first`, a budget of as many trials, and everything else as
         shipped: trials at once, pruners, stop_when_solved, the puzzles that decide, the final measurement.

Each one's best model, by its own choice, then solves the same 2000 puzzles that neither has seen. Times are of the
whole processes. With `--folder` everything stays there, and what is done is not done again: configurations of the loop
one by one, the product as a whole. What a pruner that compares trials saves depends on which come first: `--order`
gives the product the same list in another order. `key=value` changes every configuration, for a short look. Takes half
an hour on two cores, which have to be quiet.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hrm_sweep.config import RunConfig, load_config, parse_overrides, write_config
from hrm_sweep.data import Split, open_folder
from hrm_sweep.evaluation.selection import subset_indices
from hrm_sweep.evaluation.share import wilson
from hrm_sweep.runs import RunDirectory, read_metrics, read_status, replaced_atomically
from hrm_sweep.sweep.space import SearchSpace, load_space, space_from_mapping
from hrm_sweep.sweep.space_lint import lint_space

HERE = Path(__file__).resolve().parent
PUZZLES = {"size": 4, "min_blanks": 3, "max_blanks": 5}
UNSEEN_SEED = 1
DRAW_SEED = 24


@dataclass(frozen=True)
class Moment:
    """The best score so far, on the puzzles that the product decides by, after so many seconds of the sweep."""

    seconds: float
    score: float


@dataclass(frozen=True)
class Outcome:
    """What a sweep cost and found. Its best model, of configuration `best`, solves `unseen` of `unseen_puzzles`."""

    seconds: float
    best: dict[str, Any]
    unseen: int
    unseen_puzzles: int
    moments: tuple[Moment, ...]
    each: tuple[dict[str, Any], ...]

    @property
    def share(self) -> float:
        return self.unseen / self.unseen_puzzles


def configurations(space: SearchSpace, count: int) -> list[dict[str, Any]]:
    """The first `count` of an endless fixed list of points of the space, uniform in what each parameter says."""
    rng, points = random.Random(DRAW_SEED), []
    for _ in range(count):
        point = {}
        for name, parameter in space.parameters.items():
            if parameter.values is not None:
                point[name] = rng.choice(parameter.values)
            else:
                low, high = parameter.range
                drawn = (
                    math.exp(rng.uniform(math.log(low), math.log(high))) if parameter.log else rng.uniform(low, high)
                )
                point[name] = float(f"{drawn:.3g}")
        points.append(point)
    return points


def sweep_space(data: Path, count: int, changes: dict[str, Any], order: int | None = None) -> SearchSpace:
    """The quickstart with the fixed list, in this order, in place of its own first points, on this data."""
    space = load_space("quickstart").with_overrides({**changes, "data_path": str(data)})
    points = configurations(load_space("quickstart"), count)
    if order is not None:
        random.Random(order).shuffle(points)
    content = {
        **space.model_dump(mode="json"),
        "name": "benchmark",
        "first": [{**point, **{key: value for key, value in changes.items() if key in point}} for point in points],
        "budget": {"trials": count},
    }
    return space_from_mapping(content, "benchmark")


def build_data(folder: Path, name: str, *options: str) -> Path:
    path = folder / name
    if not path.is_dir():
        words = [word for key, value in PUZZLES.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        subprocess.run([*hrm_sweep("data", "sudoku", "--output-dir", str(path)), *words, *options], check=True)
    return path


def hrm_sweep(*words: str) -> list[str]:
    return [sys.executable, "-m", "hrm_sweep", *words]


def run_loop(folder: Path, space: SearchSpace, puzzles: int, unseen: Split, threads: int | None) -> Outcome:
    """One configuration after another; what `folder` holds of an earlier call counts with the time it took then."""
    chosen = deciding(space, puzzles)
    passed, best_score, moments, each = 0.0, -1.0, [Moment(0.0, 0.0)], []
    best_run, most = folder, -1
    for number, point in enumerate(space.first):
        run = folder / f"{number:04d}"
        result = train_plainly(run, space.config({**point, "seed": number}), threads)
        start_s = result["seconds"] - result["loop_s"]
        for evaluation in result["evaluations"]:
            score = sum(evaluation["solved"][index] == "1" for index in chosen) / len(chosen)
            if score > best_score:
                best_score = score
                moments.append(Moment(passed + start_s + evaluation["seconds"], score))
        whole = max(evaluation["solved"].count("1") for evaluation in result["evaluations"])
        if whole > most:
            best_run, most = run, whole
        passed += result["seconds"]
        each.append(
            {
                "point": point,
                "seconds": result["seconds"],
                "start_s": start_s,
                "evaluation_s": result["evaluation_s"],
                "steps": result["steps"],
                "best": whole / len(result["evaluations"][0]["solved"]),
            }
        )
        print(
            f"loop {number:>3}: {result['seconds']:7.1f} s, best {each[-1]['best']:.3f}  {spelled(point)}", flush=True
        )
    best = space.first[int(best_run.name)]
    solved = solved_unseen(load_config(best_run / "config.yaml"), best_run / "best.pt", unseen)
    return Outcome(passed, dict(best), solved, unseen.n_examples, tuple(moments), tuple(each))


def train_plainly(run: Path, config: RunConfig, threads: int | None) -> dict[str, Any]:
    """The result of one process, with the seconds that it took from outside; from the folder where it is there."""
    timed = run / "timed.json"
    if not timed.is_file():
        run.mkdir(parents=True, exist_ok=True)
        write_config(config, run / "config.yaml")
        began = time.monotonic()
        command = [sys.executable, str(HERE / "plain_training.py"), str(run / "config.yaml"), str(run)]
        subprocess.run(command, check=True, env=plain_environment(threads))
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        with replaced_atomically(timed) as temporary:
            temporary.write_text(json.dumps({**result, "seconds": time.monotonic() - began}), encoding="utf-8")
    kept: dict[str, Any] = json.loads(timed.read_text(encoding="utf-8"))
    return kept


def plain_environment(threads: int | None) -> dict[str, str]:
    """Without what bounds threads here, so that torch has its default, or with a bound of this number."""
    bounds = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    unbounded = {name: value for name, value in os.environ.items() if name not in bounds}
    return unbounded if threads is None else {**unbounded, "OMP_NUM_THREADS": str(threads)}


def run_product(folder: Path, space: SearchSpace, unseen: Split) -> Outcome:
    """`hrm-sweep run`, timed from outside; from the folder where it is there."""
    timed = folder / "timed.json"
    if not timed.is_file():
        folder.mkdir(parents=True)  # where half of a sweep lies nothing can be timed: name another folder
        content = space.model_dump(mode="json", exclude_none=True)
        (folder / "benchmark.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        began_at, began = time.time(), time.monotonic()
        with (folder / "summary.json").open("w", encoding="utf-8") as output:
            subprocess.run(hrm_sweep("run", "benchmark.yaml", "--json"), cwd=folder, stdout=output, check=True)
        took = {"began_at": began_at, "seconds": time.monotonic() - began}
        timed.write_text(json.dumps(took), encoding="utf-8")
    took = json.loads(timed.read_text(encoding="utf-8"))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    each, seen = [], []
    for number, point in enumerate(space.first):
        directory = RunDirectory(folder / "trials" / "benchmark" / f"{number:04d}")
        status = read_status(directory.status)
        assert status is not None
        rows = [row for row in read_metrics(directory.metrics) if row.kind == "eval"]
        starts_at = status.started_at - took["began_at"]
        scores = [(starts_at + row.time_s, row.get("exact_accuracy") or 0.0) for row in rows]
        seen += scores
        each.append(
            {
                "point": point,
                "starts_at_s": starts_at,
                "seconds": (status.ended_at or status.updated_at) - status.started_at,
                "state": str(status.state),
                "steps": status.step,
                "best": max((score for _, score in scores), default=0.0),
            }
        )
        print(
            f"product {number:>3}: {each[-1]['seconds']:7.1f} s, {status.state}, best {each[-1]['best']:.3f}",
            flush=True,
        )
    moments = [Moment(0.0, 0.0)]
    for seconds, score in sorted(seen):
        if score > moments[-1].score:
            moments.append(Moment(seconds, score))
    best = summary["best"]["trial"]
    directory = RunDirectory(folder / "trials" / "benchmark" / f"{best:04d}")
    solved = solved_unseen(load_config(directory.config), directory.best_checkpoint, unseen)
    return Outcome(took["seconds"], dict(space.first[best]), solved, unseen.n_examples, tuple(moments), tuple(each))


def deciding(space: SearchSpace, puzzles: int) -> list[int]:
    """Which test puzzles the product decides by."""
    config = space.config(space.first[0])
    split = open_folder(Path(str(config.data_path))).test
    return [int(index) for index in subset_indices("selection", split.n_examples, puzzles)]


def solved_unseen(config: RunConfig, checkpoint: Path, unseen: Split) -> int:
    """How many of the puzzles that nobody has seen a model solves, by the product's evaluation."""
    import numpy as np

    from hrm_sweep.evaluation.accuracy import data_shape, evaluate
    from hrm_sweep.evaluation.device import Device
    from hrm_sweep.model.checkpoint import apply_weights, load_weights
    from hrm_sweep.model.hrm import HRM

    device = Device.choose(config)
    model = HRM(config.arch, data_shape(unseen), device.dtype)
    apply_weights(model, load_weights(checkpoint), str(checkpoint))
    everything = np.arange(unseen.n_examples)
    result = evaluate(model.to(device.torch_device), unseen, everything, config.arch.loss.loss_type, device)
    return round((result.exact_accuracy or 0.0) * result.count)


def reached(moments: Sequence[Moment], score: float, puzzles: int) -> tuple[float | None, float | None]:
    """When a sweep first had this score, and when it first had one whose 95 % interval reaches up to it."""
    exactly = next((moment.seconds for moment in moments if moment.score >= score), None)
    within = next((moment.seconds for moment in moments if wilson(moment.score * puzzles, puzzles)[1] >= score), None)
    return exactly, within


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds:.1f} s"


def spelled(point: dict[str, Any]) -> str:
    return " ".join(f"{key.removeprefix('arch.')}={value:g}" for key, value in point.items())


def report(loop: Outcome, product: Outcome, puzzles: int) -> dict[str, Any]:
    """Print what both cost and found; the same as numbers."""
    print(f"\n{'':8} {'wall clock':>10}  {'best on unseen puzzles':<34} configuration")
    for name, outcome in (("loop", loop), ("product", product)):
        low, high = wilson(outcome.unseen, outcome.unseen_puzzles)
        found = f"{outcome.share:.1%} of {outcome.unseen_puzzles} ({low:.1%} to {high:.1%})"
        print(f"{name:8} {outcome.seconds:8.1f} s  {found:<34} {spelled(outcome.best)}")
    score = loop.moments[-1].score
    exactly, within = reached(product.moments, score, puzzles)
    print(f"\nloop / product: {loop.seconds / product.seconds:.2f}")
    last = loop.moments[-1].seconds
    print(f"the loop ends with {score:.3f} on the {puzzles} puzzles that decide, which it has after {last:.1f} s")
    print(f"the product has that {_after(exactly)}, and a score within its noise {_after(within)}")
    steps = sum(one["steps"] for one in product.each) / sum(one["steps"] for one in loop.each)
    print(f"optimizer steps of the product: {steps:.0%} of the loop's")
    return {
        "ratio": loop.seconds / product.seconds,
        "puzzles": puzzles,
        "loop_score": score,
        "product_reached_s": exactly,
        "product_within_noise_s": within,
        "loop": dataclasses.asdict(loop),
        "product": dataclasses.asdict(product),
    }


@contextlib.contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changed in every configuration")
    parser.add_argument("--configurations", type=int, default=24, help="how many of the list (default 24)")
    parser.add_argument("--unseen", type=int, default=2000, help="how many unseen puzzles judge (default 2000)")
    parser.add_argument("--folder", type=Path, default=None, help="where everything stays (default: nowhere)")
    parser.add_argument("--threads", type=int, default=None, help="of each run of the loop (default: torch's choice)")
    parser.add_argument("--order", type=int, default=None, metavar="SEED", help="shuffle the list for the product")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the numbers here too")
    options = parser.parse_args()
    with working_folder(options.folder) as folder:
        data = build_data(folder, "data", "--subsample-size", "1000", "--test-size", "400")
        number = ("--test-size", str(options.unseen), "--seed", str(UNSEEN_SEED))
        unseen = open_folder(build_data(folder, "unseen", "--subsample-size", "1", *number)).test
        space = sweep_space(data, options.configurations, parse_overrides(options.changes))
        wanted = lint_space(space, "benchmark").combinations[0].config.eval_puzzles
        puzzles = len(deciding(space, wanted))
        shuffled = sweep_space(data, options.configurations, parse_overrides(options.changes), options.order)
        name = "product" if options.order is None else f"product-{options.order}"
        product = run_product(folder / name, shuffled, unseen)
        loop = run_loop(folder / "loop", space, puzzles, unseen, options.threads)
        numbers = report(loop, product, puzzles)
    if options.json is not None:
        options.json.write_text(json.dumps(numbers, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
