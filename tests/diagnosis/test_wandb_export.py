"""A run of the reference is judged by what it logged to Weights & Biases, alone or beside its checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result
from wandb_export import WRITERS, Row, as_charts, as_reference_directory, history_of

from hrm_sweep.cli.app import app
from hrm_sweep.diagnosis import Diagnosis, Export, Verdict, diagnose_run, gather_evidence
from hrm_sweep.errors import MetricsError, UsageError

FIXTURES = Path(__file__).parent.parent / "fixtures"
HEALTHY = FIXTURES / "runs" / "healthy"
RECORDED = FIXTURES / "runs" / "recorded"
SUDOKU = FIXTURES / "sudoku-4x4"


def judged(run: Path, history: list[Row], folder: Path, data: Path | None = None) -> Diagnosis:
    """What is said of a directory with nothing but all_config.yaml, and of this history."""
    target = folder / "run"
    if not target.exists():
        as_reference_directory(run, target)
    return diagnose_run(target, data=data, export=Export((WRITERS["lines"](history, folder / "history.jsonl"),)))


def sick(diagnosis: Diagnosis) -> list[str]:
    return [finding.rule for finding in diagnosis.findings if finding.is_sick]


@pytest.mark.parametrize("form", [*WRITERS, "charts"])
def test_every_form_of_an_export_says_the_same(form: str, tmp_path: Path) -> None:
    run, history = as_reference_directory(HEALTHY, tmp_path / "run"), history_of(HEALTHY)
    files = tuple(as_charts(history, tmp_path)) if form == "charts" else (WRITERS[form](history, tmp_path / "history"),)
    diagnosis = diagnose_run(run, data=SUDOKU, export=Export(files))
    assert diagnosis.verdict == ("Healthy: no rule fired at warning or above at step 936 of 936, exact accuracy 0.110.")
    clear = {finding.rule for finding in diagnosis.findings if finding.verdict is Verdict.CLEAR}
    assert {"non_finite", "exploding_loss", "loss_not_decreasing", "zero_exact_dead", "q_uninformative"} <= clear
    assert diagnosis.problems == ()


@pytest.mark.parametrize("name", sorted(path.name for path in (RECORDED / "healthy").iterdir()))
def test_a_healthy_run_is_never_called_sick_by_its_export(name: str, tmp_path: Path) -> None:
    history = history_of(RECORDED / "healthy" / name)
    for stage in (0.15, 0.4, 1.0):
        so_far = [row for row in history if row["_step"] <= stage * history[-1]["_step"]]
        assert sick(judged(RECORDED / "healthy" / name, so_far, tmp_path)) == []


def test_zeros_of_a_young_run_in_which_hardly_anything_halted_are_no_sign(tmp_path: Path) -> None:
    history = [row for row in history_of(HEALTHY) if row["_step"] <= 60]
    zeros = sum(row.get("train/accuracy") == 0 for row in history)
    assert zeros >= 40
    diagnosis = judged(HEALTHY, history, tmp_path, SUDOKU)
    assert sick(diagnosis) == []
    export = Export((tmp_path / "history.jsonl",))
    cells = gather_evidence(tmp_path / "run", export=export).train("accuracy")
    assert len(cells) == 60 - zeros
    assert cells.value.min() > 0.2


def test_the_puzzles_that_were_scored_are_about_as_many_as_they_were(tmp_path: Path) -> None:
    judged(HEALTHY, history_of(HEALTHY), tmp_path)
    run = gather_evidence(tmp_path / "run", export=Export((tmp_path / "history.jsonl",)))
    rows = [json.loads(line) for line in (HEALTHY / "metrics.jsonl").read_text().splitlines()]
    counted = sum(row["count"] for row in rows if row["kind"] == "train")
    estimated = run.train("count").value.sum()
    assert 0.7 * counted < estimated < 1.3 * counted


def changed(after: int, **values: Any) -> Callable[[Row], Row]:
    named = {f"train/{name}": value for name, value in values.items()}
    return lambda row: row | named if "train/lr" in row and row["_step"] > after else row


def evaluated(*exact: float) -> Callable[[Row], Row]:
    by_step = dict(zip((312, 624, 936), exact, strict=True))
    return lambda row: row | {"all/exact_accuracy": by_step[row["_step"]]} if "all/accuracy" in row else row


def unchanged(row: Row) -> Row:
    return row


DEAD = RECORDED / "dead"
FAULTS: dict[str, tuple[Path, Callable[[Row], Row]]] = {
    "non_finite": (HEALTHY, changed(500, lm_loss="NaN")),
    "exploding_loss": (HEALTHY, changed(800, lm_loss=20.0)),
    "late_collapse": (HEALTHY, evaluated(0.1, 0.8, 0.2)),
    "lr_out_of_range": (DEAD / "lr_out_of_range-lr1", unchanged),
    "warmup_never_ends": (DEAD / "warmup_never_ends-warmup", unchanged),
    "zero_exact_dead": (DEAD / "zero_exact_dead-shuffled", unchanged),
    "loss_not_decreasing": (HEALTHY, lambda row: evaluated(0.1, 0.1, 0.1)(changed(0, lm_loss=1.7)(row))),
}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_fault_is_named_from_the_export_and_the_configuration(rule: str, tmp_path: Path) -> None:
    run, change = FAULTS[rule]
    history = [change(row) for row in history_of(run)]
    with_directory = judged(run, history, tmp_path)
    export = Export((tmp_path / "history.jsonl",), tmp_path / "run" / "all_config.yaml")
    for diagnosis in (with_directory, diagnose_run(None, export=export)):
        assert diagnosis.leading is not None
        assert diagnosis.leading.rule == rule


@pytest.mark.parametrize("rule", ["non_finite", "exploding_loss"])
def test_without_a_configuration_the_numbers_speak_and_the_rest_is_unknown(rule: str, tmp_path: Path) -> None:
    run, change = FAULTS[rule]
    file = WRITERS["frame"]([change(row) for row in history_of(run)], tmp_path / "history.csv")
    diagnosis = diagnose_run(None, export=Export((file,)))
    assert sick(diagnosis) == [rule]
    assert diagnosis.run == file
    assert "the configuration of the run is not known" in diagnosis.problems[0]
    unknown = {finding.rule for finding in diagnosis.findings if finding.verdict is Verdict.UNKNOWN}
    assert {"lr_out_of_range", "warmup_never_ends", "act_constant", "frozen_module"} <= unknown


def test_rows_and_checkpoints_each_say_what_only_they_know(case: Any, tmp_path: Path) -> None:
    official = case("official/healthy")
    file = WRITERS["array"](history_of(HEALTHY), tmp_path / "history.json")
    diagnosis = diagnose_run(official.path, data=SUDOKU, export=Export((file,)))
    findings = {finding.rule: finding for finding in diagnosis.findings}
    assert diagnosis.verdict.endswith("exact accuracy 0.110.")  # as logged, not as computed from 40 puzzles
    assert sick(diagnosis) == []
    told_by = {
        "exploding_loss": "lm_loss, median of the end",  # not: on training puzzles
        "overfit_gap": "train exact_accuracy minus evaluation",
        "loss_not_decreasing": "lm_loss, median of the last fifth",
        "q_uninformative": "q_halt_loss, last fifth",
        "frozen_module": "movement of embed_tokens since step 624",
        "frozen_puzzle_embedding": "puzzle_emb, largest absolute weight",
        "q_diverging": "|q_halt_mean|",
    }
    for rule, quantity in told_by.items():
        assert findings[rule].verdict is Verdict.CLEAR
        assert quantity in [row.quantity for row in findings[rule].evidence]
    trained = next(row for row in findings["overfit_gap"].evidence if row.quantity.startswith("train exact"))
    assert trained.value == pytest.approx(0.0004, abs=0.0001)  # of the train rows; the checkpoint solves 45 %


def test_a_fault_that_only_checkpoints_show_is_named_beside_healthy_metrics(case: Any, tmp_path: Path) -> None:
    official = case("official/healthy")
    shutil.copy(official.path / "step_624", official.path / "step_936")
    file = WRITERS["array"](history_of(HEALTHY), tmp_path / "history.json")
    leading = diagnose_run(official.path, export=Export((file,))).leading
    assert leading is not None
    assert leading.rule in ("frozen_module", "frozen_q_head", "frozen_puzzle_embedding")


def run_cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_command_line_takes_an_export_with_or_without_a_run_directory(folder: Path) -> None:
    run = as_reference_directory(HEALTHY, Path("run"))
    file = WRITERS["frame"](history_of(HEALTHY), Path("history.csv"))
    for arguments in ((run, "--metrics", file), ("--metrics", file, "--config", run / "all_config.yaml")):
        result = run_cli(*arguments, "--data", SUDOKU, "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["verdict"].startswith("Healthy")
    assert run_cli("--metrics", file).stdout.splitlines()[1] == "history.csv"


def test_a_wrong_file_exits_with_2(folder: Path) -> None:
    Path("half.json").write_text('[{"_step": 1, "train/lm_loss": 1.0}, {"_st')
    result = run_cli("--metrics", "half.json")
    assert result.exit_code == 2
    assert "half.json: damaged or cut off" in result.stderr


def test_a_run_of_ours_has_metrics_of_its_own(folder: Path) -> None:
    file = WRITERS["array"](history_of(HEALTHY), Path("history.json"))
    with pytest.raises(MetricsError, match="has metrics of its own"):
        diagnose_run(HEALTHY, write=False, export=Export((file,)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("a", "b", "--metrics", "x.csv"), "--metrics belongs to one run, and 2 are named"),
        (("a", "--metrics", "x.csv", "--config", "all_config.yaml"), "has a configuration of its own"),
        (("--config", "all_config.yaml"), "no run directory named"),
    ],
)
def test_options_that_do_not_go_together_are_refused(folder: Path, arguments: tuple[str, ...], expected: str) -> None:
    refused = run_cli(*arguments).exception
    assert isinstance(refused, UsageError)
    assert expected in str(refused)
