"""Planned memory beside the peak of a process that trains, and evaluates, a few steps.

    python tests/benchmarks/plan_memory.py

A CPU, one thread, 9x9 sudoku, 128 hidden units, 2 + 2 layers, batches of 1, 16 and 48. The peak is that of the process
beyond what it took with torch loaded. The smallest batch shows what comes on top whatever the model: code that is
loaded at the first step. Takes half a minute.
"""

from __future__ import annotations

import torch

from hrm_sweep.config import load_config
from hrm_sweep.data import SplitMetadata
from hrm_sweep.evaluation.device import Device
from hrm_sweep.planning.memory import Memory
from hrm_sweep.training.calibrate import measure

FACTS = SplitMetadata(0, 0, 0, 11, 81, 1, 1000, 1, ("all",))
ARCH = {"hidden_size": 128, "num_heads": 4, "H_layers": 2, "L_layers": 2, "H_cycles": 1, "L_cycles": 1}
MIB = 2**20


def main() -> None:
    torch.set_num_threads(1)
    arch = {f"arch.{name}": value for name, value in ARCH.items()}
    config = load_config("hrm_v1_tiny", {**arch, "arch.halt_max_steps": 2, "eval_puzzles": 8, "data": None})
    with_torch = Device.choose(config).peak_bytes()
    assert with_torch is not None, "this system does not tell the peak of a process"
    print(f"with torch loaded: {with_torch / MIB:.0f} MiB")
    for batch in (1, 16, 48):
        one = config.model_copy(update={"global_batch_size": batch})
        planned = Memory.of(one, FACTS, halves=False).total
        peak = measure(one, FACTS, 0.0, with_torch)["peak_bytes"]
        print(f"batch {batch:>2}: planned {planned / MIB:.0f} MiB, measured {peak / MIB:.0f} MiB more")


if __name__ == "__main__":
    main()
