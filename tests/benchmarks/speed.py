"""How close train steps and evaluations come to what this machine can do, beside a plain reading of the specification.

    python tests/benchmarks/speed.py [--seconds 10] [--rows 4x4-d64,eval-4x4-d64] [--threads 1] [--markdown]

Three processes take turns at every row: one multiplies matrices of 2048 x 2048, one runs plain_hrm.py, one the product,
each as it would run alone; whatever else the machine does falls on all three. Times are medians over turns, a turn
being the fastest of a few steps. The share is the arithmetic that the architecture asks for (`hrm_sweep.planning.cost`)
over the time, as a fraction of the rate of the matrix product in the same turns. CPU, float32. Then a short run of
hrm_v1_tiny, profiled by part (profiled_run.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any

MATRIX = 2048
TURN_SECONDS = 0.4
ROLES = ("product", "plain", "matrix")


@dataclass(frozen=True)
class Speed:
    """Median time of one execution, its inverse, and the share of the machine's rate that its arithmetic comes to."""

    ms: float
    per_s: float
    share: float
    turns: int


@dataclass(frozen=True)
class Result:
    """A row. `ratio` is the median over turns of the plain reading's time over the product's."""

    row: str
    title: str
    gflop: float
    matrix_gflops: float
    product: Speed
    plain: Speed
    ratio: float


class Player:
    """A process that runs one thing when it is its turn."""

    def __init__(self, role: str, row: str, threads: int | None) -> None:
        command = [sys.executable, __file__, "--role", role, "--rows", row]
        command += [] if threads is None else ["--threads", str(threads)]
        environment = {"GOMP_SPINCOUNT": "3000", **os.environ}  # as hrm-sweep sets it
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._hear()

    def turn(self, seconds: float) -> float:
        """The fastest of the executions of `seconds`, of one at least, in seconds."""
        assert self.process.stdin is not None
        print(seconds, file=self.process.stdin, flush=True)
        return float(self._hear())

    def _hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process of the benchmark ended with exit code {self.process.wait()}")
        return line

    def __enter__(self) -> Player:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def play(action: Callable[[], object]) -> None:
    """The life of a player: warm up, then read how long a turn is and print its fastest time."""
    action()
    action()
    print("ready", flush=True)
    for line in sys.stdin:
        end = time.perf_counter() + float(line)
        times: list[float] = []
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            action()
            times.append(time.perf_counter() - start)
        print(min(times), flush=True)


def matrix_product() -> Callable[[], object]:
    import torch

    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    out = a @ b
    return lambda: torch.mm(a, b, out=out)


def compare(row: str, seconds: float, threads: int | None) -> Result:
    """Turns of all three for at least `seconds`, and three rounds."""
    from workloads import WORKLOADS

    times: dict[str, list[float]] = {role: [] for role in ROLES}
    with (
        Player("product", row, threads) as product,
        Player("plain", row, threads) as plain,
        Player("matrix", row, threads) as matrix,
    ):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times["matrix"]) < 3:
            for role, player in zip(ROLES, (product, plain, matrix), strict=True):
                times[role].append(player.turn(min(seconds, TURN_SECONDS)))
    rate = 2 * MATRIX**3 / statistics.median(times["matrix"])
    flops = WORKLOADS[row].flops
    speeds = {role: _speed(times[role], flops, rate) for role in ("product", "plain")}
    ratio = statistics.median(b / a for a, b in zip(times["product"], times["plain"], strict=True))
    return Result(row, WORKLOADS[row].title, flops / 1e9, rate / 1e9, speeds["product"], speeds["plain"], ratio)


def _speed(times: Sequence[float], flops: float, rate: float) -> Speed:
    median = statistics.median(times)
    return Speed(1e3 * median, 1 / median, flops / median / rate, len(times))


def machine(threads: int | None) -> dict[str, Any]:
    import torch

    from hrm_sweep.evaluation.device import Device

    cpu = Device(torch.device("cpu"), torch.float32)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {
        "date": date.today().isoformat(),
        "commit": commit.stdout.strip() or None,
        "cpu": cpu.name,
        "architecture": platform.machine(),
        "torch": torch.__version__,
        "threads": threads or cpu.threads,
    }


def table(results: Sequence[Result]) -> list[str]:
    head = "| what | product | share | plain | share | plain / product |"
    return [head, "|---|---|---|---|---|---|"] + [
        f"| {one.title} | {one.product.ms:.1f} ms | {one.product.share:.0%} | {one.plain.ms:.1f} ms "
        f"| {one.plain.share:.0%} | {one.ratio:.2f} |"
        for one in results
    ]


def main() -> None:
    from workloads import WORKLOADS

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each row (default 10)")
    parser.add_argument("--rows", default=",".join(WORKLOADS), help=f"some of {', '.join(WORKLOADS)}")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch (default: its own choice)")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the numbers here too")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/performance.md has it")
    parser.add_argument("--no-profile", action="store_true", help="leave out the profile of a run")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = options.rows.split(",")
    if unknown := [row for row in rows if row not in WORKLOADS]:
        parser.error(f"--rows: {unknown[0]!r} is none of {', '.join(WORKLOADS)}")
    if options.role is not None:
        import torch

        if options.threads is not None:
            torch.set_num_threads(options.threads)
        workload = WORKLOADS[rows[0]]
        play({"product": workload.product, "plain": workload.plain, "matrix": matrix_product}[options.role]())
        return

    facts = machine(options.threads)
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    results = []
    for row in rows:
        one = compare(row, options.seconds, options.threads)
        results.append(one)
        sides = (
            f"{name} {s.ms:9.1f} ms {s.share:6.1%}" for name, s in (("product", one.product), ("plain", one.plain))
        )
        print(
            f"{one.row:<14} {one.gflop:8.2f} GFLOP | {' | '.join(sides)} | {one.ratio:5.2f} times as fast "
            f"| product of {MATRIX} x {MATRIX}: {one.matrix_gflops:.0f} GFLOP/s",
            flush=True,
        )
    parts: dict[str, float] = {}
    if not options.no_profile:
        from profiled_run import profile

        parts = profile(options.threads)
        print("\nof the time of a run of hrm_v1_tiny:")
        print("\n".join(f"{part:<20} {share:6.1%}" for part, share in parts.items()))
    if options.markdown:
        rates = ", ".join(f"{one.matrix_gflops:.0f}" for one in results)
        print(f"\n{facts['date']}, commit {facts['commit']}, {facts['cpu']}, torch {facts['torch']}, ", end="")
        print(f"{facts['threads']} threads; the matrix product ran at {rates} GFLOP/s beside the rows.\n")
        print("\n".join(table(results)))
    if options.json is not None:
        content = {**facts, "rows": [asdict(one) for one in results], "parts": parts}
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
