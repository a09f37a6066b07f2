"""With halting on and slots refilled, each puzzle is answered as if it had been solved alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_sweep.config import ArchConfig, load_config
from hrm_sweep.data import Split, open_folder
from hrm_sweep.evaluation.accuracy import data_shape
from hrm_sweep.evaluation.device import Device
from hrm_sweep.evaluation.halting import solve_with_halting
from hrm_sweep.evaluation.watch import Watched, watch
from hrm_sweep.model.checkpoint import apply_weights, load_weights
from hrm_sweep.model.hrm import HRM

FIXTURES = Path(__file__).parents[1] / "fixtures"
CPU = Device(torch.device("cpu"), torch.float32)
PUZZLES, STEPS = 40, 10


@dataclass(frozen=True)
class Restless:
    """A model that halts all over the place, and what it answers after every step with halting off."""

    model: HRM
    split: Split
    watched: Watched

    def halts_after(self, puzzles: np.ndarray, limit: int) -> np.ndarray:
        stops = (self.watched.q_halt > self.watched.q_continue)[puzzles, :limit]
        stops[:, -1] = True
        return stops.argmax(axis=1) + 1


@pytest.fixture(scope="module")
def restless() -> Restless:
    split = open_folder(FIXTURES / "sudoku-4x4").test
    arch = ArchConfig(hidden_size=32, num_heads=2, H_layers=1, L_layers=1, H_cycles=1, L_cycles=1, halt_max_steps=4)
    torch.manual_seed(3)
    model = HRM(arch, data_shape(split), torch.float32)
    with torch.no_grad():
        model.inner.q_head.weight.normal_()
        seen = watch(model, split, np.arange(PUZZLES), CPU, steps=STEPS)
        wishes = np.sort((seen.q_halt - seen.q_continue).ravel())
        most = wishes[int(0.7 * len(wishes)) : int(0.9 * len(wishes))]
        gap = int(np.diff(most).argmax())  # as far as possible from all, so that rounding decides nothing below
        assert model.inner.q_head.bias is not None
        model.inner.q_head.bias[0] -= float(most[gap : gap + 2].mean())
    return Restless(model, split, watch(model, split, np.arange(PUZZLES), CPU, steps=STEPS))


def test_the_model_is_a_hard_case(restless: Restless) -> None:
    halts = restless.halts_after(np.arange(PUZZLES), STEPS)
    assert len(np.unique(halts)) >= 3
    assert np.abs(restless.watched.q_halt - restless.watched.q_continue).min() > 1e-3


@settings(max_examples=30)
@given(
    slots=st.integers(1, PUZZLES + 5),
    limit=st.integers(1, STEPS),
    puzzles=st.lists(st.integers(0, PUZZLES - 1), unique=True, max_size=PUZZLES),
)
def test_any_number_of_slots_gives_what_halting_off_gives_at_the_halting_step(
    restless: Restless, slots: int, limit: int, puzzles: list[int]
) -> None:
    chosen = np.array(puzzles, dtype=np.int64)
    heard: list[int] = []
    found = solve_with_halting(
        restless.model, restless.split, chosen, CPU, limit=limit, slots=slots, on_solved=heard.append
    )
    halts = restless.halts_after(chosen, limit) if puzzles else np.zeros(0, np.int64)
    assert found.steps.tolist() == halts.tolist()
    assert (found.answers == restless.watched.predictions[chosen, halts - 1]).all()
    assert found.slot_steps == found.steps.sum()
    assert sum(heard) == len(puzzles)


def test_so_does_a_model_of_the_reference() -> None:
    run = FIXTURES / "official_runs" / "healthy"
    config, split = load_config(run), open_folder(FIXTURES / "sudoku-4x4").test
    model = HRM(config.arch, data_shape(split), torch.float32)
    apply_weights(model, load_weights(run / "step_936"), "step_936")
    indices = np.arange(0, 120, 3)
    watched = watch(model, split, indices, CPU)
    found = solve_with_halting(model, split, indices, CPU, limit=watched.steps, slots=7)
    assert found.steps.tolist() == watched.halts_after.tolist()
    assert (found.answers == watched.predictions[np.arange(len(indices)), watched.halts_after - 1]).all()
    assert len(set(found.steps.tolist())) > 1
