"""`show` on a run of the reference, whose puzzles have moved."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from hrm_sweep.cli import main

FIXTURES = Path(__file__).parents[1] / "fixtures"
OFFICIAL = FIXTURES / "official_runs" / "healthy"
SUDOKU = str(FIXTURES / "sudoku-4x4")


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hrm-sweep", "show", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_last_checkpoint_of_a_run_of_the_reference_is_watched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, str(OFFICIAL), "--data", SUDOKU, "--index", "7", "--index", "0") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{OFFICIAL / 'step_936'}, test puzzles of {SUDOKU}")
    assert out.index("puzzle 7, 7 cells to fill in") < out.index("puzzle 0,")
    assert out.count("step 8: ") == 2


def test_a_page_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert called(monkeypatch, str(OFFICIAL), "--data", SUDOKU, "--puzzles", "3", "--html", str(page)) == 0
    assert capsys.readouterr().out == ""
    assert page.read_text().count('class="puzzle"') == 3
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(OFFICIAL)], "was not found; name it with --data"),
        ([str(OFFICIAL), "--data", SUDOKU, "--index", "200"], "--index 200: the test puzzles are numbered 0 to 199"),
        (["nowhere"], "nowhere: there is no such folder"),
        ([str(FIXTURES / "runs" / "healthy"), "--data", SUDOKU], "no checkpoint in it"),
        ([str(OFFICIAL), "--data", SUDOKU, "--html", "."], "--html .: is a folder"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_a_readable_configuration_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(OFFICIAL, tmp_path / "run"))
    (run / "all_config.yaml").write_text("lr: [")
    assert called(monkeypatch, str(run), "--data", SUDOKU) == 2
    assert "all_config.yaml" in capsys.readouterr().err
