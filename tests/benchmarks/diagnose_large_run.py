"""What `hrm-sweep diagnose` costs on a long run: seconds and memory of the process, milliseconds of the rules alone.

    python tests/benchmarks/diagnose_large_run.py [--rows 50000] [--repeat 5] [--json FILE]

The run is the recorded one of tests/fixtures/runs/healthy, stretched: every row has all groups and a histogram of ACT
steps, and every hundredth is followed by an evaluation. Without checkpoints, so without torch. The best of `--repeat`
counts, because whatever else the machine does only adds. For the same reason seconds of CPU stand beside those of the
clock, and the rules, which use one thread and wait for nothing, are measured by their CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from hrm_sweep.diagnosis import Evidence, diagnose, gather_evidence

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
RECORDED = FIXTURES / "runs" / "healthy"
DATA = FIXTURES / "sudoku-4x4"
ROWS_PER_EVALUATION = 100


@dataclass(frozen=True)
class Cost:
    """Of one run. The process is all of `hrm-sweep diagnose RUN_DIR`; `rules_ms` is for evidence that was read."""

    rows: int
    file_mib: float
    wall_s: float
    cpu_s: float
    peak_mib: float
    rules_ms: float


def write_long_run(path: Path, rows: int) -> Path:
    """A run directory with `rows` train rows."""
    shutil.copytree(RECORDED, path)
    recorded = [json.loads(line) for line in (RECORDED / "metrics.jsonl").read_text().splitlines()]
    train, evaluations = ([row for row in recorded if row["kind"] == kind] for kind in ("train", "eval"))
    with (path / "metrics.jsonl").open("w") as handle:
        for n in range(1, rows + 1):
            at = {"step": 10 * n, "time_s": 0.5 * n}
            handle.write(json.dumps(train[(n - 1) * len(train) // rows] | at) + "\n")
            if n % ROWS_PER_EVALUATION == 0:
                handle.write(json.dumps(evaluations[(n - 1) * len(evaluations) // rows] | at) + "\n")
    return path


def cost_of(run: Path, rows: int, repeat: int) -> Cost:
    processes = [_process(run) for _ in range(repeat)]
    evidence = gather_evidence(run, data=DATA)
    return Cost(
        rows=rows,
        file_mib=(run / "metrics.jsonl").stat().st_size / 2**20,
        wall_s=min(wall for wall, _, _ in processes),
        cpu_s=min(cpu for _, cpu, _ in processes),
        peak_mib=max(peak for _, _, peak in processes),
        rules_ms=1000 * min(_seconds_of_rules(evidence) for _ in range(repeat)),
    )


def _process(run: Path) -> tuple[float, float, float]:
    """(seconds, seconds of CPU, peak MiB) of one process."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "hrm_sweep", "diagnose", str(run), "--data", str(DATA)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"`{' '.join(command)}` ended with {process.returncode}, expected a healthy run")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def _seconds_of_rules(evidence: Evidence) -> float:
    begin = time.process_time()
    diagnose(evidence)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        lengths = (94, arguments.rows)  # the recorded run, and a long one
        costs = [cost_of(write_long_run(Path(name) / str(rows), rows), rows, arguments.repeat) for rows in lengths]
    print(f"{'train rows':>10}  {'file':>9}  {'process':>9}  {'its CPU':>9}  {'its peak':>9}  {'rules alone':>11}")
    for cost in costs:
        print(
            f"{cost.rows:>10,}  {cost.file_mib:>5.1f} MiB  {cost.wall_s:>7.2f} s  {cost.cpu_s:>7.2f} s  "
            f"{cost.peak_mib:>5.0f} MiB  {cost.rules_ms:>8.1f} ms"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1))


if __name__ == "__main__":
    main()
