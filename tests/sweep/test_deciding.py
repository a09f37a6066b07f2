"""Every trial of a study decides by the same puzzles, as many as a tenth of its costliest trial pays for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_studies import STORAGE, small_space

from hrm_sweep.config import space_names
from hrm_sweep.planning.cost import evaluation_flops, train_flops
from hrm_sweep.planning.evaluation_share import FEWEST, SHARE
from hrm_sweep.sweep.space import SearchSpace, load_space
from hrm_sweep.sweep.space_lint import lint_space
from hrm_sweep.sweep.study import create_or_continue, open_study

SIZE = {"epochs": 40, "eval_interval": 4, "global_batch_size": 50}


def number(space: SearchSpace) -> int | None:
    return lint_space(space, "space").eval_puzzles


@pytest.mark.parametrize("name", space_names())
def test_evaluation_takes_a_tenth_of_any_trial_of_a_shipped_space(name: str, sudoku_4x4: Path) -> None:
    space = load_space(name).with_overrides({"data_path": str(sudoku_4x4)})
    report = lint_space(space, name)
    puzzles = report.eval_puzzles
    assert puzzles is not None
    assert puzzles > FEWEST
    for one in report.combinations:
        assert one.config.eval_puzzles == puzzles
        evaluation = evaluation_flops(one.config, one.puzzles.train.seq_len, puzzles)
        training = train_flops(one.config, one.puzzles.train.seq_len, one.length.steps_per_interval)
        assert evaluation <= SHARE * (evaluation + training)


def test_the_costliest_combination_decides_for_all(sudoku_4x4: Path) -> None:
    def space(*act_steps: int) -> SearchSpace:
        base = {"data_path": str(sudoku_4x4), **SIZE}
        return small_space(base=base, parameters={"arch.halt_max_steps": {"values": list(act_steps)}})

    alone = {steps: number(space(steps)) for steps in (2, 4)}
    assert alone[4] is not None
    assert alone[2] == pytest.approx(2 * alone[4], abs=1)
    assert number(space(2, 4)) == alone[4]


@pytest.mark.parametrize(
    "said",
    [
        {"base": {"data_path": "DATA", **SIZE, "eval_puzzles": 7}},
        {"overrides": {"eval_puzzles": 7}},
        {"parameters": {"eval_puzzles": {"values": [7, 8]}}},
    ],
    ids=["base", "overrides", "parameters"],
)
def test_what_a_space_says_itself_stays(said: dict[str, Any], sudoku_4x4: Path, folder: Path) -> None:
    given = {"base": {"data_path": "DATA", **SIZE}, **said}
    space = small_space(**{**given, "base": {**given["base"], "data_path": str(sudoku_4x4)}})
    assert number(space) is None
    assert create_or_continue(STORAGE, "small", space, eval_puzzles=100).space == space


def test_a_study_keeps_its_number(folder: Path) -> None:
    first = create_or_continue(STORAGE, "small", small_space(), eval_puzzles=120)
    assert first.space.config({"lr": 1e-3}).eval_puzzles == 120
    again = create_or_continue(STORAGE, "small", small_space(budget={"trials": 9}), eval_puzzles=300)
    assert again.space.config({"lr": 1e-3}).eval_puzzles == 120
    assert open_study(STORAGE, "small").space.overrides["eval_puzzles"] == 120


def test_a_study_that_was_started_without_one_goes_on_without(folder: Path) -> None:
    create_or_continue(STORAGE, "small", small_space())
    assert "eval_puzzles" not in create_or_continue(STORAGE, "small", small_space(), eval_puzzles=120).space.overrides
