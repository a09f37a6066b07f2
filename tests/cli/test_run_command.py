"""`hrm-sweep run` as a user runs it: real processes, real training of a very small model, real signals."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hrm_sweep.config import DataConfig
from hrm_sweep.data.build import ensure_data
from hrm_sweep.runs import read_metrics, read_status
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, open_study

quiet_optuna()
STORAGE = "sqlite:///trials/optuna.db"

# Puzzles with one blank each: two seconds of training solve most of them with lr 3e-3, and none with 1e-6.
PUZZLES = DataConfig(size=4, subsample_size=300, test_size=80, min_blanks=1, max_blanks=1)
SPACE: dict[str, Any] = {
    "name": "mine",
    "base": "hrm_v1_tiny",
    "overrides": {
        "arch": {"hidden_size": 16, "num_heads": 2, "H_cycles": 1, "L_cycles": 1, "halt_max_steps": 2},
        "global_batch_size": 30,
        "epochs": 20,
        "eval_interval": 5,
        "eval_puzzles": 30,
        "lr_warmup_steps": 10,
        "puzzle_emb_lr": 1e-5,
    },
    "parameters": {"lr": {"min": 1e-6, "max": 1e-2, "log": True}},
    "first": [{"lr": 1e-6}, {"lr": 3e-3}],
    "sampler": {"name": "random", "seed": 3},
    "pruner": {"zero_accuracy": {"epoch": 20}},
    "budget": {"trials": 2},
}


@pytest.fixture(scope="module")
def puzzles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_data(PUZZLES, tmp_path_factory.mktemp("puzzles"))


WriteSpace = Callable[..., None]


@pytest.fixture(scope="module")
def write_space(puzzles: Path) -> WriteSpace:
    """Writes mine.yaml into a folder; `overrides` are added to those of the space, other changes replace."""

    def write(folder: Path, *, overrides: dict[str, Any] | None = None, **changes: Any) -> None:
        content = {**SPACE, **changes}
        content["overrides"] = {**SPACE["overrides"], "data_path": str(puzzles), **(overrides or {})}
        (folder / "mine.yaml").write_text(json.dumps(content))

    return write


Studied = tuple[Path, subprocess.CompletedProcess[str]]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hrm_sweep", *arguments]


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HRM_SWEEP_CACHE": str(folder / "no speed is known")}
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, check=False, timeout=300, env=environment
    )


def study_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "mine") -> Study:
    monkeypatch.chdir(folder)
    return open_study(STORAGE, name)


def until(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, write_space: WriteSpace) -> Studied:
    """A folder with a study of a dead trial and one that learns a little, and what `run` said of it."""
    folder = tmp_path_factory.mktemp("a folder with 'quotes'")
    write_space(folder)
    done = hrm_sweep("run", "mine.yaml", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


def test_a_study_runs_from_its_space_to_its_summary(studied: Studied) -> None:
    _, done = studied
    said = re.sub(r"\d+ s\b|\d+ min", "TIME", done.stdout)
    lines = said.splitlines()
    assert done.stderr == ""
    assert re.fullmatch(r"mine: 2 trials, \d+ at once with 1 thread each, sampler random, seed 3", lines[0])
    assert lines[1:7] == [
        "varies lr; 3 combinations looked at, all can start",
        "storage sqlite:///trials/optuna.db, runs in trials/mine",
        "plan: 200 optimizer steps a trial, warm-up ends at 10; 26,850 parameters, 12 MiB of memory; fresh epochs "
        "10 to 18.2",
        "plan: 22.8 GFLOP a trial, 0.99 % of it evaluation; times unknown: `hrm-sweep plan mine.yaml` measures",
        "zero rule: fires at epoch 20 = optimizer step 200 of 200 (100.0%) with batch 30; warm-up ends at step 10",
        "trial 0: running, lr=1e-06",
    ]
    assert "trial 1: running, lr=0.003" in lines
    assert any(line.startswith("trial 0: pruned, zero_accuracy at epoch 20: no puzzle solved") for line in lines)
    summary = lines[lines.index("") :]
    assert summary[1] == "mine: 1 complete, 1 pruned in TIME"
    assert re.fullmatch(r"best: trial 1, exact_accuracy [01]\.\d{3} on the puzzles it was selected by", summary[2])
    assert summary[3:5] == ["  lr=0.003", "  trials/mine/0001/config.yaml"]
    assert re.match(r"on puzzles that selection never saw: \d+\.\d% solved \(\d+ of 50; 95 % interval ", summary[5])
    assert summary[-5:] == [
        "next:",
        "  hrm-sweep diagnose trials/mine/0000  # why this one did not learn",
        "  hrm-sweep confirm mine  # is the best one good, or was it lucky?",
        "  hrm-sweep train trials/mine/0001/config.yaml seed=1  # the best one again, with another seed",
        "  hrm-sweep dashboard  # all trials in the browser",
    ]


def test_everything_a_trial_was_stands_in_the_storage_and_in_its_folder(
    studied: Studied, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = studied
    study = study_in(folder, monkeypatch)
    dead, learned = study.trials()
    assert dead.user_attrs["pruned_by"].startswith("zero_accuracy at epoch 20: ")
    assert dead.user_attrs["verdict"]
    assert [trial.user_attrs["seed"] for trial in (dead, learned)] == [3, 4]
    assert learned.intermediate_values.keys() == {5, 10, 15, 20}
    assert learned.value == max(learned.intermediate_values.values())
    holdout = study.attribute("holdout")
    assert (holdout["trial"], holdout["n"]) == (1, 50)
    for number, checkpoints in ((0, []), (1, ["best.pt"])):
        directory = study.run_directory(number)
        kept = sorted(path.name for path in directory.checkpoints.iterdir()) if directory.checkpoints.is_dir() else []
        assert kept == checkpoints
        assert directory.all_step_weights() == []
        for path in (directory.config, directory.metrics, directory.log, directory.environment, directory.diagnosis):
            assert path.stat().st_size > 0


def test_running_again_is_the_same_study_up_to_the_budget(
    studied: Studied,
) -> None:
    folder, first = studied
    again = hrm_sweep("run", "mine.yaml", folder=folder)
    assert again.returncode == 0, again.stderr
    assert "the budget was reached before: nothing to run; --trials N makes it larger" in again.stdout
    unseen = [line for line in first.stdout.splitlines() if line.startswith("on puzzles that selection never saw")]
    assert unseen[0] in again.stdout


def test_a_budget_that_is_smaller_than_what_has_ended_is_said_to_be(studied: Studied, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(studied[0], folder)
    less = hrm_sweep("run", "mine.yaml", "--trials", "1", folder=folder)
    assert less.returncode == 0, less.stderr
    assert "2 trials have ended already, more than the budget of 1 allows\n" in less.stdout


def test_a_changed_space_is_refused_with_the_difference(
    studied: Studied,
) -> None:
    folder, _ = studied
    refused = hrm_sweep("run", "mine.yaml", "epochs=40", folder=folder)
    assert (refused.returncode, refused.stderr.splitlines()[1]) == (2, "  overrides.epochs: was 20, now 40")
    other_seed = hrm_sweep("run", "mine.yaml", "--seed", "4", folder=folder)
    assert other_seed.returncode == 2
    assert "was started with --seed 3, not 4" in other_seed.stderr


REFUSED = [
    (["nowhere.yaml"], "nowhere.yaml: neither a shipped search space ("),
    (["mine.yaml", "epoch=3"], "mine.yaml with epoch=3: overrides.epoch: unknown key; the nearest valid key is epochs"),
    (["mine.yaml", "more"], "'more': expected key=value after the search space"),
    (["mine.yaml", "--jobs", "many"], "--jobs: expected auto or a whole number, 0 or more, found 'many'"),
    ([""], "'': expected a search space, found an empty name"),
    (["--study", "nope"], "to start one, name its search space: `hrm-sweep run quickstart --study nope`"),
    (["mine.yaml", "--study", "../up"], "--study: '../up' cannot be the name of a study"),
    (["mine.yaml", "--storage", "optuna.db"], "--storage: expected a URL such as sqlite:///trials/optuna.db"),
    (["mine.yaml", "--engine", "dask"], "--engine: expected debug, local, ray, slurm, found 'dask'"),
    (["mine.yaml", "global_batch_size=9999"], "no combination of this space can start, every trial would fail"),
    (["mine.yaml", "data_path=missing"], "missing: expected a puzzle folder, found nothing"),
    (["mine.yaml", "eval_interval=3"], "eval_interval 3 does not divide epochs 20"),
    (["mine.yaml", "--storage", "postgresql://me:s3cr3t@127.0.0.1:1/x"], "postgresql://me:***@127.0.0.1:1/x: "),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_bad_input_is_named_and_leaves_nothing_behind(
    folder: Path, write_space: WriteSpace, arguments: list[str], message: str
) -> None:
    write_space(folder)
    refused = hrm_sweep("run", *arguments, folder=folder)
    assert refused.returncode == 2, refused.stdout
    assert refused.stderr.startswith("error: ")
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "s3cr3t" not in refused.stderr + refused.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["mine.yaml"]


LONG = {"epochs": 2000, "eval_interval": 10}


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command("run", *arguments), cwd=folder, stdout=pipe, stderr=pipe, text=True)


def test_two_ctrl_c_checkpoint_and_the_command_that_is_printed_continues(
    folder: Path, write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = folder / "trials" / "mine" / "0000" / "metrics.jsonl"
    write_space(folder, overrides=LONG, first=[{"lr": 3e-3}], pruner={}, budget={"trials": 1})
    with started(folder, "mine.yaml", "--jobs", "1") as process:
        until(lambda: any(row.kind == "eval" for row in read_metrics(metrics)), process)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        said = iter(process.stdout.readline, "")
        heard = list(itertools.takewhile(lambda line: line != "continue with: hrm-sweep run --study mine\n", said))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    assert heard[-1] == "no new trials; waiting for those that run (Ctrl-C again: checkpoint and end now)\n"
    assert "ending: running trials write a checkpoint (Ctrl-C again: end without waiting)" in out
    assert "continue with: hrm-sweep run --study mine\n" in out
    study = study_in(folder, monkeypatch)
    (trial,) = study.trials()
    assert trial.user_attrs["cause"] == "preempted"
    before = read_metrics(metrics)[-1].step
    status = read_status(study.run_directory(0).status)
    assert status is not None
    assert not status.owner.is_alive()
    with started(folder, "--study", "mine") as process:
        until(lambda: read_metrics(metrics)[-1].step > before, process)
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM):  # however often: a checkpoint, no kill
            process.send_signal(number)
        process.communicate(timeout=120)
    assert process.returncode == 130
    assert "continuing at optimizer step " in study.run_directory(0).log.read_text()
    steps = [row.step for row in read_metrics(metrics) if row.kind == "train"]
    assert steps == sorted(set(steps))
    assert [one.user_attrs.get("retry_of") for one in study.trials()] == [None, 0]
    assert [one.user_attrs["cause"] for one in study.trials()] == ["preempted", "preempted"]


def test_one_ctrl_c_lets_the_running_trial_end(
    folder: Path, write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = folder / "trials" / "mine" / "0000" / "metrics.jsonl"
    write_space(folder, first=[{"lr": 3e-3}], budget={"trials": 5})
    with started(folder, "mine.yaml", "--jobs", "1") as process:
        until(lambda: read_metrics(metrics), process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "  hrm-sweep run --study mine  # continues" in out
    assert [trial.state.name for trial in study_in(folder, monkeypatch).trials()] == ["COMPLETE"]


def test_the_parent_never_loads_torch_and_stays_small(folder: Path, write_space: WriteSpace) -> None:
    write_space(folder, overrides=LONG, pruner={}, budget={"trials": 1})
    with started(folder, "mine.yaml") as process:
        metrics = folder / "trials" / "mine" / "0000" / "metrics.jsonl"
        until(lambda: read_metrics(metrics), process)
        proc = Path(f"/proc/{process.pid}")
        if not proc.is_dir():
            pytest.skip("needs /proc to look into another process")
        peak = re.search(r"VmHWM:\s+(\d+) kB", (proc / "status").read_text())
        assert peak is not None
        assert int(peak[1]) < 200 * 1024
        assert "libtorch" not in (proc / "maps").read_text()
        process.terminate()
        process.communicate(timeout=120)
    assert process.returncode == 130


def test_no_trial_starts_after_its_hours_and_the_exit_code_says_it_ended_early(
    folder: Path, write_space: WriteSpace
) -> None:
    write_space(folder)
    done = hrm_sweep("run", "mine.yaml", "--hours", "1e-9", folder=folder)
    assert done.returncode == 1
    assert "no trial completed, so there is no best configuration" in done.stdout
    assert "  hrm-sweep run --study mine  # continues" in done.stdout
    connection = sqlite3.connect(folder / "trials" / "optuna.db")
    assert connection.execute("SELECT count(*) FROM trials").fetchone() == (0,)
    connection.close()
    again = hrm_sweep("run", "--study", "mine", "--jobs", "0", folder=folder)
    assert "hours" not in again.stdout.splitlines()[0]  # they were of that call


def test_a_study_can_be_made_here_and_run_by_workers_elsewhere(folder: Path, write_space: WriteSpace) -> None:
    write_space(folder, budget={"trials": 1})
    made = hrm_sweep("run", "mine.yaml", "epochs=5", "--jobs", "0", folder=folder)
    assert made.returncode == 0, made.stdout + made.stderr
    line = made.stdout.splitlines()[-1]
    assert line == ("no trial is started here; on each host that is to run some: hrm-sweep worker --study mine")
    worked = hrm_sweep(*line.partition("hrm-sweep ")[2].split(), folder=folder)
    assert worked.returncode == 0, worked.stdout + worked.stderr
    assert "1 of 1 trials ended" in hrm_sweep("status", "mine", folder=folder).stdout


def test_the_debug_engine_runs_a_study_in_this_process(folder: Path, write_space: WriteSpace) -> None:
    write_space(folder, budget={"trials": 1})
    done = hrm_sweep("run", "mine.yaml", "epochs=5", "lr=3e-3", "--engine", "debug", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list((folder / "trials" / "mine").glob("worker-*.log"))
