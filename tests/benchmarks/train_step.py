"""Speed of a train step, beside a plain reading of the specification and beside this machine's matrix multiplication.

    python tests/benchmarks/train_step.py [--seconds 10] [--sizes 4x4-d64,9x9-d512] [--threads 2] [--json FILE]

For each size, steps of the product (Learner.backward and Learner.update) and of plain_hrm.py take turns in one process,
so that whatever else the machine does falls on both; times are medians. The share is the multiplications that the
architecture asks for (`hrm_sweep.planning.cost.train_flops`) over the time, as a fraction of the rate at which this
machine multiplies float32 matrices of 2048 x 2048, measured in the same run. CPU, float32.
`make bench` sets GOMP_SPINCOUNT as hrm-sweep does: threads that spin mean little on a machine that does something else.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from plain_hrm import PlainHRM

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.model.hrm import HRM, DataShape, Rows
from hrm_sweep.planning.cost import train_flops
from hrm_sweep.training.learner import Learner

MATRIX = 2048
BATCHES = 8
WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Size:
    """A model on a board: `cells` per puzzle, `digits` + 2 tokens."""

    name: str
    preset: str
    batch: int
    cells: int
    digits: int
    overrides: tuple[tuple[str, int], ...] = ()

    @property
    def config(self) -> RunConfig:
        fixed = {"global_batch_size": self.batch, "arch.forward_dtype": "float32"}
        return load_config(self.preset, {**fixed, **dict(self.overrides)})


WIDER = (("arch.hidden_size", 128), ("arch.num_heads", 4), ("arch.H_layers", 2), ("arch.L_layers", 2))
SIZES = {
    size.name: size
    for size in (
        Size("4x4-d64", "hrm_v1_tiny", batch=64, cells=16, digits=4),
        Size("4x4-d128", "hrm_v1_tiny", batch=64, cells=16, digits=4, overrides=WIDER),
        Size("9x9-d128", "hrm_v1_tiny", batch=64, cells=81, digits=9, overrides=WIDER),
        Size("9x9-d512", "hrm_v1", batch=16, cells=81, digits=9),
    )
}


@dataclass(frozen=True)
class Speed:
    """Median time of a step, its inverse, and the share of the machine's rate that its arithmetic comes to."""

    ms: float
    steps_per_s: float
    share: float
    steps: int


@dataclass(frozen=True)
class Comparison:
    size: str
    gflop_per_step: float
    product: Speed
    plain: Speed
    ratio: float  # steps/s of the product over steps/s of the plain reading


def matrix_rate(seconds: float) -> float:
    """Floating-point operations a second of a float32 matrix product, the median of repeated products."""
    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    out = a @ b
    times = take_turns([lambda: torch.mm(a, b, out=out)], seconds)[0]
    return 2 * MATRIX**3 / statistics.median(times)


def take_turns(actions: list[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Run the actions one after another, again and again, for at least `seconds` and three rounds; times of each."""
    times: list[list[float]] = [[] for _ in actions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 3:
        for action, taken in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            taken.append(time.perf_counter() - start)
    return times


def random_batches(size: Size) -> list[Rows]:
    generator = torch.Generator().manual_seed(0)
    shape = (size.batch, size.cells)
    batches = []
    for _ in range(BATCHES):
        labels = torch.randint(2, size.digits + 2, shape, generator=generator, dtype=torch.int32)
        given = torch.rand(shape, generator=generator) < 0.5
        identifiers = torch.zeros(size.batch, dtype=torch.int32)
        batches.append(Rows(torch.where(given, labels, 1), labels, identifiers))
    return batches


def product_step(size: Size, model: HRM) -> Callable[[], object]:
    learner = Learner(model, size.config, scheduled_steps=10**6, seed=0)
    batches = random_batches(size)

    def step() -> None:
        learner.backward(batches[learner.steps % BATCHES])
        learner.update()

    return step


def plain_step(size: Size, model: HRM) -> Callable[[], object]:
    config, shape = size.config, model.shape
    plain = PlainHRM(config, shape.vocab_size, shape.seq_len, shape.num_puzzle_identifiers)
    plain.load_state_dict(model.state_dict())
    batches = [
        tuple(part.long() for part in (rows.inputs, rows.labels, rows.puzzle_identifiers))
        for rows in random_batches(size)
    ]
    return lambda: plain.train_step(batches[plain.t % BATCHES], config.lr, config.puzzle_emb_lr)


def compare(size: Size, rate: float, seconds: float) -> Comparison:
    torch.manual_seed(0)
    model = HRM(size.config.arch, DataShape(size.digits + 2, size.cells, 1))
    steps = [plain_step(size, model), product_step(size, model)]
    for _ in range(WARM_UP_STEPS):
        for step in steps:
            step()
    flops = train_flops(size.config, size.cells, steps=1)
    plain, product = (speed(times, flops, rate) for times in take_turns(steps, seconds))
    return Comparison(size.name, flops / 1e9, product, plain, product.steps_per_s / plain.steps_per_s)


def speed(times: list[float], flops: float, rate: float) -> Speed:
    median = statistics.median(times)
    return Speed(1e3 * median, 1 / median, flops / median / rate, len(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each size (default 10)")
    parser.add_argument("--sizes", default=",".join(SIZES), help=f"some of {', '.join(SIZES)}")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch (default: its own choice)")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the numbers here too")
    options = parser.parse_args()
    names = options.sizes.split(",")
    if unknown := [name for name in names if name not in SIZES]:
        parser.error(f"--sizes: {unknown[0]!r} is none of {', '.join(SIZES)}")
    if options.threads is not None:
        torch.set_num_threads(options.threads)

    rate = matrix_rate(min(options.seconds, 3.0))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    print(f"float32 matrix product {MATRIX} x {MATRIX}: {rate / 1e9:.1f} GFLOP/s\n")
    print(f"{'size':<10} {'GFLOP':>8} | {'product ms':>10} {'steps/s':>8} {'share':>6} | ", end="")
    print(f"{'plain ms':>10} {'steps/s':>8} {'share':>6} | {'ratio':>5}")
    results = []
    for name in names:
        result = compare(SIZES[name], rate, options.seconds)
        results.append(result)
        columns = [f"{one.ms:10.1f} {one.steps_per_s:8.2f} {one.share:6.1%}" for one in (result.product, result.plain)]
        print(
            f"{name:<10} {result.gflop_per_step:8.2f} | {columns[0]} | {columns[1]} | {result.ratio:5.2f}", flush=True
        )
    if options.json is not None:
        machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "matrix_gflops": rate / 1e9}
        options.json.write_text(json.dumps({**machine, "sizes": [asdict(result) for result in results]}, indent=1))


if __name__ == "__main__":
    main()
