"""How much of a run goes into evaluations, and how many puzzles a given share pays for.

Counted in calls of one layer on one row. What such a call costs depends on width and cells alone, which are the same in
training and evaluation, so it falls out of every share.
"""

from __future__ import annotations

from hrm_sweep.config import ArchConfig, RunConfig

SHARE = 0.09
"""What evaluations may take of a run's arithmetic where nobody says how many puzzles decide. In recorded runs their
share of the time was mostly 0.8 to 1.2 times that (docs/performance.md), so that it stays at about a tenth."""

FEWEST = 100
"""Fewer puzzles decide nothing: the 95 % interval of a score of one half is then 10 points wide to either side."""

MOST = int(RunConfig.model_fields["eval_puzzles"].default)


def evaluation_share(config: RunConfig, rows_per_interval: int, puzzles: int) -> float:
    """The share of a run's arithmetic that evaluating `puzzles` after each interval of so many training rows takes."""
    evaluation = puzzles * _evaluation_calls(config.arch)
    return evaluation / (evaluation + rows_per_interval * _train_calls(config.arch))


def affordable_puzzles(config: RunConfig, rows_per_interval: int) -> int:
    """How many puzzles an evaluation may have to take `SHARE` of the run, within `FEWEST` and `MOST`."""
    training = rows_per_interval * _train_calls(config.arch)
    return max(FEWEST, min(MOST, int(SHARE / (1 - SHARE) * training / _evaluation_calls(config.arch))))


def _evaluation_calls(arch: ArchConfig) -> int:
    """Of a puzzle: all halt_max_steps ACT steps, each once."""
    return arch.halt_max_steps * _act_step_calls(arch)


def _train_calls(arch: ArchConfig) -> int:
    """Of a row and optimizer step, as `hrm_sweep.planning.cost.train_flops` has it: the ACT step, a second one for the
    next Q values where there is more than one, and the way back through the last call of each module at twice its
    cost."""
    passes = 2 if arch.halt_max_steps > 1 else 1
    return passes * _act_step_calls(arch) + 2 * (arch.L_layers + arch.H_layers)


def _act_step_calls(arch: ArchConfig) -> int:
    return arch.H_cycles * (arch.L_cycles * arch.L_layers + arch.H_layers)
