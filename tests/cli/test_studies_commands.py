"""`studies`, `clean` and `dashboard` on a study that was really run."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

from small_studies import STORAGE, small_space

from hrm_sweep.cli.studies import studies
from hrm_sweep.sweep.housekeeping import list_studies
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import create_or_continue

quiet_optuna()
SMALL = [
    *("arch.hidden_size=16", "arch.num_heads=2", "arch.H_cycles=1", "arch.L_cycles=1", "arch.halt_max_steps=2"),
    *("epochs=20", "eval_interval=10", "eval_puzzles=20"),
]


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two trials; the second has a learning rate at which nothing is solved by epoch 20."""
    folder = tmp_path_factory.mktemp("a study's folder")
    data = Path(__file__).parents[1] / "fixtures" / "sudoku-4x4"
    space = {
        "name": "pair",
        "base": "hrm_v1_tiny",
        "parameters": {"lr": {"values": [1e-6, 1e-3]}},
        "first": [{"lr": 1e-3}, {"lr": 1e-6}],
        "pruner": {"zero_accuracy": {"epoch": 20}},
        "budget": {"trials": 2},
    }
    (folder / "pair.yaml").write_text(json.dumps(space))
    done = hrm_sweep("run", "pair.yaml", "--jobs", "1", f"data_path={data}", *SMALL, folder=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1 where no trial completed
    return folder


def test_studies_lists_trials_best_value_and_disk(studied: Path) -> None:
    (line,) = json.loads(hrm_sweep("studies", "--json", folder=studied).stdout)
    assert (line["name"], line["metric"], line["budget"]) == ("pair", "exact_accuracy", 2)
    assert sum(line["counts"].values()) == 2
    assert line["counts"]["pruned"] >= 1
    assert line["disk_bytes"] > 1000
    assert "pair" in hrm_sweep("studies", folder=studied).stdout


def test_a_trial_that_was_tried_again_counts_once(folder: Path) -> None:
    study = create_or_continue(STORAGE, "small", small_space())
    preempted = {"cause": "preempted"}
    for trial in (
        create_trial(state=TrialState.FAIL, user_attrs=preempted),
        create_trial(state=TrialState.FAIL, user_attrs=preempted),
        create_trial(value=0.5, user_attrs={"retry_of": 0}),
        create_trial(state=TrialState.FAIL, user_attrs={"cause": "config"}),
    ):
        study.optuna.add_trial(trial)
    (line,) = list_studies(STORAGE)
    assert line.counts == {"complete": 1, "to be retried": 1, "failed": 1}


@pytest.mark.parametrize(
    ("name", "stays_whole"),
    [("quickstart-confirm-again", True), ("a-name-of-forty-characters-x-and-confirm", True), ("n" * 70, False)],
)
def test_the_name_of_a_study_is_broken_only_where_nothing_else_fits(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, stays_whole: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    study = create_or_continue(STORAGE, name, small_space(name=name))
    study.optuna.add_trial(create_trial(value=0.862))
    study.optuna.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"cause": "config"}))
    confirmed = {"study": "x", "metric": "exact_accuracy", "verdict": "winner", "leading": ["trial 0"], "scores": []}
    study.optuna.set_user_attr("confirmed", confirmed)
    studies()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith(name) == stays_whole
    assert "".join(line.split(" ")[0] for line in lines[1:]) == name
    assert "0.862" in " ".join(lines)


def test_clean_frees_checkpoints_says_how_much_and_keeps_metrics(studied: Path) -> None:
    checkpoint = studied / "trials" / "pair" / "0000" / "checkpoints" / "best.pt"
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.write_bytes(b"x" * 5000)
    done = hrm_sweep("clean", "pair", folder=studied)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trials/pair: 1 checkpoint removed, 5 kB freed\n"
    assert not checkpoint.exists()
    for number in ("0000", "0001"):
        assert (studied / "trials" / "pair" / number / "metrics.jsonl").stat().st_size > 0
    assert hrm_sweep("clean", "pair", folder=studied).stdout == "trials/pair: 0 checkpoints removed, 0 B freed\n"


def test_the_dashboard_answers_when_it_says_so_and_ends_with_ctrl_c(studied: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hrm_sweep", "dashboard", "--study", "pair", "--port", "0"],
        cwd=studied,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=30) as page:
            assert page.status == 200
        base = address.split("/dashboard")[0]
        with urllib.request.urlopen(f"{base}/api/studies", timeout=30) as answer:
            assert [study["study_name"] for study in json.load(answer)["study_summaries"]] == ["pair"]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clean", "pari"], "pari: no study of this name; did you mean pair?"),
        (["dashboard", "--study", "pari"], "did you mean pair?"),
        (["studies", "--storage", "sqlite:///elsewhere.db"], "no studies there yet; start one with `hrm-sweep run`"),
        (["dashboard", "--storage", "elsewhere.db"], "expected a URL such as sqlite:///trials/optuna.db"),
    ],
)
def test_what_does_not_exist_is_named(studied: Path, arguments: list[str], message: str) -> None:
    failed = hrm_sweep(*arguments, folder=studied)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (studied / "elsewhere.db").exists()


def test_a_taken_port_is_named(studied: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        failed = hrm_sweep("dashboard", "--port", port, folder=studied)
    assert failed.returncode == 2
    assert f"port {port} is taken; name a free one with --port N" in failed.stderr
