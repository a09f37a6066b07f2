"""Evaluation against numbers of the reference: its own checkpoints on its own data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hrm_sweep.config import load_config
from hrm_sweep.data import open_folder
from hrm_sweep.errors import CheckpointError
from hrm_sweep.evaluation.accuracy import EVALUATION_ROWS, data_shape, evaluate, evaluate_checkpoint
from hrm_sweep.evaluation.device import Device
from hrm_sweep.model.checkpoint import apply_weights, load_weights
from hrm_sweep.model.hrm import HRM

RUNS = Path(__file__).parents[1] / "fixtures" / "official_runs"


@pytest.mark.parametrize("run", ["healthy", "frozen_embeddings", "single_step"])
def test_checkpoints_of_the_reference_score_what_its_own_evaluation_said(run: str, sudoku_4x4: Path) -> None:
    config = load_config(RUNS / run)
    split = open_folder(sudoku_4x4).test
    device = Device(torch.device("cpu"), torch.float32)
    model = HRM(config.arch, data_shape(split), device.dtype)
    for want in json.loads((RUNS / f"{run}.history.json").read_text()):
        apply_weights(model, load_weights(RUNS / run / f"step_{want['step']}"), run)
        got = evaluate(model, split, np.arange(200), config.arch.loss.loss_type, device)
        assert got.count == 200
        assert got.values["exact_accuracy"] == pytest.approx(want["eval_exact"], abs=1e-9)
        assert got.values["accuracy"] == pytest.approx(want["eval_acc"], abs=1e-6)


def test_batches_do_not_change_an_evaluation(sudoku_4x4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(RUNS / "healthy")
    split = open_folder(sudoku_4x4).test
    device = Device(torch.device("cpu"), torch.float32)
    model = HRM(config.arch, data_shape(split), device.dtype)
    apply_weights(model, load_weights(RUNS / "healthy" / "step_936"), "healthy")
    whole = evaluate(model, split, np.arange(200), config.arch.loss.loss_type, device)
    assert EVALUATION_ROWS >= 200
    monkeypatch.setattr("hrm_sweep.evaluation.accuracy.EVALUATION_ROWS", 33)
    parts = evaluate(model, split, np.arange(200), config.arch.loss.loss_type, device)
    assert parts.values == pytest.approx(whole.values, rel=1e-5)


def test_an_evaluation_of_nothing_has_no_values(sudoku_4x4: Path) -> None:
    config = load_config(RUNS / "healthy")
    split = open_folder(sudoku_4x4).test
    device = Device(torch.device("cpu"), torch.float32)
    model = HRM(config.arch, data_shape(split), device.dtype)
    nothing = evaluate(model, split, np.arange(0), config.arch.loss.loss_type, device)
    assert (nothing.count, nothing.values, nothing.exact_accuracy) == (0, {}, None)


def test_the_holdout_number_rests_on_the_other_half(sudoku_4x4: Path) -> None:
    config = load_config(RUNS / "healthy", {"data_path": str(sudoku_4x4)})
    weights = RUNS / "healthy" / "step_936"
    selection, holdout = (evaluate_checkpoint(config, weights, subset) for subset in ("selection", "holdout"))
    assert (selection.count, holdout.count) == (100, 100)
    together = (selection.values["exact_accuracy"] + holdout.values["exact_accuracy"]) / 2
    assert together == pytest.approx(0.455)


def test_weights_of_another_shape_are_refused(sudoku_4x4: Path) -> None:
    config = load_config(RUNS / "healthy", {"data_path": str(sudoku_4x4), "arch.hidden_size": 32})
    with pytest.raises(CheckpointError, match="does not fit the configuration"):
        evaluate_checkpoint(config, RUNS / "healthy" / "step_936", "holdout")
