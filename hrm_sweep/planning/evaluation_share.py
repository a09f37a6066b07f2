"""How many puzzles an evaluation may have, for evaluations to take a given share of a run."""

from __future__ import annotations

from hrm_sweep.config import RunConfig
from hrm_sweep.planning.cost import evaluation_flops, train_flops

SHARE = 0.09
"""What evaluations may take of a run's operations where nobody says how many puzzles decide. In recorded runs their
share of the time was mostly 0.8 to 1.2 times that (docs/performance.md), so that it stays at about a tenth."""

FEWEST = 100
"""Fewer puzzles decide nothing: the 95 % interval of a score of one half is then 10 points wide to either side."""

MOST = int(RunConfig.model_fields["eval_puzzles"].default)


def affordable_puzzles(config: RunConfig, seq_len: int, steps: int) -> int:
    """How many puzzles each evaluation may have to take `SHARE` of a run that evaluates after every `steps` optimizer
    steps, within `FEWEST` and `MOST`."""
    training = train_flops(config, seq_len, steps)
    return max(FEWEST, min(MOST, int(SHARE / (1 - SHARE) * training / evaluation_flops(config, seq_len, 1))))
