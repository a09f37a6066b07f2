"""A run from its configuration to its last file: what it writes, how it resumes, how it fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hrm_sweep.config import RunConfig, load_config, write_config
from hrm_sweep.errors import ConfigError, RunDirectoryError
from hrm_sweep.model.checkpoint import load_state, load_weights
from hrm_sweep.runs import (
    Cause,
    MetricRow,
    RunDirectory,
    State,
    Status,
    StopReason,
    read_environment,
    read_metrics,
    read_status,
)
from hrm_sweep.training import loop
from hrm_sweep.training.session import prepare, run_training

SMALL = {
    "arch.hidden_size": 16,
    "arch.num_heads": 2,
    "arch.halt_max_steps": 3,
    "global_batch_size": 100,
    "epochs": 6,
    "eval_interval": 2,
    "eval_puzzles": 20,
    "log_interval": 7,
}


def small_config(data: Path, **changes: object) -> RunConfig:
    return load_config("hrm_v1_tiny", {**SMALL, "data_path": str(data), **changes})


def without_time(rows: list[MetricRow]) -> list[str]:
    return [json.dumps({**json.loads(row.to_json()), "time_s": 0}) for row in rows]


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_weights(one), load_weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_writes_what_the_contract_says(tmp_path: Path, sudoku_4x4: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    status = run_training(small_config(sudoku_4x4, checkpoint_every_eval=True), directory, threads=1)
    assert status.state is State.COMPLETED, status.message
    assert status == read_status(directory.status)
    assert load_config(directory.config).epochs == 6
    environment = read_environment(directory.environment)
    assert environment is not None
    assert environment.threads == 1
    assert [step for step, _ in directory.all_step_weights()] == [20, 40, 60]
    assert load_state(directory.last_checkpoint)["iteration"] == 4

    rows = read_metrics(directory.metrics)
    evaluations = [row for row in rows if row.kind == "eval"]
    assert [(row.step, row.epoch) for row in evaluations] == [(20, 2), (40, 4), (60, 6)]
    for row in evaluations:
        assert {"loss", "lm_loss", "accuracy", "exact_accuracy", "q_halt_loss", "q_halt_accuracy"} <= row.values.keys()
        assert row.values["count"] == 20
        assert row.values["act_steps"] == 3
    train = [row for row in rows if row.kind == "train"]
    assert [row.step for row in train] == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    for row in train:
        assert sum(row.act_histogram) == row.values["count"]
        assert row.modules["puzzle_emb"]["rows_visited"] == 1
        assert row.modules["puzzle_emb"]["mean_abs_movement"] == pytest.approx(
            row.modules["puzzle_emb"]["expected_movement"], rel=0.05
        )
    modules = {"embed_tokens", "H_level", "L_level", "lm_head", "q_head"}
    for group in ("grad_norm", "update_norm", "weight_norm"):
        assert set(train[0].modules[group]) == modules


def test_values_over_halted_slots_are_absent_when_nothing_halted(tmp_path: Path, sudoku_4x4: Path) -> None:
    """All slots start together, so with 5 ACT steps (and Q values that never move) nothing halts in steps 1 to 4."""
    changes = {"arch.halt_max_steps": 5, "log_interval": 1, "epochs": 1, "eval_interval": 1, "lr": 0.0}
    directory = RunDirectory(tmp_path)
    run_training(small_config(sudoku_4x4, **changes), directory, threads=1)
    rows = [row for row in read_metrics(directory.metrics) if row.kind == "train"]
    for row in rows:
        halts = row.step % 5 == 0
        assert row.values["count"] == (100 if halts else 0)
        for name in ("accuracy", "exact_accuracy", "act_steps", "q_halt_accuracy"):
            assert (name in row.values) == halts
        assert "lm_loss" in row.values


def test_intervals_are_sums_over_counts(tmp_path: Path, sudoku_4x4: Path) -> None:
    """The same run logged step by step and in intervals of 10 says the same."""
    for interval in (1, 10):
        run_training(small_config(sudoku_4x4, log_interval=interval), RunDirectory(tmp_path / str(interval)), threads=1)
    fine, coarse = (
        [row for row in read_metrics(RunDirectory(tmp_path / name).metrics) if row.kind == "train"]
        for name in ("1", "10")
    )
    for row in coarse:
        part = [f for f in fine if row.step - 10 < f.step <= row.step]
        count = sum(f.values["count"] for f in part)
        assert row.values["count"] == count
        accuracy = sum(f.values.get("accuracy", 0) * f.values["count"] for f in part) / count
        assert row.values["accuracy"] == pytest.approx(accuracy, rel=1e-5)
        assert row.values["loss"] == pytest.approx(sum(f.values["loss"] for f in part) / len(part), rel=1e-5)


KILLED = """
import os, signal, sys
from pathlib import Path
from hrm_sweep.config import load_config
from hrm_sweep.runs import RunDirectory
from hrm_sweep.training.session import run_training

def kill_at(row):
    if row.kind == "train" and row.step >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

run_training(load_config(sys.argv[1]), RunDirectory(Path(sys.argv[2])), threads=1, on_row=kill_at)
"""


@pytest.mark.parametrize("killed_at", [7, 49])  # before the first checkpoint, and between the second and the third
def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path, sudoku_4x4: Path, killed_at: int) -> None:
    config = small_config(sudoku_4x4, **{"arch.halt_exploration_prob": 0.5})
    whole, broken = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "broken")
    run_training(config, whole, threads=1)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(whole.config), str(broken.path), str(killed_at)], check=False
    )
    assert process.returncode == -signal.SIGKILL
    killed_status = read_status(broken.status)
    assert killed_status is not None
    assert killed_status.state is State.RUNNING
    assert not killed_status.owner.is_alive()

    status = run_training(config, broken, resume=True, threads=1)
    assert status.state is State.COMPLETED, status.message
    assert same_weights(whole.step_weights(60), broken.step_weights(60))
    assert same_weights(whole.best_checkpoint, broken.best_checkpoint)
    assert without_time(read_metrics(whole.metrics)) == without_time(read_metrics(broken.metrics))
    assert broken.lost_metrics.exists()


def test_a_run_stopped_in_mid_interval_resumes_bit_for_bit(tmp_path: Path, sudoku_4x4: Path) -> None:
    config = small_config(sudoku_4x4)
    whole, parts = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "parts")
    run_training(config, whole, threads=1)
    steps = iter(range(1000))
    status = run_training(config, parts, threads=1, stop=lambda: StopReason.PREEMPTED if next(steps) == 25 else None)
    assert (status.state, status.cause, status.step) == (State.STOPPED, Cause.PREEMPTED, 26)
    run_training(config, parts, resume=True, threads=1)
    assert same_weights(whole.step_weights(60), parts.step_weights(60))
    assert without_time(read_metrics(whole.metrics)) == without_time(read_metrics(parts.metrics))


def test_a_pruned_run_keeps_no_new_checkpoint(tmp_path: Path, sudoku_4x4: Path) -> None:
    directory = RunDirectory(tmp_path)
    status = run_training(small_config(sudoku_4x4), directory, threads=1, stop=lambda: StopReason.PRUNED)
    assert status.state is State.PRUNED
    assert not directory.checkpoints.exists()


def test_the_best_checkpoint_is_that_of_the_best_evaluation(tmp_path: Path, sudoku_4x4: Path) -> None:
    """With a learning rate that falls apart, the last evaluation is not the best one."""
    directory = RunDirectory(tmp_path)
    changes = {"lr": 3e-3, "epochs": 12, "eval_interval": 1, "checkpoint_every_eval": True, "arch.halt_max_steps": 1}
    run_training(small_config(sudoku_4x4, **changes), directory, threads=1)
    evaluations = [row for row in read_metrics(directory.metrics) if row.kind == "eval"]
    best = max(evaluations, key=lambda row: (row.values["exact_accuracy"], row.values["accuracy"], -row.step))
    assert same_weights(directory.best_checkpoint, directory.step_weights(best.step))


def test_a_run_ends_when_it_is_solved_or_out_of_time(tmp_path: Path, sudoku_4x4: Path) -> None:
    solved = run_training(small_config(sudoku_4x4, stop_when_solved=0.0), RunDirectory(tmp_path / "s"), threads=1)
    assert (solved.state, solved.step) == (State.COMPLETED, 20)
    late = run_training(small_config(sudoku_4x4, max_seconds=1e-6), RunDirectory(tmp_path / "t"), threads=1)
    assert (late.state, late.step) == (State.STOPPED, 1)


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, sudoku_4x4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory(tmp_path)
    poisoned: list[int] = []
    run_weights: list[torch.Tensor] = []

    def poison(row: MetricRow) -> None:
        if row.step > 20 and not poisoned:  # the first checkpoint is that of step 20
            poisoned.append(row.step)
            with torch.no_grad():
                run_weights[0].fill_(float("nan"))

    original = loop.Run.train

    def remember(self: loop.Run, resume: bool) -> Status:
        run_weights.extend(self.model.parameters())
        return original(self, resume)

    monkeypatch.setattr(loop.Run, "train", remember)
    status = run_training(small_config(sudoku_4x4), directory, threads=1, on_row=poison)
    assert (status.state, status.cause) == (State.FAILED, Cause.NAN)
    assert "optimizer step 22" in status.message
    last = read_metrics(directory.metrics)[-1]
    assert last.values["loss"] != last.values["loss"]
    assert '"loss": "NaN"' in directory.metrics.read_text().splitlines()[-1]
    kept = load_weights(directory.last_checkpoint)
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())


def test_a_batch_larger_than_an_interval_is_an_error(tmp_path: Path, sudoku_4x4: Path) -> None:
    with pytest.raises(ConfigError, match=r"global_batch_size 4000 .*2000 rows"):
        prepare(small_config(sudoku_4x4, global_batch_size=4000))


def test_one_process_writes_a_run(tmp_path: Path, sudoku_4x4: Path) -> None:
    directory = RunDirectory(tmp_path)
    config = small_config(sudoku_4x4, epochs=2)
    seen: list[str] = []

    def second_writer(row: MetricRow) -> None:
        with pytest.raises(RunDirectoryError, match="another process"):
            run_training(config, directory, resume=True, threads=1)
        seen.append(row.kind)

    run_training(config, directory, threads=1, on_row=second_writer)
    assert seen
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        run_training(config, directory, threads=1)


def test_resuming_another_configuration_is_refused_with_the_difference(tmp_path: Path, sudoku_4x4: Path) -> None:
    directory = RunDirectory(tmp_path)
    run_training(small_config(sudoku_4x4, max_seconds=1e-6), directory, threads=1)
    status = run_training(small_config(sudoku_4x4, lr=5e-4), directory, resume=True, threads=1)
    assert status.cause is Cause.CONFIG
    assert "lr: 0.001 -> 0.0005" in status.message


def test_an_unknown_device_is_refused(tmp_path: Path, sudoku_4x4: Path) -> None:
    status = run_training(small_config(sudoku_4x4, device="warp9"), RunDirectory(tmp_path), threads=1)
    assert status.cause is Cause.CONFIG
    assert "warp9" in status.message


@pytest.mark.parametrize("limit_bytes", [40_000, 4_000])
def test_a_full_disk_ends_the_run_with_cause_storage_and_no_half_file(
    tmp_path: Path, sudoku_4x4: Path, limit_bytes: int
) -> None:
    """A file size limit makes the system refuse to write, as a full disk does (another errno, the same path)."""
    directory = RunDirectory(tmp_path / "run")
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from hrm_sweep.config import load_config\n"
        "from hrm_sweep.runs import RunDirectory\n"
        "from hrm_sweep.training.session import run_training\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))\n"
        "status = run_training(load_config(sys.argv[1]), RunDirectory(Path(sys.argv[2])), threads=1)\n"
        "sys.exit(0 if status.cause == 'storage' else 3)\n"
    )
    config = tmp_path / "config.yaml"
    write_config(small_config(sudoku_4x4, log_interval=1, epochs=20), config)
    process = subprocess.run(
        [sys.executable, "-c", script, str(config), str(directory.path)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    leftovers = [path.name for path in directory.path.rglob("*.part")]
    assert leftovers == []
    if directory.last_checkpoint.exists():
        load_state(directory.last_checkpoint)
    assert directory.metrics.stat().st_size <= limit_bytes
