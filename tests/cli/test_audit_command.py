"""`hrm-sweep audit` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mixed_study import make_mixed_study
from PIL import Image

STORAGE = "sqlite:///trials/optuna.db"


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    before = Path.cwd()
    os.chdir(folder)
    try:
        make_mixed_study(STORAGE)
    finally:
        os.chdir(before)
    return folder


def audit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrm_sweep", "audit", *words]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env=environment
    )


def test_the_table_says_what_was_saved_and_lost_and_what_it_rests_on(studied: Path) -> None:
    done = audit(studied, "mixed", "--pruner", "zero_accuracy at 1, 2; successive_halving")
    assert (done.returncode, done.stderr) == (0, "")
    said = " ".join(done.stdout.split())
    assert said.startswith("15 trials were pruned; whether one of them would have won is not known")
    assert "0 of 11 (0-26)" in said
    assert "in the order in which they ended." in said
    assert "15 more were pruned and stop there" in said
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_page_picture_and_json_tell_of_the_same_pruners(studied: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "a.html", tmp_path / "a.png"
    wish = "zero_accuracy at 1, 2; median startup_trials=3; threshold at 1 lower=0.3; successive_halving"
    done = audit(studied, "mixed", "--pruner", wish, "--html", str(page), "--png", str(picture), "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["study"], told["recorded"], told["pruned"], told["audit"]["pruned"]) == ("mixed", 39, 15, 15)
    names = [one["pruner"] for one in told["pruners"]]
    assert names == [
        "zero_accuracy at 1",
        "zero_accuracy at 2",
        "median startup_trials=3",
        "threshold at 1 lower=0.3",
        "successive_halving",
    ]
    text = page.read_text()
    for one in told["pruners"]:
        assert one["pruner"] in text
        lost = one["top_quarter_lost"]
        assert 0 <= lost["low"] <= lost["share"] <= lost["high"] <= 1
        assert f"saves {100 * one['saved']:.0f} %" in text  # the figure in words
    with Image.open(picture) as image:
        assert image.size[0] == 760


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mixd"], "mixd: no study of this name; did you mean mixed?"),
        (["mixed", "--pruner", "nothing"], "--pruner: 'nothing': nothing: no such pruner; expected diagnosis"),
        (["mixed", "--png", "."], "--png .: is a folder; name a file in it"),
        (["mixed", "--pruner", "diagnosis", "--png", "x.png"], "mixed: all trials ended alike"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(studied: Path, words: list[str], message: str) -> None:
    done = audit(studied, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (studied / "x.png").exists()
