"""What `report` and `best` cost on a large study.

    python tests/benchmarks/report_scale.py [--trials 5000] [--repeat 3] [--json FILE]

The study is written into the database in bulk, each trial with its ten evaluations; every run directory has an
environment.json, which the report reads. Each command is a process of its own. The best of `--repeat` counts, because
whatever else the machine does only adds; seconds of CPU stand beside those of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

from bulk_studies import fill
from small_studies import STORAGE, small_space

from hrm_sweep.runs import describe_environment, write_environment
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import create_or_continue

PARAMETERS = {
    "lr": {"min": 1e-4, "max": 1e-2, "log": True},
    "arch.H_cycles": {"min": 1, "max": 3},
    "arch.L_cycles": {"min": 1, "max": 3},
    "global_batch_size": {"values": [32, 64, 128]},
    "weight_decay": {"min": 0.1, "max": 1.0},
}
COMMANDS = {
    "report": ("report", "large"),
    "report, four files": (
        *("report", "large", "--html", "r.html", "--md", "r.md", "--csv", "r.csv", "--json", "r.json"),
    ),
    "best": ("best", "large"),
    "best --command": ("best", "large", "--command"),
}


@dataclass(frozen=True)
class Cost:
    command: str
    wall_s: float
    cpu_s: float


def make_study(trials: int) -> None:
    """In the current folder."""
    quiet_optuna()
    space = small_space(name="large", parameters=PARAMETERS, budget={"trials": trials})
    study = create_or_continue(STORAGE, "large", space)
    fill(study, trials)
    environment = describe_environment(
        device="cpu", device_name="a processor", dtype="float32", attention_backend="none", threads=1
    )
    for number in range(trials):
        directory = study.run_directory(number)
        directory.path.mkdir(parents=True)
        write_environment(directory.environment, environment)


def costs(repeat: int) -> Iterator[Cost]:
    for name, arguments in COMMANDS.items():
        measured = [_process(arguments) for _ in range(repeat)]
        yield Cost(name, min(wall for wall, _ in measured), min(cpu for _, cpu in measured))


def _process(arguments: tuple[str, ...]) -> tuple[float, float]:
    """Seconds by the clock and of CPU."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = None if given.json is None else given.json.absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_study(given.trials)
        found = list(costs(given.repeat))
        os.chdir("/")
    print(f"{given.trials:,} trials\n\n| command | seconds | of CPU |\n|---|---|---|")
    for cost in found:
        print(f"| `{cost.command}` | {cost.wall_s:.2f} | {cost.cpu_s:.2f} |")
    if figures is not None:
        figures.write_text(json.dumps([asdict(cost) for cost in found]))


if __name__ == "__main__":
    main()
