"""`compare`: runs of ours and of the reference side by side."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hrm_sweep.cli import main
from hrm_sweep.diagnosis.comparison import compare_runs
from hrm_sweep.evaluation.share import Share

FIXTURES = Path(__file__).parents[1] / "fixtures"
OURS = FIXTURES / "runs" / "healthy"
REFERENCE = FIXTURES / "official_runs" / "single_step"
SUDOKU = FIXTURES / "sudoku-4x4"

Edit = Callable[..., Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """A copy of the recorded run with another last score and other settings."""

    def make(name: str, solved: float, **changes: object) -> Path:
        run = Path(shutil.copytree(OURS, tmp_path / name))
        *rows, last, train = (run / "metrics.jsonl").read_text().splitlines()
        (run / "metrics.jsonl").write_text(
            "\n".join([*rows, json.dumps(json.loads(last) | {"exact_accuracy": solved}), train, ""])
        )
        config = yaml.safe_load((run / "config.yaml").read_text()) | changes
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        return run

    return make


def test_the_same_puzzles_and_a_clear_difference(edited: Edit) -> None:
    comparison = compare_runs([OURS, edited("better", 0.5, lr=0.5)], SUDOKU)
    assert [run.exact for run in comparison.runs] == [Share(0.11, 100), Share(0.5, 100)]
    assert [(one.key, one.values) for one in comparison.differences] == [("lr", (0.001, 0.5))]
    (sentence,) = comparison.sentences
    assert sentence == (
        "Runs 1 and 2 were measured on the same 100 puzzles; their 95 % intervals do not overlap "
        "(6.3% to 18.6% and 40.4% to 59.6%): run 2 is better."
    )


def test_intervals_that_overlap_settle_nothing(edited: Edit) -> None:
    (sentence,) = compare_runs([OURS, edited("alike", 0.13)], SUDOKU).sentences
    assert "overlap (6.3% to 18.6% and 7.8% to 21.0%), so which one is better is not settled" in sentence


def test_equal_scores_are_equal() -> None:
    comparison = compare_runs([OURS, OURS], SUDOKU)
    assert comparison.sentences == ("Runs 1 and 2 were measured on the same 100 puzzles and solve as many of them.",)
    assert comparison.differences == ()


def test_runs_on_different_puzzles_are_not_comparable(edited: Edit) -> None:
    (sentence,) = compare_runs([OURS, REFERENCE], SUDOKU).sentences
    assert sentence == ("Runs 1 and 2 are not comparable: they were measured on different puzzles (100 and 200).")


def test_as_many_puzzles_are_not_the_same_puzzles(edited: Edit, tmp_path: Path) -> None:
    # The same folder under another name holds the same puzzles; one whose test puzzles were changed does not.
    named = {name: edited(name, 0.11, data_path=str(tmp_path / f"data-{name}")) for name in ("copy", "other")}
    for name in named:
        shutil.copytree(SUDOKU, tmp_path / f"data-{name}")
    labels = tmp_path / "data-other" / "test" / "all__labels.npy"
    content = bytearray(labels.read_bytes())
    content[-64:] = content[-128:-64]
    labels.write_bytes(content)
    first, *others = (
        compare_runs([run]).runs[0].puzzles for run in (edited("own", 0.1, data_path=str(SUDOKU)), *named.values())
    )
    assert [other == first for other in others] == [True, False]


def test_where_the_puzzles_are_gone_nothing_is_claimed() -> None:
    (sentence,) = compare_runs([OURS, OURS]).sentences
    assert "whether they were measured on the same puzzles cannot be told" in sentence


def test_of_many_runs_each_is_held_to_the_best(edited: Edit) -> None:
    runs = [edited(f"run{number}", number / 10) for number in (1, 2, 9, 3, 4)]
    sentences = compare_runs(runs, SUDOKU).sentences
    assert [sentence.split(" were")[0] for sentence in sentences] == [f"Runs 3 and {n}" for n in (1, 2, 4, 5)]


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hrm-sweep", "compare", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_terminal_names_the_runs_their_scores_and_what_differs(
    edited: Edit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = edited("better", 0.5, lr=0.5)
    assert called(monkeypatch, str(OURS), str(other), "--data", str(SUDOKU)) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"1  {OURS}\n2  {other}\n")
    rows = [line.split() for line in out.splitlines()]
    assert ["2", "936", "59.9", "50.0%", "40.4%", "to", "59.6%", "100", "50.0%", "86.2%"] in rows
    assert ["lr", "0.001", "0.5"] in rows


def test_json_and_page(
    edited: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "deep" / "page.html"
    runs = [str(OURS), str(edited("better", 0.5, lr=0.5))]
    assert called(monkeypatch, *runs, "--data", str(SUDOKU), "--json", "--html", str(page)) == 0
    told = json.loads(capsys.readouterr().out)
    assert [run["exact_accuracy"]["share"] for run in told["runs"]] == [0.11, 0.5]
    assert told["differences"] == {"lr": [0.001, 0.5]}
    text = page.read_text()
    assert text.count("<figure") == 5
    assert "run 2 is better" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(OURS)], "expected two run directories or more"),
        ([str(OURS), "nowhere"], "nowhere: there is no such folder"),
        ([str(OURS), str(OURS), "--html", "."], "--html .: is a folder"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err
