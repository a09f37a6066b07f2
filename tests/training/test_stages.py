"""A run in stages: what changes at their borders, what does not, and that it resumes bit for bit anywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.diagnosis import Verdict, diagnose_run
from hrm_sweep.diagnosis.gather import gather_evidence
from hrm_sweep.diagnosis.signals import recent_halts
from hrm_sweep.evaluation.accuracy import evaluate_checkpoint
from hrm_sweep.evaluation.unseen import evaluate_unseen
from hrm_sweep.model.checkpoint import config_of_checkpoint, load_state, load_weights
from hrm_sweep.report.diagnosis_page import diagnosis_page
from hrm_sweep.runs import MetricRow, RunDirectory, State, StopReason, read_metrics
from hrm_sweep.training.loop import Run
from hrm_sweep.training.session import run_training

SMALL = {
    "arch.hidden_size": 16,
    "arch.num_heads": 2,
    "global_batch_size": 100,
    "eval_interval": 2,
    "eval_puzzles": 20,
    "log_interval": 7,
    "lr_warmup_steps": 5,
    "stages": [
        {"epochs": 2, "overrides": {"arch.halt_max_steps": 2}},
        {"epochs": 4, "overrides": {"arch.halt_max_steps": 5, "lr": 3e-4, "weight_decay": 0.5}},
    ],
}


def small_config(data: Path, **changes: object) -> RunConfig:
    return load_config("hrm_v1_tiny", {**SMALL, "data_path": str(data), **changes})


def without_time(directory: RunDirectory) -> list[str]:
    return [json.dumps({**json.loads(row.to_json()), "time_s": 0}) for row in read_metrics(directory.metrics)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = RunDirectory(tmp_path_factory.mktemp("stages") / "run")
    data = Path(__file__).parents[1] / "fixtures" / "sudoku-4x4"
    assert run_training(small_config(data), directory, threads=1).state is State.COMPLETED
    return directory


def test_each_row_belongs_to_one_stage_and_says_to_which(finished: RunDirectory) -> None:
    rows = read_metrics(finished.metrics)
    train = [(row.step, row.values["stage"], len(row.act_histogram)) for row in rows if row.kind == "train"]
    steps = (7, 14, 20, 21, 28, 35, 42, 49, 56, 60)
    assert train == [(step, int(step > 20), 2 if step <= 20 else 5) for step in steps]
    evaluations = [(row.step, row.values["stage"], row.values["act_steps"]) for row in rows if row.kind == "eval"]
    assert evaluations == [(20, 0, 2), (40, 1, 5), (60, 1, 5)]


def test_the_schedule_spans_the_run_and_a_stage_sets_what_it_multiplies(finished: RunDirectory) -> None:
    rates = {row.step: row.values["lr"] for row in read_metrics(finished.metrics) if row.kind == "train"}
    assert rates[7] == rates[20] == pytest.approx(1e-3)
    assert rates[21] == rates[60] == pytest.approx(3e-4)  # no second warm-up


def test_weights_and_moments_carry_over_and_the_act_carry_starts_anew(finished: RunDirectory) -> None:
    state = load_state(finished.last_checkpoint)
    assert state["optimizer"]["steps"] == 60
    assert state["stage"] == 1
    assert int(state["carry"][2].max()) <= 5
    norms = [row.modules["weight_norm"]["H_level"] for row in read_metrics(finished.metrics) if row.kind == "train"]
    assert np.abs(np.diff(norms)).max() < 0.2 * norms[0]  # nothing was initialised a second time


def test_the_first_step_of_a_stage_takes_fresh_puzzles(
    tmp_path: Path, sudoku_4x4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After step 20 no slot has more ACT steps behind it than the steps of its stage."""
    oldest: dict[int, int] = {}
    counted = Run._step

    def watched(run: Run, batch: object) -> None:
        counted(run, batch)  # type: ignore[arg-type]
        assert run.learner.carry is not None
        oldest[run.learner.steps] = int(run.learner.carry.steps.max())

    monkeypatch.setattr(Run, "_step", watched)
    config = small_config(sudoku_4x4, **{"stages.0.overrides.arch.halt_max_steps": 5})
    run_training(config, RunDirectory(tmp_path), threads=1, stop=lambda: None)
    assert oldest[19] > 1
    assert oldest[21] == 1
    assert oldest[23] <= 3


@pytest.mark.parametrize("stopped_at", [13, 20, 47])
def test_it_resumes_bit_for_bit_at_any_step(
    tmp_path: Path, sudoku_4x4: Path, finished: RunDirectory, stopped_at: int
) -> None:
    directory, steps = RunDirectory(tmp_path), 0

    def stop() -> StopReason | None:
        nonlocal steps
        steps += 1
        return StopReason.REQUESTED if steps == stopped_at else None

    config = small_config(sudoku_4x4)
    assert run_training(config, directory, threads=1, stop=stop).state is State.STOPPED
    assert run_training(config, directory, threads=1, resume=True).state is State.COMPLETED
    assert without_time(directory) == without_time(finished)
    ours, theirs = (load_weights(one.step_weights(60)) for one in (directory, finished))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_it_resumes_from_the_checkpoint_at_a_border(tmp_path: Path, sudoku_4x4: Path, finished: RunDirectory) -> None:
    """Killed right after the border, it goes on from what was written there: the first thing is a new stage."""
    directory = RunDirectory(tmp_path / "run")
    kept = tmp_path / "kept"

    def keep(row: MetricRow) -> None:
        if (row.kind, row.step) == ("train", 21):
            shutil.copytree(directory.path, kept)

    run_training(small_config(sudoku_4x4), directory, threads=1, on_row=keep)
    killed = RunDirectory(kept)
    assert load_state(killed.last_checkpoint)["stage"] == 0
    assert run_training(small_config(sudoku_4x4), killed, threads=1, resume=True).state is State.COMPLETED
    assert without_time(killed) == without_time(finished)


def test_a_checkpoint_is_evaluated_as_its_stage_was(finished: RunDirectory, tmp_path: Path, sudoku_4x4: Path) -> None:
    config = load_config(finished.config)
    assert config_of_checkpoint(config, finished.step_weights(60)).arch.halt_max_steps == 5
    directory = RunDirectory(tmp_path)
    steps = iter(range(1, 61))
    run_training(config, directory, threads=1, stop=lambda: StopReason.REQUESTED if next(steps) == 20 else None)
    assert config_of_checkpoint(config, directory.last_checkpoint).arch.halt_max_steps == 2
    assert evaluate_checkpoint(config, directory.last_checkpoint, "holdout").act_steps == 2


def test_the_diagnosis_knows_the_stage_and_the_page_shows_where_it_began(finished: RunDirectory) -> None:
    evidence = gather_evidence(finished.path)
    assert (evidence.stage, evidence.stage_ends) == (1, (20,))
    assert (evidence.config.arch.halt_max_steps, evidence.config.lr) == (5, 3e-4)
    assert len(recent_halts(evidence)) == 5
    page = diagnosis_page([diagnose_run(finished.path, write=False)])
    assert "<title>stage 1 begins</title>" in page


@pytest.mark.proof
def test_a_healthy_run_in_stages_is_called_healthy(tmp_path: Path, sudoku_4x4: Path) -> None:
    """The ACT limit goes from 1 over 2 to 6, and every puzzle takes other numbers of steps afterwards."""
    stages = [
        {"epochs": epochs, "overrides": {"arch.halt_max_steps": limit}} for epochs, limit in ((4, 1), (4, 2), (8, 6))
    ]
    changes = {"arch.hidden_size": 32, "global_batch_size": 50, "log_interval": 10, "eval_puzzles": 100, "lr": 2e-3}
    config = small_config(sudoku_4x4, **changes, stages=stages, puzzle_emb_lr=1e-4, weight_decay=0.1)
    directory = RunDirectory(tmp_path)
    run_training(config, directory, threads=1)
    for _ in range(2):
        found = diagnose_run(directory.path, write=False)
        blamed = [
            f.rule for f in found.findings if f.verdict is Verdict.FIRED and f.severity.value in ("warning", "error")
        ]
        assert blamed == []
        rows = [row for row in read_metrics(directory.metrics) if row.step <= 190]  # soon after the second border
        directory.metrics.write_text("".join(row.to_json() + "\n" for row in rows))


def test_unseen_puzzles_are_solved_with_the_act_steps_of_the_checkpoints_stage(finished: RunDirectory) -> None:
    config = load_config(finished.config)
    assert config.arch.halt_max_steps != config.last_stage.arch.halt_max_steps
    unseen = evaluate_unseen(config, finished.best_checkpoint)
    assert unseen.values == pytest.approx(evaluate_checkpoint(config, finished.best_checkpoint, "holdout").values)
