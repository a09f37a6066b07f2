"""Trains and records the runs of the fault benchmark: some 180 small runs, an hour on two cores.

    python tests/benchmarks/record_fault_runs.py [--jobs 2] [--only TEXT] [--work DIR]

A run that is recorded is not trained again: delete its file under tests/fixtures/fault_runs first.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fault_runs import Spec, all_specs, record

RECORDINGS = Path(__file__).parent.parent / "fixtures" / "fault_runs"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="record only runs whose name contains this")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fault-runs")
    options = parser.parse_args()
    todo = [spec for spec in all_specs() if options.only in spec.name and not recording_of(spec).is_file()]
    (options.work / "data").mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "fault_runs"])

    def one(spec: Spec) -> bool:
        began = time.monotonic()
        process = context.Process(target=record, args=(spec, options.work, recording_of(spec)))
        process.start()
        process.join()
        print(f"{spec.name}: {'recorded' if process.exitcode == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s")
        sys.stdout.flush()
        return process.exitcode == 0

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(one, todo))
    print(f"{sum(results)} of {len(results)} recorded")
    return 0 if all(results) else 1


def recording_of(spec: Spec) -> Path:
    return RECORDINGS / f"{spec.name}.json.gz"


if __name__ == "__main__":
    sys.exit(main())
