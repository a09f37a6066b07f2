"""`hrm-sweep confirm` as a user runs it: real processes, real training of a very small model, a real kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from hrm_sweep.config import DataConfig, load_config
from hrm_sweep.data.build import ensure_data
from hrm_sweep.evaluation.selection import subset_indices
from hrm_sweep.runs import read_metrics
from hrm_sweep.runs.unseen import read_unseen
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import open_study

quiet_optuna()
STORAGE = "sqlite:///trials/optuna.db"
pytestmark = pytest.mark.proof

FRESH = [1_000_000, 1_000_001]

# Puzzles with one blank each: a second of training solves some of them with lr 3e-3.
PUZZLES = DataConfig(size=4, subsample_size=150, test_size=60, min_blanks=1, max_blanks=1)
SPACE: dict[str, Any] = {
    "name": "mine",
    "base": "hrm_v1_tiny",
    "overrides": {
        "arch": {"hidden_size": 16, "num_heads": 2, "H_cycles": 1, "L_cycles": 1, "halt_max_steps": 2},
        "data_path": "puzzles",
        "global_batch_size": 30,
        "epochs": 16,
        "eval_interval": 4,
        "eval_puzzles": 20,
        "lr_warmup_steps": 5,
    },
    "parameters": {"lr": {"values": [3e-3, 2e-3]}},
    "first": [{"lr": 3e-3}, {"lr": 2e-3}],
    "budget": {"trials": 2},
}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hrm_sweep", *arguments]


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two trials, its puzzles and an empty database beside it."""
    folder = tmp_path_factory.mktemp("a folder with 'quotes'")
    shutil.copytree(ensure_data(PUZZLES, tmp_path_factory.mktemp("built")), folder / "puzzles")
    (folder / "mine.yaml").write_text(json.dumps(SPACE))
    done = hrm_sweep("run", "mine.yaml", "--engine", "debug", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def confirmed(searched: Path) -> tuple[Path, dict[str, Any]]:
    """The same folder after a confirmation whose conductor was killed in its first run, and what the command that
    continued it with two workers printed as JSON."""
    arguments = ("confirm", "mine", "--top", "1", "--seeds", "2")
    pipe = subprocess.DEVNULL
    with subprocess.Popen(command(*arguments, "--jobs", "1"), cwd=searched, stdout=pipe, stderr=pipe) as process:
        metrics = searched / "trials" / "mine-confirm" / "0000" / "metrics.jsonl"
        give_up = time.monotonic() + 120
        while not any(row.kind == "eval" for row in read_metrics(metrics)):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < give_up, "waited in vain"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    done = hrm_sweep(*arguments, "--jobs", "2", "--json", folder=searched)
    assert done.returncode == 0, done.stdout + done.stderr
    (searched / "said.txt").write_text(done.stderr)
    return searched, json.loads(done.stdout)


def test_every_candidate_was_trained_once_on_every_seed_although_it_was_killed(
    confirmed: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = confirmed
    monkeypatch.chdir(folder)
    study = open_study(STORAGE, "mine-confirm")
    chains = study.chains()
    made = Counter((chain.first.user_attrs["candidate"], chain.first.user_attrs["seed"]) for chain in chains)
    assert made == Counter((candidate, seed) for candidate in range(2) for seed in FRESH)
    assert all(chain.last.state is TrialState.COMPLETE for chain in chains)
    assert (found["budget_reached"], found["exit_code"], found["runs"]) == (
        True,
        0,
        {"ended": 4, "planned": 4, "spared": 0},
    )
    best, baseline = [load_config(study.run_directory(chain.first.number).config) for chain in chains[:2]]
    assert (best.seed, baseline.seed) == (FRESH[0], FRESH[0])
    assert baseline.lr == load_config("hrm_v1_tiny").lr


def test_it_says_beforehand_how_long_it_takes_and_whether_there_is_a_race(
    confirmed: tuple[Path, dict[str, Any]],
) -> None:
    said = " ".join((confirmed[0] / "said.txt").read_text().split())
    assert "no race: 2 seeds are too few to drop anybody before the last one" in said
    assert re.search(
        r"about \d+ \w+ for 4 runs, were nobody dropped and each as long as the trials of mine, \d+ \w+", said
    )


def test_scores_are_those_of_unseen_puzzles_puzzle_by_puzzle(
    confirmed: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = confirmed
    monkeypatch.chdir(folder)
    study = open_study(STORAGE, "mine-confirm")
    unseen_places = subset_indices("holdout", 60, 20).tolist()
    for candidate in found["candidates"]:
        for run in candidate["runs"]:
            unseen = read_unseen(study.run_directory(run["trial"]).unseen)
            assert unseen is not None
            assert sorted([*unseen.solved, *unseen.not_solved]) == unseen_places
            assert run["score"] == pytest.approx(len(unseen.solved) / 40) == unseen.values["exact_accuracy"]
            rows = read_metrics(study.run_directory(run["trial"]).metrics)
            assert run["selection"] == max(row.values["exact_accuracy"] for row in rows if row.kind == "eval")
        mean = sum(run["score"] for run in candidate["runs"]) / 2
        assert candidate["confirmed"]["value"] == pytest.approx(mean)
    assert found["unseen_puzzles"] == 40
    assert [pair["puzzles"]["n"] for pair in found["pairs"]] == [40]
    assert found["verdict"] in ("tie", "winner")


def test_both_scores_stand_side_by_side_from_then_on(confirmed: tuple[Path, dict[str, Any]]) -> None:
    folder, found = confirmed
    one = next(each for each in found["candidates"] if not each["baseline"])
    beside = f"{one['name']}: {one['search']:.1%} in the search, {one['confirmed']['value']:.1%} confirmed ("
    for verb in ("best", "status"):
        told = hrm_sweep(verb, "mine", folder=folder).stdout
        assert f"  {beside}" in told
        assert "hrm-sweep confirm" not in told
    listed = json.loads(hrm_sweep("studies", "--json", folder=folder).stdout)
    assert {line["name"]: line["confirmed"] for line in listed}["mine"][1].startswith(found["verdict"])

    files = [word for kind in ("html", "md", "json") for word in (f"--{kind}", f"report.{kind}")]
    assert hrm_sweep("report", "mine", *files, folder=folder).returncode == 0
    written = json.loads((folder / "report.json").read_text())["confirmation"]
    assert written["candidates"] == found["candidates"]
    for page in (folder / "report.html", folder / "report.md"):
        text = page.read_text()
        assert "Scores of the search beside confirmed scores" in text
        assert f"{one['confirmed']['value']:.1%} (" in text
    printed = hrm_sweep("report", "mine", folder=folder).stdout
    assert "hrm-sweep confirm" not in printed
    assert re.search(
        rf"^  {one['name']} +{one['search']:.1%} +{one['confirmed']['value']:.1%} \(", printed, re.MULTILINE
    )


def test_of_the_confirmation_itself_the_verdict_comes_before_its_luckiest_run(
    confirmed: tuple[Path, dict[str, Any]],
) -> None:
    folder, found = confirmed
    said = hrm_sweep("best", "mine-confirm", folder=folder).stdout
    assert said.startswith(f"mine-confirm confirms mine. {found['verdict'].capitalize()}: ")
    assert "next: hrm-sweep best mine  # the configurations, with both scores\n" in said
    printed = hrm_sweep("report", "mine-confirm", folder=folder).stdout
    assert "Best configuration" not in printed
    assert "Confirmed on fresh seeds: " in printed.split("\n\n")[1]


def test_again_it_prints_the_same_and_other_wishes_are_refused(confirmed: tuple[Path, dict[str, Any]]) -> None:
    folder, found = confirmed
    again = hrm_sweep("confirm", "mine", "--json", folder=folder)
    assert json.loads(again.stdout) == found
    assert "the budget was reached before: nothing to run\n" in again.stderr
    for arguments, message in (
        (["--seeds", "3"], "mine-confirm: was begun with --seeds 2, not 3; leave --seeds out to continue it"),
        (["--top", "2"], "mine-confirm: was begun with --top 1, not 2"),
        (["--baseline", "hrm_v1"], "mine-confirm: was begun without one, not hrm_v1"),
        (["--name", "mine"], "mine: is there, and no confirmation of mine; choose another name with --name"),
    ):
        refused = hrm_sweep("confirm", "mine", *arguments, folder=folder)
        assert (refused.returncode, message in refused.stderr) == (2, True), refused.stderr


REFUSED = [
    (["min"], "min: no study of this name; did you mean mine?"),
    (["mine", "--name", "../up"], "--name: '../up' cannot be the name of a study"),
    (["mine", "--name", "x", "--baseline", "hrm_v2"], "--baseline hrm_v2: hrm_v2: neither a preset"),
    (["mine", "--name", "x", "--engine", "dask"], "--engine: expected debug, local, ray, slurm, found 'dask'"),
    (["mine", "--name", "x", "--jobs", "many"], "--jobs: expected auto or a whole number"),
    (["mine", "--name", "x", "--baseline", "big.yaml"], "global_batch_size: 9999 is larger than the data"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_bad_input_is_named_and_leaves_nothing_behind(searched: Path, arguments: list[str], message: str) -> None:
    (searched / "big.yaml").write_text(json.dumps({"epochs": 4, "eval_interval": 4, "global_batch_size": 9999}))
    refused = hrm_sweep("confirm", *arguments, folder=searched)
    assert refused.returncode == 2, refused.stdout
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    names = {line["name"] for line in json.loads(hrm_sweep("studies", "--json", folder=searched).stdout)}
    assert names <= {"mine", "mine-confirm"}
