"""What a model has solved after each ACT step, and where it would halt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hrm_sweep.config import load_config
from hrm_sweep.data import open_folder
from hrm_sweep.evaluation.accuracy import data_shape, evaluate
from hrm_sweep.evaluation.act import ActBehaviour, act_behaviour
from hrm_sweep.evaluation.device import Device
from hrm_sweep.model.checkpoint import apply_weights, load_weights
from hrm_sweep.model.hrm import HRM

OFFICIAL = Path(__file__).parent.parent / "fixtures" / "official_runs"


@pytest.mark.parametrize(("name", "steps"), [("healthy", 936), ("single_step", 624)])
def test_its_last_step_is_the_ordinary_evaluation(sudoku_4x4: Path, name: str, steps: int) -> None:
    config = load_config(OFFICIAL / name)
    split = open_folder(sudoku_4x4).test
    device = Device.choose(config.model_copy(update={"device": "cpu"}))
    model = HRM(config.arch, data_shape(split), device.dtype)
    apply_weights(model, load_weights(OFFICIAL / name / f"step_{steps}"), name)
    indices = np.arange(64)
    watched = act_behaviour(model, split, indices, config.arch.loss.loss_type, device)
    plain = evaluate(model, split, indices, config.arch.loss.loss_type, device)
    assert watched.exact_by_step[-1] == plain.exact_accuracy
    assert watched.cells[:, -1].mean() == pytest.approx(plain.values["accuracy"])
    assert watched.loss.mean() == pytest.approx(plain.values["lm_loss"])
    assert watched.histogram.sum() == 64
    assert len(watched.histogram) == config.arch.halt_max_steps


def test_a_puzzle_halts_at_the_first_step_that_prefers_it_and_at_the_last_otherwise() -> None:
    q_halt = np.array([[-1.0, 2.0, 3.0], [-1.0, -1.0, -1.0], [1.0, -1.0, -1.0]])
    solved = np.array([[False, True, True], [False, False, True], [False, True, True]])
    watched = ActBehaviour(solved, solved.astype(float), q_halt, np.zeros((3, 3)), np.zeros(3))
    assert watched.halts_after.tolist() == [2, 3, 1]
    assert watched.histogram.tolist() == [1, 1, 1]
    assert watched.exact_when_halting == pytest.approx(2 / 3)
    assert watched.exact_by_step.tolist() == pytest.approx([0, 2 / 3, 1])
