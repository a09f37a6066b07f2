"""One pass through the largest number of ACT steps says what an evaluation of each number says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.data import Split, open_folder
from hrm_sweep.errors import DataError
from hrm_sweep.evaluation.accuracy import evaluate
from hrm_sweep.evaluation.device import Device
from hrm_sweep.evaluation.mistakes import Kind
from hrm_sweep.evaluation.scaling import Scaling, load_for_inference, puzzles_to_evaluate, scaling_of
from hrm_sweep.evaluation.selection import subset_indices
from hrm_sweep.model.hrm import HRM

FIXTURES = Path(__file__).parents[1] / "fixtures"
OFFICIAL = FIXTURES / "official_runs" / "healthy"
CPU = Device(torch.device("cpu"), torch.float32)
INDICES = np.arange(0, 120, 3)
STEPS = (1, 3, 8, 12)  # the last is more than it was trained with


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_config(OFFICIAL)


@pytest.fixture(scope="module")
def split() -> Split:
    return open_folder(FIXTURES / "sudoku-4x4").test


@pytest.fixture(scope="module")
def model(config: RunConfig, split: Split) -> HRM:
    return load_for_inference(config, OFFICIAL / "step_936", split, FIXTURES / "sudoku-4x4", CPU)


@pytest.fixture(scope="module")
def scaling(model: HRM, split: Split) -> Scaling:
    return scaling_of(model, split, INDICES, CPU, STEPS, halting=True)


@pytest.mark.parametrize("steps", STEPS)
def test_each_number_of_steps_is_its_own_evaluation(
    scaling: Scaling, model: HRM, split: Split, config: RunConfig, steps: int
) -> None:
    alone = evaluate(model, split, INDICES, config.arch.loss.loss_type, CPU, steps=steps)
    assert scaling.exact(steps).share == pytest.approx(alone.exact_accuracy)
    assert scaling.exact(steps).n == len(INDICES)
    assert scaling.right_cells(steps).share == pytest.approx(alone.values["accuracy"])


def test_the_pass_with_halting_is_what_the_other_pass_foretells(scaling: Scaling) -> None:
    assert scaling.halting is not None
    assert scaling.halting.solved.mean() == pytest.approx(scaling.exact_when_halting(STEPS[-1]).share)
    assert scaling.halting.steps.tolist() == scaling.halts_after(STEPS[-1]).tolist()
    assert scaling.halting.speed.act_steps == pytest.approx(scaling.halts_after(STEPS[-1]).mean())
    assert scaling.speed.act_steps == STEPS[-1]


def test_agreement_counts_every_puzzle_once(scaling: Scaling) -> None:
    counts = scaling.agreement
    assert counts is not None
    assert counts.both + counts.only_all_steps + counts.only_halting + counts.neither == counts.puzzles == len(INDICES)
    assert counts.both + counts.only_all_steps == scaling.solved[:, -1].sum()
    assert counts.both <= counts.same <= len(INDICES)


def test_mistakes_and_ratings_count_every_puzzle_once(scaling: Scaling) -> None:
    for steps in STEPS:
        mistakes = scaling.mistakes(steps)
        assert sum(mistakes.values()) == len(INDICES)
        assert mistakes[Kind.SOLVED] == scaling.solved[:, steps - 1].sum()
    groups = scaling.by_rating(STEPS[-1])
    assert sum(share.n for share in groups.values()) == len(INDICES)


def test_puzzles_are_spread_over_what_selection_never_saw(split: Split) -> None:
    unseen = subset_indices("holdout", split.n_examples, 1000)
    assert puzzles_to_evaluate(split, "holdout", 1000, 1000).tolist() == unseen.tolist()
    some = puzzles_to_evaluate(split, "holdout", 1000, 7)
    assert len(some) == 7
    assert set(some) <= set(unseen)
    assert some[0] == unseen[0]
    assert some[-1] == unseen[-1]
    assert len(puzzles_to_evaluate(split, None, 1000, 1000)) == split.n_examples


def test_weights_of_another_task_are_refused_with_both_numbers(config: RunConfig) -> None:
    other = FIXTURES / "sudoku-9x9"
    split = open_folder(FIXTURES / "sudoku-4x4").test
    larger = Split(
        type(split.metadata)(**{**split.metadata.__dict__, "vocab_size": 11}),
        split.sets,
    )
    with pytest.raises(DataError, match=r"vocab_size is 11, but .*step_936 was trained with 6"):
        load_for_inference(config, OFFICIAL / "step_936", larger, other, CPU)
