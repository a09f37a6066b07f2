"""How many puzzles a tenth of a run's time pays for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.planning.cost import evaluation_flops, train_flops
from hrm_sweep.planning.evaluation_share import FEWEST, MOST, SHARE, affordable_puzzles

shapes = st.fixed_dictionaries(
    {
        "arch.H_cycles": st.integers(1, 6),
        "arch.L_cycles": st.integers(1, 8),
        "arch.halt_max_steps": st.integers(1, 32),
        "arch.H_layers": st.integers(1, 4),
        "arch.L_layers": st.integers(1, 4),
    }
)


def share(config: RunConfig, cells: int, steps: int, puzzles: int) -> float:
    evaluation = evaluation_flops(config, cells, puzzles)
    return evaluation / (evaluation + train_flops(config, cells, steps))


@given(shapes, st.sampled_from([16, 81]), st.integers(1, 10**5))
def test_the_share_is_spent_and_no_puzzle_more_would_fit(shape: dict[str, int], cells: int, steps: int) -> None:
    config = load_config("hrm_v1_tiny", shape)
    puzzles = affordable_puzzles(config, cells, steps)
    assert FEWEST <= puzzles <= MOST
    if puzzles > FEWEST:
        assert share(config, cells, steps, puzzles) <= SHARE * (1 + 1e-9)
    if puzzles < MOST:
        assert share(config, cells, steps, puzzles + 1) > SHARE


def test_the_published_recipe_evaluated_whole_costs_more_than_it_trains() -> None:
    """20,000 epochs of 1000 puzzles, evaluated ten times on 422,786: 1.27 times the training."""
    config = load_config("hrm_v1")
    whole = share(config, 81, 2604, 422_786)
    assert whole / (1 - whole) == pytest.approx(1.27, abs=0.01)
    assert affordable_puzzles(config, 81, 2604) == MOST
