"""What `stop_when: {terminator: true}` costs, and when it ends a study.

    python tests/benchmarks/terminator.py [--studies N]

Times one look at 30 and at 1,000 completed trials. Then simulates studies of TPE with at most 100 trials: a share of
puzzles solved that falls off smoothly from 80 % around the best point, measured on so many puzzles; the first parameter
weighs most, the last next to nothing. Says when the terminator, looking after every fifth trial, and `no_improvement:
30` would have ended them, and what share the trial that was best by then really solves.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial

from hrm_sweep.evaluation.share import Share
from hrm_sweep.sweep.goals import score
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.terminator import left_to_gain

BUDGET = 100
MIN_TRIALS = 20
PATIENCE = 30
WEIGHTS = (12.0, 4.0, 1.0, 0.3, 0.1)
BEST = 0.8


def solved(values: Mapping[str, float]) -> float:
    """The share of all puzzles that a configuration really solves."""
    return BEST * math.exp(-sum(weight * (x - 0.6) ** 2 for weight, x in zip(WEIGHTS, values.values(), strict=False)))


def print_look(completed: int) -> None:
    """Seconds of one look, the median of five; the first, which loads torch and scipy, apart."""
    chance = np.random.default_rng(0)
    ranges = {f"x{i}": FloatDistribution(0, 1) for i in range(len(WEIGHTS))}
    trials = []
    for _ in range(completed):
        values = {name: chance.random() for name in ranges}
        value = chance.binomial(1000, solved(values)) / 1000
        trials.append(optuna.create_trial(params=values, distributions=dict(ranges), value=value))
    took = []
    for _ in range(6):
        began = time.perf_counter()
        left_to_gain(trials, 0.01, min_trials=MIN_TRIALS)
        took.append(time.perf_counter() - began)
    first, median = took[0], statistics.median(took[1:])
    print(f"a look at {completed:5,} completed trials: {median:.2f} s; the first {first:.1f} s", flush=True)


@dataclass(frozen=True)
class Ended:
    """After how many trials a rule ended a study, and what share its best trial really solves."""

    trials: int
    share: float


def simulated(seed: int, parameters: int, puzzles: int) -> tuple[Ended, Ended]:
    """One study: where the terminator ends it, and where `no_improvement` does."""
    chance = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(BUDGET):
        trial = study.ask({f"x{i}": FloatDistribution(0, 1) for i in range(parameters)})
        study.tell(trial, chance.binomial(puzzles, solved(trial.params)) / puzzles)
    trials = study.get_trials()
    looks = range(MIN_TRIALS, BUDGET, 5)
    by_terminator = next((n for n in looks if _is_enough(trials[:n], puzzles)), BUDGET)
    since_best = (n - 1 - _best(trials[:n]).number for n in range(1, BUDGET))
    by_patience = next((n for n, since in enumerate(since_best, start=1) if since >= PATIENCE), BUDGET)
    return _ended(trials, by_terminator), _ended(trials, by_patience)


def _is_enough(trials: Sequence[FrozenTrial], puzzles: int) -> bool:
    error = Share(score(_best(trials)) or 0.0, puzzles).standard_error
    return left_to_gain(trials, error, min_trials=MIN_TRIALS)[1]


def _best(trials: Sequence[FrozenTrial]) -> FrozenTrial:
    return max(trials, key=lambda trial: score(trial) or 0.0)


def _ended(trials: Sequence[FrozenTrial], after: int) -> Ended:
    return Ended(after, solved(_best(trials[:after]).params))


def print_ends(parameters: int, puzzles: int, studies: int) -> None:
    both = [simulated(seed, parameters, puzzles) for seed in range(studies)]
    told = []
    for name, ends in zip(("terminator", f"no_improvement {PATIENCE}"), zip(*both, strict=True), strict=True):
        early = sum(one.trials < BUDGET for one in ends)
        trials, share = statistics.mean(one.trials for one in ends), statistics.mean(one.share for one in ends)
        told.append(f"{name} ended {early} early, {trials:.0f} trials, the best solves {share:.3f}")
    print(f"{parameters} parameters, {puzzles:5,} puzzles, {studies} studies: {'; '.join(told)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=8, help="simulated studies of each kind")
    studies = parser.parse_args().studies
    quiet_optuna()
    for completed in (30, 1000):
        print_look(completed)
    for parameters in (2, 4):
        for puzzles in (100, 1000):
            print_ends(parameters, puzzles, studies)


if __name__ == "__main__":
    main()
