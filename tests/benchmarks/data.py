"""Times of building and reading data, beside what is promised. Run: python tests/benchmarks/data.py

Prints one line each: what, promise, seconds (or microseconds), peak memory of the process that did it. Each is measured
in a process of its own with one thread, once; nothing here fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CSV_ROWS = 1_000_000


def generated(size: int, **choices: int) -> str:
    from hrm_sweep.config import DataConfig
    from hrm_sweep.data import build_folder

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        build_folder(DataConfig.model_validate({"size": size, **choices}), Path(folder) / "built")
        return f"{time.perf_counter() - started:.1f} s"


def rated() -> str:
    from hrm_sweep.data.generator import generate
    from hrm_sweep.data.solver import rate

    puzzles = generate(9, 1000, seed=0, min_blanks=52, max_blanks=64)
    started = time.perf_counter()
    rate(9, puzzles.questions)
    return f"{time.perf_counter() - started:.1f} s"


def _some_puzzles(folder: Path, rows: int) -> Path:
    """A CSV file of `rows` rows: a thousand generated puzzles over and over."""
    from hrm_sweep.data.generator import generate

    puzzles = generate(9, 1000, seed=0, min_blanks=40, max_blanks=56)
    lines = [
        f"benchmark,{''.join(map(str, question)).replace('0', '.')},{''.join(map(str, answer))},{number}\n"
        for number, (question, answer) in enumerate(zip(puzzles.questions, puzzles.answers, strict=True))
    ]
    path = folder / f"{rows}.csv"
    with path.open("w") as file:
        file.write("source,question,answer,rating\n")
        for _ in range(rows // 1000):
            file.writelines(lines)
    return path


def augmented() -> str:
    from hrm_sweep.config import DataConfig
    from hrm_sweep.data import build_folder

    with tempfile.TemporaryDirectory() as name:
        path = str(_some_puzzles(Path(name), 1000))
        request = DataConfig(source="csv", csv=(path, path), num_aug=1000)
        started = time.perf_counter()
        build_folder(request, Path(name) / "built")
        return f"{time.perf_counter() - started:.1f} s"


def csv_read(subsample: int | None) -> str:
    from hrm_sweep.config import DataConfig
    from hrm_sweep.data.sources.csv_files import from_csv_files

    with tempfile.TemporaryDirectory() as name:
        many, few = (str(_some_puzzles(Path(name), rows)) for rows in (CSV_ROWS, 1000))
        started = time.perf_counter()
        from_csv_files(DataConfig(source="csv", csv=(many, few), subsample_size=subsample))
        return f"{time.perf_counter() - started:.1f} s"


def batches(of_one_example: bool) -> str:
    """Microseconds a batch of 64, less what indexing and converting the same rows costs."""
    import numpy as np

    from hrm_sweep.config import DataConfig
    from hrm_sweep.data import build_folder, open_folder, train_iteration

    with tempfile.TemporaryDirectory() as name:
        build_folder(DataConfig(size=9, num_aug=20), Path(name) / "built")
        if not of_one_example:
            for field in ("puzzle_indices", "group_indices", "puzzle_identifiers"):
                path = Path(name) / "built" / "train" / f"all__{field}.npy"
                indices = {"puzzle_indices": 21, "group_indices": 1, "puzzle_identifiers": 0}[field]
                np.save(path, np.arange(1001 if indices else 1000, dtype=np.int32) * indices)
        split = open_folder(Path(name) / "built").train
        started = time.perf_counter()
        count = sum(1 for _ in train_iteration(split, seed=0, iteration=1, global_batch_size=64, epochs_per_iter=200))
        whole = time.perf_counter() - started
        inputs, labels = split.sets[0].inputs, split.sets[0].labels
        rows = np.random.default_rng(0).integers(0, len(inputs), (count, 64))
        started = time.perf_counter()
        for chosen in rows:
            inputs[chosen].astype(np.int32)
            taken = labels[chosen].astype(np.int32)
            taken[taken == 0] = -100
        indexing = time.perf_counter() - started
        return f"{(whole - indexing) / count * 1e6:.0f} us (indexing alone {indexing / count * 1e6:.0f} us)"


MEASUREMENTS: dict[str, tuple[str, Callable[[], str]]] = {
    "generate 1000 + 200 puzzles, 4x4": ("seconds", lambda: generated(4)),
    "generate 1000 + 200 puzzles, 6x6": ("-", lambda: generated(6)),
    "generate 1000 + 200 puzzles, 9x9": ("2 minutes", lambda: generated(9)),
    "the same, each of rating 1 or more": ("2 minutes", lambda: generated(9, min_difficulty=1)),
    "the same, each of rating 10 or more": ("-", lambda: generated(9, min_difficulty=10)),
    "rate 1000 puzzles, 9x9": ("-", rated),
    "1000 puzzles x 1000 copies, to a folder": ("15 s on 2 cores, 1 GiB", augmented),
    "read 1,000,000 CSV rows, keep 1000": ("-", lambda: csv_read(1000)),
    "read 1,000,000 CSV rows, keep all": ("-", lambda: csv_read(None)),
    "a batch of 64, beyond indexing": ("50 us", lambda: batches(True)),
    "the same, puzzles of 21 examples": ("-", lambda: batches(False)),
}


def main() -> None:
    if len(sys.argv) == 2:
        import resource

        answer = MEASUREMENTS[sys.argv[1]][1]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
        print(f"{answer}, {peak:.0f} MiB")
        return
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    for what, (promise, _) in MEASUREMENTS.items():
        done = subprocess.run(
            [sys.executable, __file__, what], capture_output=True, text=True, check=True, env=one_thread
        )
        print(f"| {what} | {promise} | {done.stdout.strip()} |", flush=True)


if __name__ == "__main__":
    main()
