"""A run of fifty thousand rows is judged within the memory that was promised, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

MEASURE = """
import resource, sys
from pathlib import Path
from hrm_sweep.diagnosis import diagnose_run
print(diagnose_run(Path(sys.argv[1]), write=False).verdict)
status = Path("/proc/self/status")
if status.exists():  # Linux counts the memory of the process that started this one into ru_maxrss, but not into VmHWM
    print(next(int(line.split()[1]) / 2**10 for line in status.open() if line.startswith("VmHWM")))
else:  # bytes on macOS
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_fifty_thousand_rows_take_less_than_300_mib(healthy: Any) -> None:
    file = healthy.path / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    train = [row for row in rows if row["kind"] == "train"]
    with file.open("w") as handle:
        for n in range(50_000):
            row = train[n * len(train) // 50_000] | {"step": 10 * (n + 1)}
            handle.write(json.dumps(row) + "\n")
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, str(healthy.path)], capture_output=True, text=True, check=True
    )
    verdict, mebibytes = answer.stdout.splitlines()
    assert verdict.startswith("Healthy")
    assert float(mebibytes) < 300
