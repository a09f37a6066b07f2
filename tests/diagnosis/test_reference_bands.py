"""The reference bands: what is in the files, whom they fit, and that a healthy run lies in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_sweep.config import load_config
from hrm_sweep.data.build import data_folder_for, ensure_data
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


def reference_of(run: Path, data: Path | None = None) -> Reference | None:
    return reference_for(gather_evidence(run, data=data))


@pytest.fixture
def of_the_preset(healthy: Any, folder: Path) -> Any:
    """A run whose data_path is where the preset builds its puzzles, which are not there any more."""
    config = tiny_bands().config.data
    assert config is not None
    return healthy.config(data_path=str(data_folder_for(config)))


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


@pytest.mark.parametrize("metric", ["lm_loss", "accuracy", "exact_accuracy", "grad_norm.H_level"])
def test_a_healthy_run_on_puzzles_with_more_blanks_lies_in_the_bands_or_near(metric: str) -> None:
    """Near: within a tenth of what the band spans over the whole run."""
    band = tiny_bands().train[metric]
    series = gather_evidence(FIXTURES / "runs" / "healthy", data=SUDOKU).train(metric)
    inside = [band.holds(int(step), float(value), 0.1) for step, value in zip(series.step, series.value, strict=True)]
    assert np.mean(inside) > 0.85


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


def test_the_preset_with_another_seed_is_compared_by_level(of_the_preset: Any) -> None:
    reference = reference_of(of_the_preset.config(seed=7).path)
    assert reference is not None
    assert reference.fit is Fit.LEVELS
    assert "differs" not in reference.sentence


def test_puzzles_of_another_seed_are_alike(healthy: Any) -> None:
    config = tiny_bands().config.data
    assert config is not None
    puzzles = ensure_data(config.model_copy(update={"seed": 3, "test_size": 50}), healthy.path.parent)
    reference = reference_of(healthy.path, puzzles)
    assert reference is not None
    assert reference.fit is Fit.LEVELS


def test_another_recipe_is_compared_by_level_and_named(of_the_preset: Any) -> None:
    reference = reference_of(of_the_preset.config(lr=0.5, weight_decay=1.0).path)
    assert reference is not None
    assert reference.fit is Fit.LEVELS
    assert "This run differs in lr, weight_decay." in reference.sentence


def test_movement_between_rows_is_not_compared_where_rows_are_of_other_lengths(of_the_preset: Any) -> None:
    reference = reference_of(of_the_preset.config(log_interval=20).path)
    assert reference is not None
    assert "puzzle_emb.mean_abs_movement" not in reference.train


def assert_compared_by_shape(reference: Reference | None) -> None:
    assert reference is not None
    assert reference.fit is Fit.SHAPES
    assert "compare shapes, not values" in reference.sentence
    assert not [name for name in reference.train if "norm" in name or "puzzle_emb" in name]


def test_another_model_is_compared_by_shape(of_the_preset: Any) -> None:
    assert_compared_by_shape(reference_of(of_the_preset.config(arch__H_cycles=1).path))


def test_puzzles_with_more_blanks_are_compared_by_shape_whatever_the_configuration_says(of_the_preset: Any) -> None:
    assert_compared_by_shape(reference_of(of_the_preset.path, SUDOKU))


@pytest.mark.parametrize("changes", [{"data__max_blanks": 9}, {"data": None}, {"data_path": "elsewhere"}])
def test_puzzles_that_are_not_found_are_compared_by_shape_unless_their_folder_says_what_they_are(
    of_the_preset: Any, changes: dict[str, Any]
) -> None:
    assert_compared_by_shape(reference_of(of_the_preset.config(**changes).path))


def test_act_steps_are_compared_where_their_limit_is_the_same(of_the_preset: Any) -> None:
    same, other = of_the_preset.config(arch__H_cycles=1), {"arch__halt_max_steps": 4}
    reference = reference_of(same.path)
    assert reference is not None
    assert "act_steps" in reference.train
    reference = reference_of(same.config(**other).path)
    assert reference is not None
    assert "act_steps" not in reference.train


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
