"""What ACT steps and cycles cost on this machine: milliseconds of a train step, and of an evaluation.

    python tests/benchmarks/act_steps_and_cycles.py [--repeat 3] [PRESET] [key=value ...]

Prints the table of docs/planning.md beside the multiples that `hrm-sweep plan` reckons with; the best of `--repeat`
measurements, because other programs only ever make it slower. One thread; takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile

from hrm_sweep.config import RunConfig, load_config, parse_overrides
from hrm_sweep.planning.calibration import Setting, Shape, measured_speed
from hrm_sweep.planning.puzzle_facts import PuzzleFacts
from hrm_sweep.planning.run_plan import plan_run

BASE = (8, 2, 2)
VARIATIONS = [(2, 2, 2), (4, 2, 2), BASE, (16, 2, 2), (8, 1, 1), (8, 2, 1), (8, 1, 2), (8, 3, 3), (8, 2, 4)]


def varied(config: RunConfig, steps: int, H: int, L: int) -> RunConfig:
    arch = config.arch.model_copy(update={"halt_max_steps": steps, "H_cycles": H, "L_cycles": L})
    return config.model_copy(update={"arch": arch})


def main() -> None:
    parser = argparse.ArgumentParser(description="What ACT steps and cycles cost on this machine.")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("preset", nargs="?", default="hrm_v1_tiny")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    words = [arguments.preset, *arguments.overrides]
    preset = words.pop(0) if "=" not in words[0] else "hrm_v1_tiny"
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as the command line sets it
    config = load_config(preset, parse_overrides(words))
    puzzles = PuzzleFacts.of(config)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HRM_SWEEP_CACHE"] = folder
        for variation in VARIATIONS:
            one = varied(config, *variation)
            shape = Shape(one, puzzles.train, Setting(1, 1))
            speeds = [measured_speed(shape, [one]) for _ in range(arguments.repeat)]
            plan = plan_run(one, puzzles)
            step = min(speed.measured[0].step_s / speed.measured[0].point.batch for speed in speeds)
            evaluation = min(speed.evaluation_s(one, puzzles.train.seq_len, plan.evaluated) for speed in speeds)
            rows.append((variation, plan, 1000 * step * one.global_batch_size, 1000 * evaluation))
    _, base, base_step, base_evaluation = next(row for row in rows if row[0] == BASE)
    print("| ACT steps | cycles | a train step | measured | reckoned | an evaluation | measured | reckoned |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for (steps, H, L), plan, step, evaluation in rows:
        train, tested = plan.train_flops / base.train_flops, plan.evaluation_flops / base.evaluation_flops
        print(
            f"| {steps} | {H} x {L} | {step:.1f} ms | {step / base_step:.2f}x | {train:.2f}x "
            f"| {evaluation:.0f} ms | {evaluation / base_evaluation:.2f}x | {tested:.2f}x |"
        )


if __name__ == "__main__":
    main()
