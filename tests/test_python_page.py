"""docs/python.md does what it says: its study is run, its blocks are executed, and they print what the page shows."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_page import blocks, but_for_numbers, outputs

import hrm_sweep
from hrm_sweep.errors import RunDirectoryError, StudyError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study of the page was run."""
    folder = tmp_path_factory.mktemp("python page")
    pieces = blocks(PAGE)
    (space,) = [content for language, content in pieces if language == "yaml"]
    (command,) = [content for language, content in pieces if language == "console"]
    (folder / "mine.yaml").write_text(space, encoding="utf-8")
    words = shlex.split(command)
    assert words[0] == "hrm-sweep"
    subprocess.run([sys.executable, "-m", "hrm_sweep", *words[1:]], cwd=folder, check=True, capture_output=True)
    return folder


def test_the_page_prints_what_it_shows(studied: Path) -> None:
    for printed, shown in outputs(PAGE, studied):
        assert but_for_numbers(printed) == but_for_numbers(shown)


def test_a_row_for_each_row_of_metrics(studied: Path) -> None:
    run = hrm_sweep.load_run(studied / "trials" / "mine" / "0000")
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert len(run.metrics) == len(lines)
    assert list(run.metrics["step"]) == sorted(run.metrics["step"])
    assert set(run.metrics["kind"]) == {"train", "eval"}
    assert math.isnan(run.metrics.query("kind == 'eval'")["lr"].iloc[0])


def test_a_diagnosis_on_demand_writes_nothing(studied: Path) -> None:
    directory = studied / "trials" / "mine" / "0001"
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    assert hrm_sweep.load_run(directory).diagnosis.leading is not None
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before


def test_what_is_not_there_is_named(studied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(studied)
    with pytest.raises(RunDirectoryError, match="there is no such folder"):
        hrm_sweep.load_run("trials/mine/0009")
    with pytest.raises(StudyError, match="there is no trial 3; there are 3, counted from 0"):
        hrm_sweep.load_study("mine").run(3)
    with pytest.raises(StudyError, match="there is no trial 0000; there are 3, counted from 0"):
        hrm_sweep.load_study("mine").run("0000")  # type: ignore[arg-type]


def test_the_package_hands_out_what_it_promises_and_nothing_else() -> None:
    assert set(hrm_sweep.__all__) <= set(dir(hrm_sweep))
    for name in hrm_sweep.__all__:
        assert getattr(hrm_sweep, name).__module__.startswith("hrm_sweep.")
    with pytest.raises(AttributeError, match="no attribute 'load_everything'"):
        hrm_sweep.load_everything  # noqa: B018
