"""`init_from`: a run that starts from the weights of another, ours or published."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.errors import CheckpointError
from hrm_sweep.model.checkpoint import load_weights
from hrm_sweep.runs import Cause, RunDirectory, State
from hrm_sweep.training.session import prepare, run_training

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "official_runs" / "healthy"
SHORT = {"epochs": 1, "global_batch_size": 200, "eval_puzzles": 20, "lr": 0.0, "puzzle_emb_lr": 0.0, "seed": 7}


def config_from(source: Path, data: Path, **changes: object) -> RunConfig:
    return load_config("hrm_v1_tiny", {**SHORT, "data_path": str(data), "init_from": str(source), **changes})


@pytest.mark.parametrize("source", [OFFICIAL, OFFICIAL / "step_936"], ids=["a run", "a file"])
def test_a_run_starts_from_published_weights(tmp_path: Path, sudoku_4x4: Path, source: Path) -> None:
    """With a learning rate of 0 it ends with them as well."""
    directory, said = RunDirectory(tmp_path / "run"), []
    status = run_training(config_from(source, sudoku_4x4), directory, threads=1, say=said.append)
    assert status.state is State.COMPLETED, status.message
    ours, theirs = load_weights(directory.step_weights(status.step)), load_weights(OFFICIAL / "step_936")
    assert all(torch.equal(ours[name].float(), theirs[name].float()) for name in theirs)
    assert f"starting from {OFFICIAL / 'step_936'}: {len(theirs)} of {len(theirs)} tensors taken" in said
    assert load_config(directory.config).init_from == str(source)


def test_what_does_not_match_is_said_and_starts_anew(tmp_path: Path, sudoku_4x4: Path) -> None:
    data = Path(shutil.copytree(sudoku_4x4, tmp_path / "data"))
    for split in ("train", "test"):
        facts = data / split / "dataset.json"
        facts.write_text(facts.read_text().replace('"num_puzzle_identifiers": 1', '"num_puzzle_identifiers": 3'))
    said: list[str] = []
    config = config_from(OFFICIAL, data, **{"arch.H_layers": 2})
    assert run_training(config, RunDirectory(tmp_path / "run"), threads=1, say=said.append).state is State.COMPLETED
    told = [line for line in said if line.startswith("init_from: ")]
    assert any("the puzzle embedding is 1 by 64 there and 3 by 64 here" in line for line in told)
    assert any("inner.H_level.layers.1." in line and "is not in the checkpoint" in line for line in told)


def test_a_truncated_file_is_named_with_its_size_and_what_to_do(tmp_path: Path, sudoku_4x4: Path) -> None:
    cut = tmp_path / "cut.pt"
    cut.write_bytes((OFFICIAL / "step_936").read_bytes()[:5000])
    status = run_training(config_from(cut, sudoku_4x4), RunDirectory(tmp_path / "run"), threads=1)
    assert (status.state, status.cause) == (State.FAILED, Cause.CONFIG)
    assert status.message == (
        f"init_from: {cut}: damaged, incomplete or not a checkpoint (5,000 bytes); copy or write it again, or name "
        "another one"
    )


def test_a_run_that_goes_on_does_not_look_at_it(tmp_path: Path, sudoku_4x4: Path) -> None:
    source = Path(shutil.copytree(OFFICIAL, tmp_path / "source"))
    directory = RunDirectory(tmp_path / "run")
    run_training(config_from(source, sudoku_4x4, max_seconds=1e-9), directory, threads=1)
    shutil.rmtree(source)
    said: list[str] = []
    config = config_from(source, sudoku_4x4)
    assert run_training(config, directory, threads=1, resume=True, say=said.append).state is State.COMPLETED
    assert not any("starting from" in line for line in said)


def test_weights_none_of_which_fit_are_refused(tmp_path: Path, sudoku_4x4: Path) -> None:
    narrow = {"arch.hidden_size": 32, "arch.num_heads": 2}
    status = run_training(config_from(OFFICIAL, sudoku_4x4, **narrow), RunDirectory(tmp_path / "run"), threads=1)
    assert (status.state, status.cause) == (State.FAILED, Cause.CONFIG)
    assert "init_from: no weight of its H and L modules" in str(status.message)


def test_a_missing_file_is_named_before_anything_is_written(tmp_path: Path, sudoku_4x4: Path) -> None:
    with pytest.raises(CheckpointError, match="init_from: nowhere: there is no such run or checkpoint"):
        prepare(config_from(Path("nowhere"), sudoku_4x4))
    command = [sys.executable, "-m", "hrm_sweep", "train", "hrm_v1_tiny", f"data_path={sudoku_4x4}"]
    command += ["init_from=nowhere", "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "init_from: nowhere" in done.stderr
    assert list(tmp_path.iterdir()) == []
