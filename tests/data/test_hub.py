"""Puzzles from the Hugging Face hub, which a server on the loopback stands in for."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub_stand_in import hub_serving
from made_up_data import FIXTURES

from hrm_sweep.config import DataConfig
from hrm_sweep.data.sources.csv_files import from_csv_files
from hrm_sweep.data.sources.hub import from_hub
from hrm_sweep.errors import DataError

MINI = FIXTURES / "sudoku-extreme-mini"
# Nothing listens there: the discard port is privileged and long out of use.
NOWHERE = "http://127.0.0.1:9"


def asked(repository: str, **choices: object) -> DataConfig:
    return DataConfig.model_validate({"source": "hub", "hub": repository, **choices})


def test_a_published_set_gives_the_puzzles_of_its_files(tmp_path: Path) -> None:
    request = asked("someone/sudoku", subsample_size=20, min_difficulty=1, seed=3)
    with hub_serving("someone/sudoku", MINI) as (endpoint, seen):
        fetched = from_hub(request, endpoint=endpoint, cache_dir=tmp_path)
    files = request.model_copy(update={"csv": (str(MINI / "train.csv"), str(MINI / "test.csv"))})
    for ours, expected in zip(fetched, from_csv_files(files), strict=True):
        assert (ours.questions == expected.questions).all()
        assert (ours.answers == expected.answers).all()
    assert "GET /datasets/someone/sudoku/resolve/main/train.csv" in seen


def test_a_set_that_was_fetched_before_works_without_the_hub(tmp_path: Path) -> None:
    with hub_serving("someone/sudoku", MINI) as (endpoint, _):
        first = from_hub(asked("someone/sudoku"), endpoint=endpoint, cache_dir=tmp_path)
    again = from_hub(asked("someone/sudoku"), endpoint=endpoint, cache_dir=tmp_path)
    assert [len(puzzles) for puzzles in first] == [len(puzzles) for puzzles in again] == [60, 20]


def test_a_hub_that_cannot_be_reached_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"someone/sudoku: {NOWHERE} cannot be reached, .* --csv TRAIN TEST"):
        from_hub(asked("someone/sudoku"), endpoint=NOWHERE, cache_dir=tmp_path)


def test_a_set_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with (
        hub_serving("someone/sudoku", MINI) as (endpoint, _),
        pytest.raises(
            DataError, match=r"someone/sudoko: no such data set on .*, or it is not public; expected owner/name"
        ),
    ):
        from_hub(asked("someone/sudoko"), endpoint=endpoint, cache_dir=tmp_path)


def test_a_set_without_the_two_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").write_bytes((MINI / "train.csv").read_bytes())
    with (
        hub_serving("someone/sudoku", tmp_path / "set") as (endpoint, _),
        pytest.raises(DataError, match=r"someone/sudoku: no test\.csv in this data set on .*; expected train\.csv and"),
    ):
        from_hub(asked("someone/sudoku"), endpoint=endpoint, cache_dir=tmp_path / "cache")


def test_a_name_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a/b/c/d: expected a data set as owner/name"):
        from_hub(asked("a/b/c/d"), endpoint=NOWHERE, cache_dir=tmp_path)


def test_a_connection_that_breaks_off_is_an_error_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the attempts of huggingface_hub
    with (
        hub_serving("someone/sudoku", MINI, break_off=True) as (endpoint, _),
        pytest.raises(DataError, match=r"someone/sudoku: train\.csv could not be fetched from .* --csv TRAIN TEST"),
    ):
        from_hub(asked("someone/sudoku"), endpoint=endpoint, cache_dir=tmp_path)
    with hub_serving("someone/sudoku", MINI) as (endpoint, _):
        assert len(from_hub(asked("someone/sudoku"), endpoint=endpoint, cache_dir=tmp_path)[0]) == 60


def test_without_the_extra_the_way_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_hub(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "huggingface_hub":
            raise ImportError(name)
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_hub)
    with pytest.raises(DataError) as caught:
        from_hub(asked("someone/sudoku"))
    assert str(caught.value) == (
        "someone/sudoku: fetching from the Hugging Face hub needs huggingface_hub; install it with "
        "`pip install 'hrm-sweep[hub]'`, or fetch train.csv and test.csv elsewhere, then `hrm-sweep data sudoku --csv "
        "TRAIN TEST --output-dir DIR` builds a folder of them, which data_path=DIR takes (the preset hrm_v1_tiny needs "
        "no download)"
    )


def test_the_command_line_takes_the_hub_from_the_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hrm_sweep", "data", "sudoku", "--output-dir", str(tmp_path / "built")]
    with hub_serving("someone/sudoku", MINI) as (endpoint, _):
        done = subprocess.run(
            [*command, "--hub", "someone/sudoku", "--num-aug", "2"],
            env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "train  60 puzzles, with their symmetric copies 180 rows" in done.stdout
    assert "test   20 puzzles" in done.stdout
