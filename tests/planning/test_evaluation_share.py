"""How many puzzles a tenth of a run's time pays for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.planning.cost import train_flops
from hrm_sweep.planning.evaluation_share import FEWEST, MOST, SHARE, affordable_puzzles, evaluation_share

shapes = st.fixed_dictionaries(
    {
        "arch.H_cycles": st.integers(1, 6),
        "arch.L_cycles": st.integers(1, 8),
        "arch.halt_max_steps": st.integers(1, 32),
        "arch.H_layers": st.integers(1, 4),
        "arch.L_layers": st.integers(1, 4),
    }
)


@given(shapes, st.integers(1, 10**7))
def test_the_share_is_spent_and_no_puzzle_more_would_fit(shape: dict[str, int], rows: int) -> None:
    config = load_config("hrm_v1_tiny", shape)
    puzzles = affordable_puzzles(config, rows)
    assert FEWEST <= puzzles <= MOST
    if puzzles > FEWEST:
        assert evaluation_share(config, rows, puzzles) <= SHARE
    if puzzles < MOST:
        assert evaluation_share(config, rows, puzzles + 1) > SHARE


@given(shapes, shapes)
def test_training_is_counted_as_its_operations_are(one: dict[str, int], other: dict[str, int]) -> None:
    def odds(config: RunConfig) -> float:
        """Evaluation over training, in calls of a layer; times an evaluation's calls in all, one over training's."""
        share, arch = evaluation_share(config, 1000, 10), config.arch
        forward = arch.H_cycles * (arch.L_cycles * arch.L_layers + arch.H_layers)
        return share / (1 - share) / (arch.halt_max_steps * forward)

    first, second = load_config("hrm_v1", one), load_config("hrm_v1", other)
    assert odds(first) * train_flops(first, 81, 1) == pytest.approx(odds(second) * train_flops(second, 81, 1))


def test_the_published_recipe_evaluated_whole_costs_more_than_it_trains() -> None:
    """20,000 epochs of 1000 puzzles, evaluated ten times on 422,786: 1.27 times the training."""
    config = load_config("hrm_v1")
    share = evaluation_share(config, 2000 * 1000, 422_786)
    assert share / (1 - share) == pytest.approx(1.27, abs=0.01)
    assert affordable_puzzles(config, 2000 * 1000) == MOST
