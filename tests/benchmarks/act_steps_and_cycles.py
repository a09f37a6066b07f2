"""What ACT steps and cycles cost on this machine: milliseconds of a train step, and of an evaluation.

    python tests/benchmarks/act_steps_and_cycles.py [--rounds 12] [PRESET] [key=value ...]

Prints the table of docs/planning.md beside the multiples that `hrm-sweep plan` reckons with. One thread; the variations
take turns, the clock is that of the processor, and the least of all rounds counts: other programs only ever make
it slower. Takes about a minute.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from hrm_sweep.config import RunConfig, load_config, parse_overrides
from hrm_sweep.model.hrm import HRM, DataShape, Rows
from hrm_sweep.planning.puzzle_facts import PuzzleFacts
from hrm_sweep.planning.run_plan import RunPlan, plan_run
from hrm_sweep.training.learner import Learner

BASE = (8, 2, 2)
VARIATIONS = [(1, 2, 2), (2, 2, 2), (4, 2, 2), BASE, (16, 2, 2), (8, 1, 1), (8, 1, 2), (8, 2, 1), (8, 2, 4), (8, 3, 3)]
EVALUATIONS = 3  # an evaluation is many calls, so that few of them tell


@dataclass
class Contestant:
    """One variation: what it is reckoned to cost, and how to let it do a step or an evaluation."""

    plan: RunPlan
    step: Callable[[], object]
    evaluate: Callable[[], object]
    step_s: float = float("inf")
    evaluation_s: float = float("inf")


def contestant(config: RunConfig, variation: tuple[int, int, int]) -> Contestant:
    steps, H, L = variation
    arch = config.arch.model_copy(update={"halt_max_steps": steps, "H_cycles": H, "L_cycles": L})
    config = config.model_copy(update={"arch": arch})
    puzzles = PuzzleFacts.of(config)
    plan = plan_run(config, puzzles)
    model = HRM(arch, DataShape(puzzles.train.vocab_size, puzzles.train.seq_len, 1))
    learner = Learner(model, config, scheduled_steps=10**6, seed=0)
    batch, tested = (made_up(plan, rows) for rows in (config.global_batch_size, plan.evaluated))

    def step() -> None:
        learner.backward(batch)
        learner.update()

    return Contestant(plan, step, lambda: model.solve(tested))


def made_up(plan: RunPlan, rows: int) -> Rows:
    facts = plan.puzzles.train
    tokens = np.random.default_rng(0).integers(1, facts.vocab_size, (rows, facts.seq_len), dtype=np.int32)
    cells = torch.from_numpy(tokens)
    return Rows(cells, cells.clone(), torch.zeros(rows, dtype=torch.int32))


def seconds_of(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="What ACT steps and cycles cost on this machine.")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("words", nargs="*", metavar="[PRESET] [key=value ...]")
    arguments = parser.parse_args()
    words = list(arguments.words)
    preset = words.pop(0) if words and "=" not in words[0] else "hrm_v1_tiny"
    torch.set_num_threads(1)
    config = load_config(preset, parse_overrides(words))
    contestants = {variation: contestant(config, variation) for variation in VARIATIONS}
    for number in range(arguments.rounds + 1):
        for one in contestants.values():
            took = seconds_of(one.step)
            if number:  # the first warms up
                one.step_s = min(one.step_s, took)
            if number < EVALUATIONS:
                one.evaluation_s = min(one.evaluation_s, seconds_of(one.evaluate))
    base = contestants[BASE]
    print("| ACT steps | cycles | a train step | measured | reckoned | an evaluation | measured | reckoned |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for (steps, H, L), one in contestants.items():
        train = one.plan.train_flops / base.plan.train_flops
        tested = one.plan.evaluation_flops / base.plan.evaluation_flops
        print(
            f"| {steps} | {H} x {L} | {1000 * one.step_s:.1f} ms | {one.step_s / base.step_s:.2f}x | {train:.2f}x "
            f"| {1000 * one.evaluation_s:.0f} ms | {one.evaluation_s / base.evaluation_s:.2f}x | {tested:.2f}x |"
        )


if __name__ == "__main__":
    main()
