"""What is shown of a model at work is what evaluation computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hrm_sweep.config import load_config
from hrm_sweep.data import open_folder
from hrm_sweep.evaluation.accuracy import data_shape, evaluate
from hrm_sweep.evaluation.act import act_behaviour
from hrm_sweep.evaluation.device import Device
from hrm_sweep.evaluation.watch import Watched, watch, watch_checkpoint
from hrm_sweep.model.checkpoint import apply_weights, load_weights
from hrm_sweep.model.hrm import HRM

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "official_runs" / "healthy"
INDICES = np.arange(3, 35, 2)


@pytest.fixture(scope="module")
def watched() -> Watched:
    split = open_folder(Path(__file__).parents[1] / "fixtures" / "sudoku-4x4").test
    return watch_checkpoint(load_config(OFFICIAL), OFFICIAL / "step_936", split, INDICES)


def test_after_every_step_it_is_what_evaluation_computes(watched: Watched, sudoku_4x4: Path) -> None:
    config, split = load_config(OFFICIAL), open_folder(sudoku_4x4).test
    device = Device.choose(config)
    model = HRM(config.arch, data_shape(split), device.dtype)
    apply_weights(model, load_weights(OFFICIAL / "step_936"), "step_936")
    loss_type = config.arch.loss.loss_type
    for step in (1, 2, 5, watched.steps):
        result = evaluate(model, split, INDICES, loss_type, device, steps=step)
        assert watched.solved[:, step - 1].mean() == pytest.approx(result.exact_accuracy)
        cells = 1 - watched.wrong[:, step - 1].sum(axis=1) / watched.counted.sum(axis=1)
        assert cells.mean() == pytest.approx(result.values["accuracy"])
    behaviour = act_behaviour(model, split, INDICES, loss_type, device)
    assert (watched.solved == behaviour.solved).all()
    assert (watched.halts_after == behaviour.halts_after).all()
    assert (watched.q_halt == behaviour.q_halt).all()
    again = watch(model, split, INDICES[:5], device)
    assert (again.predictions == watched.predictions[:5]).all()


def test_the_puzzles_are_those_that_were_asked_for(watched: Watched, sudoku_4x4: Path) -> None:
    test = open_folder(sudoku_4x4).test.sets[0]
    assert (watched.inputs == np.asarray(test.inputs)[INDICES]).all()
    assert (watched.labels == np.asarray(test.labels)[INDICES]).all()
    assert watched.predictions.shape == (16, 8, 16)


def test_a_change_is_against_the_step_before(watched: Watched) -> None:
    assert not watched.changed[:, 0].any()
    assert watched.changed[:, 1:].any()
    assert (watched.changed[:, 1:] == (watched.predictions[:, 1:] != watched.predictions[:, :-1])).all()
