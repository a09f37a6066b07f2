"""The sweep benchmark compares equal things, goes on where it was, and prints what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sweep
import torch
from plain_hrm import PlainHRM
from plain_training import solved

from hrm_sweep.config import load_config
from hrm_sweep.model.hrm import HRM, DataShape, Rows
from hrm_sweep.sweep.parameters import allows
from hrm_sweep.sweep.space import load_space

BENCHMARK = Path(__file__).with_name("sweep.py")
SMALL = ["arch.hidden_size=16", "arch.num_heads=2", "arch.H_layers=1", "arch.L_layers=1", "arch.halt_max_steps=2"]
SHORT = ["epochs=2", "eval_interval=1", "log_interval=5"]


def test_the_list_is_always_the_same_and_of_the_space() -> None:
    space = load_space("quickstart")
    points = sweep.configurations(space, 24)
    assert points[:5] == sweep.configurations(space, 5)
    assert points[1]["lr"] == 0.000666
    assert all(allows(name, space.parameters[name], value) for point in points for name, value in point.items())
    assert {point["arch.halt_max_steps"] for point in points} == {2, 4, 8}


def test_the_loop_solves_what_the_product_solves() -> None:
    """Where the labels are what the product answers, the plain reading has solved the puzzle; elsewhere it has not."""
    torch.manual_seed(0)
    config = load_config("hrm_v1_tiny", {"arch.hidden_size": 16, "arch.halt_max_steps": 3})
    shape = DataShape(vocab_size=6, seq_len=16, num_puzzle_identifiers=1)
    model = HRM(config.arch, shape)
    plain = PlainHRM(config, shape.vocab_size, shape.seq_len, shape.num_puzzle_identifiers)
    plain.load_state_dict(model.state_dict())
    inputs, identifiers = torch.randint(1, 6, (8, 16)), torch.zeros(8, dtype=torch.long)
    _, output = model.solve(Rows(inputs, inputs, identifiers))
    labels = output.logits.argmax(dim=-1)
    labels[:, 0] = -100  # a cell that does not count
    wrong = labels.clone()
    wrong[::2, 5] = (wrong[::2, 5] + 1) % 6
    assert solved(plain, (inputs, labels, identifiers)).all()
    assert solved(plain, (inputs, wrong, identifiers)).tolist() == 4 * [False, True]


def test_when_a_score_was_reached() -> None:
    moments = (sweep.Moment(0.0, 0.0), sweep.Moment(5.0, 0.8), sweep.Moment(9.0, 0.9))
    assert sweep.reached(moments, 0.9, 100) == (9.0, 9.0)
    assert sweep.reached(moments, 0.85, 100) == (9.0, 5.0)  # 0.8 of 100 reaches up to 0.87
    assert sweep.reached(moments, 0.99, 100) == (None, None)


def run(folder: Path) -> dict[str, Any]:
    out = folder / "numbers.json"
    command = [sys.executable, str(BENCHMARK), "--configurations", "2", "--unseen", "100", "--threads", "1"]
    command += ["--folder", str(folder), "--json", str(out), *SMALL, *SHORT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    numbers: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert f"loop / product: {numbers['ratio']:.2f}" in done.stdout
    return numbers


@pytest.mark.proof
def test_two_configurations_by_both_and_nothing_twice(tmp_path: Path) -> None:
    numbers = run(tmp_path)
    loop, product = numbers["loop"], numbers["product"]
    assert numbers["ratio"] == loop["seconds"] / product["seconds"]
    assert [one["point"] for one in loop["each"]] == [one["point"] for one in product["each"]]
    assert [one["point"]["arch.halt_max_steps"] for one in loop["each"]] == [2, 2]
    assert [one["steps"] for one in loop["each"]] == [one["steps"] for one in product["each"]] == [62, 62]
    assert loop["seconds"] == pytest.approx(sum(one["seconds"] for one in loop["each"]))
    for one in (loop, product):
        assert 0 <= one["unseen"] <= one["unseen_puzzles"] == 100
        assert one["best"] in [each["point"] for each in one["each"]]
    assert 100 < numbers["puzzles"] <= 200
    assert numbers["loop_score"] == loop["moments"][-1]["score"]
    assert run(tmp_path) == numbers
