"""What the reference logs to Weights & Biases becomes curves: zeros that mean nothing are not taken for values."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from hrm_sweep.errors import MetricsError
from hrm_sweep.runs.formats import Series, read_history

NOTHING_HALTED = {"train/count": 0, "train/accuracy": 0.0, "train/exact_accuracy": 0.0, "train/steps": 0.0}


def halted(steps: float, exact: float) -> dict[str, float]:
    return {"train/count": 1, "train/accuracy": 0.8, "train/exact_accuracy": exact, "train/steps": steps}


def row(step: int, **more: Any) -> dict[str, Any]:
    return {"_step": step, "_runtime": 2.0 * step, "train/lm_loss": 1.0 / step, "train/lr": 1e-4} | more


HISTORY: list[dict[str, Any]] = [
    {"_step": 0, "num_params": 27275266},
    row(1, **NOTHING_HALTED),
    row(2, **halted(2.0, 0.25)),
    {"_step": 2, "all/accuracy": 0.7, "all/exact_accuracy": 0.125, "all/steps": 2.0, "all/lm_loss": 0.4},
    row(3, **halted(1.5, 0.5)),
]


def pairs(series: Series | None) -> list[tuple[int, float]]:
    return [] if series is None else list(zip(series.step.tolist(), series.value.tolist(), strict=True))


def saved(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_zeros_of_steps_in_which_nothing_halted_are_absent(tmp_path: Path) -> None:
    history = read_history([saved(tmp_path / "history.json", HISTORY)])
    train = history.train
    assert train.step.tolist() == [1, 2, 3]
    assert train.time_s.tolist() == [2.0, 4.0, 6.0]
    assert pairs(train.get("lm_loss")) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert pairs(train.get("exact_accuracy")) == [(2, 0.25), (3, 0.5)]
    assert pairs(train.get("act_steps")) == [(2, 2.0), (3, 1.5)]
    assert "count" not in train.columns  # it is unknown without the batch size
    assert history.problems == ()


def test_evaluations_are_rows_of_their_own_also_when_logged_at_the_step_of_a_train_row(tmp_path: Path) -> None:
    evaluations = read_history([saved(tmp_path / "history.json", HISTORY)], test_puzzles=400).evaluations
    assert pairs(evaluations.get("exact_accuracy")) == [(2, 0.125)]
    assert pairs(evaluations.get("act_steps")) == [(2, 2.0)]
    assert pairs(evaluations.get("count")) == [(2, 400.0)]


@pytest.mark.parametrize(
    ("steps", "counts"),
    [
        ([0, 0, 0, 4.0], [64.0]),  # all slots halt together, after four rows of four steps
        ([0, 0, 0, 4.0, 2.0], [64.0, 32.0]),  # two steps a slot: half of the slots in each row
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 2.0], [64.0]),  # never more than the batch holds
    ],
)
def test_the_number_of_halted_slots_is_estimated_from_their_act_steps(
    tmp_path: Path, steps: list[float], counts: list[float]
) -> None:
    rows = [row(n, **(halted(each, 0.1) if each else NOTHING_HALTED)) for n, each in enumerate(steps, 1)]
    train = read_history([saved(tmp_path / "history.json", rows)], batch_size=64).train
    assert [value for _, value in pairs(train.get("count"))] == counts


def test_an_export_that_was_thinned_by_averaging_is_divided_by_the_share_of_rows_that_count(tmp_path: Path) -> None:
    rows = [row(8, **{"train/count": 0.25, "train/steps": 2.0, "train/exact_accuracy": 0.1})]
    train = read_history([saved(tmp_path / "history.json", rows)]).train
    assert pairs(train.get("exact_accuracy")) == [(8, 0.4)]
    assert pairs(train.get("act_steps")) == [(8, 8.0)]


def test_without_count_the_act_steps_tell_whether_anything_halted(tmp_path: Path) -> None:
    rows = [{name: value for name, value in each.items() if name != "train/count"} for each in HISTORY]
    train = read_history([saved(tmp_path / "history.json", rows)]).train
    assert pairs(train.get("exact_accuracy")) == [(2, 0.25), (3, 0.5)]


def test_zeros_that_may_mean_anything_are_left_out_and_mentioned(tmp_path: Path) -> None:
    rows = [{"_step": n, "train/exact_accuracy": 0.0, "train/lm_loss": 1.0} for n in range(3)]
    history = read_history([saved(tmp_path / "history.json", rows)])
    assert "exact_accuracy" not in history.train.columns
    assert len(history.train) == 3
    assert "a 0 may mean that nothing halted" in history.problems[0]


def test_not_a_number_is_kept_where_it_was_logged_and_left_out_where_it_fills_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    path.write_text(
        '[{"_step": 1, "train/lm_loss": 1.0, "train/lr": 0.1, "all/accuracy": NaN, "all/lm_loss": NaN},'
        ' {"_step": 2, "train/lm_loss": "NaN", "train/lr": 0.1},'
        ' {"_step": 3, "train/lm_loss": "Infinity", "train/lr": 0.1},'
        ' {"_step": 3, "train/lm_loss": null, "all/accuracy": 0.5, "all/lm_loss": "NaN"}]'
    )
    history = read_history([path])
    losses = [value for _, value in pairs(history.train.get("lm_loss"))]
    assert losses[0] == 1.0
    assert math.isnan(losses[1])
    assert losses[2] == math.inf
    assert history.evaluations.step.tolist() == [3]
    assert math.isnan(pairs(history.evaluations.get("lm_loss"))[0][1])


def test_an_evaluation_over_nothing_counts_no_puzzle(tmp_path: Path) -> None:
    rows = [row(1), {"_step": 1, "all/accuracy": "NaN", "all/steps": "NaN", "all/lm_loss": "NaN"}]
    evaluations = read_history([saved(tmp_path / "history.json", rows)], test_puzzles=400).evaluations
    assert pairs(evaluations.get("count")) == [(1, 0.0)]


def test_csv_of_the_web_page_one_file_a_chart(tmp_path: Path) -> None:
    loss, exact = tmp_path / "loss.csv", tmp_path / "exact.csv"
    prefix = "HRM - my/run.2 - "
    loss.write_text(
        f'"Step","{prefix}train/lm_loss","{prefix}train/lm_loss__MIN","{prefix}train/lm_loss__MAX"\n'
        '"1","1.5","1.5","1.5"\n"2","NaN","NaN","NaN"\n'
    )
    exact.write_text(f'"Step","{prefix}all/exact_accuracy"\n"2","0.25"\n')
    history = read_history([loss, exact])
    assert history.train.step.tolist() == [1, 2]
    assert pairs(history.train.get("lm_loss"))[0] == (1, 1.5)
    assert math.isnan(pairs(history.train.get("lm_loss"))[1][1])
    assert pairs(history.evaluations.get("exact_accuracy")) == [(2, 0.25)]


@pytest.mark.parametrize("key", ["all/accuracy", "all.accuracy"])
def test_evaluations_are_found_under_any_spelling_of_their_key(tmp_path: Path, key: str) -> None:
    for value in ({key: 0.5}, {"all": {"accuracy": 0.5}}):
        path = saved(tmp_path / "history.json", [row(1), {"_step": 2} | value])
        assert pairs(read_history([path]).evaluations.get("accuracy")) == [(2, 0.5)]


def test_of_several_evaluation_sets_one_is_looked_at_and_the_others_are_mentioned(tmp_path: Path) -> None:
    rows = [row(1), {"_step": 2, "hard/accuracy": 0.1, "all/accuracy": 0.5, "system/gpu": 3}]
    history = read_history([saved(tmp_path / "history.json", rows)])
    assert pairs(history.evaluations.get("accuracy")) == [(2, 0.5)]
    assert "of the evaluation sets all, hard, the first was looked at" in history.problems[0]


def test_json_lines_may_end_in_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in HISTORY) + '{"_step": 4, "train/lm')
    history = read_history([path])
    assert history.train.step.tolist() == [1, 2, 3]
    assert "torn" in history.problems[0]


def test_rows_without_a_step_that_counts_are_left_out_and_mentioned(tmp_path: Path) -> None:
    rows = [row(1), row(2) | {"_step": -1}, row(3) | {"_step": 1.5}, row(4) | {"_step": "soon"}]
    history = read_history([saved(tmp_path / "history.json", rows)])
    assert history.train.step.tolist() == [1]
    assert "3 row(s) have no step" in history.problems[0]


WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n\n", "the file is empty"),
    "binary": (bytes(range(128, 256)), "not a text file"),
    "zip": (b"PK\x03\x04" + bytes(40), "expected the history of a run"),
    "half an array": (json.dumps(HISTORY).encode()[:-40], "damaged or cut off: not valid JSON"),
    "half an object": (b'{"_step": 1, "train/lm_loss"', "damaged or cut off: not valid JSON"),
    "lines with a hole": (b'{"_step": 1}\n{"_st\nxx\n{"_step": 2}\n', "damaged or cut off: not valid JSON"),
    "nested without end": (b"[" * 100_000, "damaged or cut off: not valid JSON"),
    "other keys": (b'[{"_step": 1, "val/perplexity": 3.0, "epoch": 1}]', "found _step, val/perplexity, epoch"),
    "numbers": (b"[1, 2, 3]", "no list of rows"),
    "columns": (b'{"_step": {"0": 1}, "train/lm_loss": {"0": 1.0}}', "found columns, expected rows"),
    "no row": (b"[]", "found no row"),
    "no step": (b"train/lm_loss,train/lr\n1.0,0.1\n", "no column with the step"),
    "two runs": (
        b'"Step","a - train/lm_loss","b - train/lm_loss"\n1,1.0,2.0\n',
        "more than one run in one file (a, b)",
    ),
    "prose": (b"dear reader,\nthis is a letter\n", "expected the history of a run"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_history_is_refused_and_says_what_was_expected(tmp_path: Path, name: str) -> None:
    content, expected = WRONG[name]
    path = tmp_path / "export"
    path.write_bytes(content)
    with pytest.raises(MetricsError) as refused:
        read_history([path])
    assert str(refused.value).startswith(f"{path}: ")
    assert expected in str(refused.value)


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(MetricsError, match="cannot be read"):
            read_history([path])
