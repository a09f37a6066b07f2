"""The reference bands: what is in the files, whom they fit, and that a healthy run lies in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_sweep.config import load_config
from hrm_sweep.diagnosis import gather_evidence
from hrm_sweep.diagnosis.reference_bands import (
    QUANTILES,
    TINY_BANDS,
    Fit,
    Reference,
    published_shapes,
    reference_for,
    tiny_bands,
)

FIXTURES = Path(__file__).parent.parent / "fixtures"
SUDOKU = FIXTURES / "sudoku-4x4"


def reference_of(run: Path) -> Reference | None:
    return reference_for(gather_evidence(run, data=SUDOKU))


def test_the_bands_are_of_the_preset_as_it_is_shipped() -> None:
    bands = tiny_bands()
    unchanged = {"data_path": None, "seed": 0, "eval_interval": 5}
    assert bands.config == load_config(bands.preset).model_copy(update=unchanged)
    assert bands.changed == {"eval_interval": 5}


def test_every_band_has_a_value_for_each_quantile_and_step() -> None:
    bands = tiny_bands()
    for band in [*bands.train.values(), *bands.evaluation.values()]:
        assert band.quantiles.shape == (len(QUANTILES), len(band.step))
        assert (np.diff(band.quantiles, axis=0) >= 0).all()
        assert (np.diff(band.step) > 0).all()
        assert bands.planned_steps - 10 < band.step[-1] <= bands.planned_steps
        assert (band.n >= 1).all()
        assert (band.n <= len(bands.seeds)).all()


def test_the_file_is_small() -> None:
    assert TINY_BANDS.stat().st_size < 100_000


@pytest.mark.parametrize("metric", ["lm_loss", "accuracy", "grad_norm.H_level", "update_norm.H_level"])
def test_a_healthy_run_lies_in_the_bands(metric: str) -> None:
    """Its evaluations count other puzzles, made alike; a tenth of a band's span is allowed for ten seeds."""
    band = tiny_bands().train[metric]
    series = gather_evidence(FIXTURES / "runs" / "healthy", data=SUDOKU).train(metric)
    inside = [band.holds(int(step), float(value), 0.1) for step, value in zip(series.step, series.value, strict=True)]
    assert np.mean(inside) > 0.9


def test_a_dead_run_leaves_the_bands() -> None:
    band = tiny_bands().train["lm_loss"]
    run = gather_evidence(FIXTURES / "runs" / "recorded" / "dead" / "lr_out_of_range-lr1", data=SUDOKU)
    loss = run.train("lm_loss").after(100)
    assert not any(band.holds(int(step), float(value), 0.1) for step, value in zip(loss.step, loss.value, strict=True))


def test_a_band_is_stretched_with_the_run() -> None:
    band = tiny_bands().train["lm_loss"]
    assert band.stretched(2).step[-1] == 2 * band.step[-1]
    assert band.stretched(2).holds(2 * int(band.step[5]), float(band.quantiles[2, 5]))


# Which runs they fit -------------------------------------------------------------------------------------------------


def test_the_preset_with_another_seed_is_compared_by_level(healthy: Any) -> None:
    reference = reference_of(healthy.config(seed=7, data__seed=3, data__test_size=50).path)
    assert reference is not None
    assert reference.fit is Fit.LEVELS
    assert "differs" not in reference.sentence


def test_another_recipe_is_compared_by_level_and_named(healthy: Any) -> None:
    reference = reference_of(healthy.config(lr=0.5, weight_decay=1.0).path)
    assert reference is not None
    assert reference.fit is Fit.LEVELS
    assert "This run differs in lr, weight_decay." in reference.sentence


def test_movement_between_rows_is_not_compared_where_rows_are_of_other_lengths(healthy: Any) -> None:
    reference = reference_of(healthy.config(log_interval=20).path)
    assert reference is not None
    assert "puzzle_emb.mean_abs_movement" not in reference.train


@pytest.mark.parametrize(
    "broken",
    [
        lambda run: run.config(arch__H_cycles=1),
        lambda run: run.config(data__max_blanks=9),
        lambda run: run.config(data=None),
    ],
)
def test_another_model_or_other_puzzles_are_compared_by_shape(healthy: Any, broken: Callable[[Any], Any]) -> None:
    reference = reference_of(broken(healthy).path)
    assert reference is not None
    assert reference.fit is Fit.SHAPES
    assert "compare shapes, not values" in reference.sentence
    assert not [name for name in reference.train if "norm" in name or "puzzle_emb" in name]


def test_the_published_width_is_compared_with_the_shape_of_the_published_run(healthy: Any) -> None:
    reference = reference_of(healthy.config(arch__hidden_size=512, arch__num_heads=8, arch__puzzle_emb_ndim=512).path)
    assert reference is not None
    assert reference.fit is Fit.PUBLISHED
    assert "sapientinc/HRM#12" in reference.sentence
    assert "qualitative" in reference.sentence
    assert not reference.train


def test_a_run_without_a_configuration_is_compared_with_nothing(healthy: Any) -> None:
    (healthy.path / "config.yaml").unlink()
    assert reference_of(healthy.path) is None


def test_published_shapes_are_levels_over_the_run() -> None:
    shapes = published_shapes()
    assert shapes.planned_steps == 26_041
    assert shapes.uncertain_by == pytest.approx(2000 / 26_041)
    for shape in shapes.train.values():
        assert (shape.level.min(), shape.level.max()) == (0, 1)
        assert ((shape.share > 0) & (shape.share < 1)).all()
    late = shapes.train["exact_accuracy"]
    assert (late.level[late.share < 0.25] == 0).all()  # nothing solved in the first quarter, and healthy
