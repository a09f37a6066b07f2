"""`hrm-sweep train` as a user runs it: real processes, their output, exit codes and files."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hrm_sweep.runs import Cause, RunDirectory, State, read_metrics, read_status

TINY = ["arch.hidden_size=16", "arch.num_heads=2", "arch.halt_max_steps=2", "global_batch_size=100", "eval_puzzles=20"]


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_a_preset_trains_and_says_what_to_do_next(folder: Path, sudoku_4x4: Path) -> None:
    done = hrm_sweep("train", "hrm_v1_tiny", *TINY, "epochs=4", f"data_path={sudoku_4x4}", folder=folder)
    assert done.returncode == 0, done.stderr
    lines = re.sub(r"\d+\.\d+ s", "T s", re.sub(r"tiny-\d{8}-\d{6}", "tiny-DATE", done.stdout)).splitlines()
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert lines[: len(warnings)] == warnings  # before it starts, what somebody would wonder about afterwards
    assert [warning.split(": ")[1] for warning in warnings] == ["epochs", "lr_warmup_steps"]
    lines = lines[len(warnings) :]
    assert lines[0].startswith("26,850 parameters, 40 optimizer steps, 4 evaluations, ")
    evaluations = [line for line in lines if line.startswith("epoch")]
    assert [line.split(":")[0] for line in evaluations] == [f"epoch {n}, step {10 * n}" for n in (1, 2, 3, 4)]
    assert re.fullmatch(r"done: 40 optimizer steps in T s, best exact accuracy 0\.\d{3}", lines[-3])
    assert lines[-2] == "run directory: trials/runs/hrm_v1_tiny-DATE"
    assert lines[-1] == "next: hrm-sweep diagnose trials/runs/hrm_v1_tiny-DATE"
    directory = RunDirectory(next((folder / "trials" / "runs").iterdir()))
    assert directory.log.read_text().splitlines()[-1].startswith("next: hrm-sweep diagnose")
    assert len(read_metrics(directory.metrics)) == 8


@pytest.mark.parametrize(
    "arguments",
    [
        ["hrm_v1_balanced", "epochs=100", "eval_interval=20", "global_batch_size=256", "lr=1e-3"],
        ["hrm_v1_balanced", "epochs=50", "eval_interval=10"],
        ["arch.halt_max_steps=4", "epochs=20"],
        ["arch.halt_max_steps=8", "epochs=40", "checkpoint_path=checkpoints/stage1"],
        ["arch.halt_max_steps=16", "epochs=40", "checkpoint_path=checkpoints/stage2"],
    ],
)
def test_the_commands_of_the_note_work(folder: Path, sudoku_4x4: Path, arguments: list[str]) -> None:
    """`python pretrain.py arch=hrm_v1_balanced` becomes `hrm-sweep train hrm_v1_balanced`; narrow here, to be quick."""
    narrow = ["arch.hidden_size=16", "arch.num_heads=2", "arch.H_layers=1", "arch.L_layers=1", "max_seconds=0.1"]
    done = hrm_sweep("train", *arguments, *narrow, f"data_path={sudoku_4x4}", folder=folder)
    assert done.returncode == 0, done.stderr
    place = next((a.split("=")[1] for a in arguments if a.startswith("checkpoint_path")), "trials/runs")
    assert list((folder / place).rglob("metrics.jsonl"))


@pytest.mark.parametrize(
    ("signals", "cause"),
    [([signal.SIGINT], None), ([signal.SIGUSR2, signal.SIGTERM], Cause.PREEMPTED)],
    ids=["Ctrl-C", "the machine goes away, and says so twice"],
)
def test_a_signal_keeps_a_checkpoint_and_prints_the_command_that_continues(
    folder: Path, sudoku_4x4: Path, signals: list[signal.Signals], cause: Cause | None
) -> None:
    arguments = ["train", "hrm_v1_tiny", *TINY, "epochs=2000", f"data_path={sudoku_4x4}", "--run-dir", "my run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hrm_sweep", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    directory = RunDirectory(folder / "my run")
    deadline = time.monotonic() + 60
    while not read_metrics(directory.metrics) and time.monotonic() < deadline:
        time.sleep(0.05)
    for number in signals:
        process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output.splitlines()[-1] == "continue with: hrm-sweep train --resume --run-dir 'my run'"
    status = read_status(directory.status)
    assert status is not None
    assert (status.state, status.cause) == (State.STOPPED, cause)

    resumed = hrm_sweep("train", "--resume", "--run-dir", "my run", "max_seconds=0.1", folder=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert f"continuing at optimizer step {status.step}" in resumed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hrm_v1_tyni"], "did you mean hrm_v1_tiny?"),
        (["hrm_v1_tiny", "arch.halt_steps=4"], "arch.halt_steps: unknown key; the nearest valid key is arch.halt_max"),
        (["hrm_v1_tiny", "epochs=many"], "epochs: input should be a valid integer"),
        (["hrm_v1_tiny", "arch.num_heads=3"], "hidden_size 64 is not divisible by num_heads 3"),
        (["hrm_v1_tiny", "arch.num_heads=64"], "gives head_dim 1: rotary positions need an even one"),
        (["hrm_v1_tiny", "eval_interval=7"], "eval_interval 7 does not divide epochs 60: choose one that does"),
        (["hrm_v1_tiny", "global_batch_size=100000"], "global_batch_size 100000 is larger than the data of one"),
        (["hrm_v1_tiny", "data_path=nowhere"], "nowhere"),
        (
            ["hrm_v1_tiny", "device=warp9"],
            "device: 'warp9' is no name of a device; expected auto, cpu, cuda, cuda:N or",
        ),
        (["hrm_v1_tiny", "device=gpu"], "expected auto, cpu, cuda, cuda:N or mps; cuda is a GPU"),
        (["hrm_v1_tiny", "device=cuda:77"], "device: 'cuda:77' is not available here; use auto, cpu"),
        (["quickstart"], "quickstart: a shipped search space, where one configuration is expected; `hrm-sweep run qui"),
        (["hrm_v1_tiny", "epochs"], "'epochs': expected key=value"),
        (["--resume"], "--resume: no --run-dir given"),
        (["--resume", "--run-dir", "nothing"], "--resume: nothing: expected the folder of a run"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing_behind(
    folder: Path, sudoku_4x4: Path, arguments: list[str], message: str
) -> None:
    data = [] if any(a.startswith("data_path") for a in arguments) else [f"data_path={sudoku_4x4}"]
    failed = hrm_sweep("train", *arguments, *data, folder=folder)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert failed.stderr.startswith("error: ")
    assert "Traceback" not in failed.stderr
    assert list(folder.iterdir()) == []


def test_a_run_is_not_overwritten(folder: Path, sudoku_4x4: Path) -> None:
    arguments = ["train", "hrm_v1_tiny", *TINY, "epochs=1", f"data_path={sudoku_4x4}", "--run-dir", "r"]
    assert hrm_sweep(*arguments, folder=folder).returncode == 0
    before = RunDirectory(folder / "r").metrics.read_bytes()
    again = hrm_sweep(*arguments, folder=folder)
    assert again.returncode == 2
    assert "already holds a run; continue it with --resume" in again.stderr
    assert RunDirectory(folder / "r").metrics.read_bytes() == before
