"""What stands in the notes of trials and studies, and that nothing from outside becomes markup."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from hrm_sweep.diagnosis import diagnose_run
from hrm_sweep.report.markdown import code, plain, table
from hrm_sweep.report.metrics_csv import ROWS, metrics_csv
from hrm_sweep.report.study_figures import StudyPoints, TrialPoint
from hrm_sweep.report.study_note import StudyNote
from hrm_sweep.report.trial_note import RunCost, TrialNote, in_units

HEALTHY = Path(__file__).parents[1] / "fixtures" / "runs" / "healthy"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("zero_accuracy at epoch 20", "zero_accuracy at epoch 20"),
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("*a* _b_ [c](d) `e` $f$ ~g~ x|y", r"\*a\* \_b\_ \[c\](d) \`e\` \$f\$ \~g\~ x\|y"),
        ("# one\ntwo &amp;", r"\# one two \&amp;"),
    ],
)
def test_text_from_outside_is_shown_as_it_is(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_code_and_tables_keep_their_place() -> None:
    assert code("a`b|c\nd") == "`a'b\\|c d`"
    assert table(["what", "n"], [["x", "1"]]) == "| what | n |\n| :-- | --: |\n| x | 1 |"


def test_the_note_of_a_sick_trial_has_verdict_evidence_remedy_and_places(tmp_path: Path) -> None:
    row = '{"kind": "train", "step": 10, "epoch": 1, "time_s": 1, "loss": "NaN", "lm_loss": "NaN"}\n'
    (tmp_path / "metrics.jsonl").write_text((HEALTHY / "metrics.jsonl").read_text().splitlines()[0] + "\n" + row)
    (tmp_path / "config.yaml").write_text((HEALTHY / "config.yaml").read_text())
    diagnosis = diagnose_run(tmp_path, write=False)
    assert diagnosis.leading is not None
    note = TrialNote(
        "**pruned by**: median",
        "",
        diagnosis,
        RunCost(57_794, 2.4e11, 61.0, 3e8, 2.0),
        "trials/x/0001",
        "/png",
        "/html",
    ).markdown()
    assert plain(diagnosis.verdict) in note
    assert "![curves](/png)" in note
    assert "| evidence |" in note
    assert ("**remedy**: `" in note) == bool(diagnosis.leading.remedy)
    assert "57,794 parameters, 240 GFLOP of training, 61 s, 300 MB of memory at most, 2 ACT steps at the end" in note
    assert "(/html)" in note
    assert "`trials/x/0001`" in note
    assert len(note) < 2 * 2045  # two rows of the database


def test_what_is_not_known_of_a_trial_is_left_out() -> None:
    note = TrialNote("**failed**, cause config: no", "", None, RunCost(), "trials/x/0002").markdown()
    assert note == (
        "**failed**, cause config: no\n\nrun directory `trials/x/0002` · `hrm-sweep diagnose trials/x/0002`"
    )


def test_the_note_of_a_study_names_the_best_and_why_others_ended() -> None:
    trials = [
        TrialPoint(0, "complete", None, {"lr": 1e-3}, [], 0.25),
        TrialPoint(1, "complete", None, {"lr": 2e-3}, [], 0.75),
        TrialPoint(2, "pruned", "zero_accuracy", {"lr": 1e-6}, [], 0.0),
        TrialPoint(3, "failed", "nan", {"lr": 1e6}, [], None),
        TrialPoint(4, "running", None, {"lr": 1e-3}, [], None),
    ]
    points = StudyPoints("exact_accuracy", True, ["lr"], trials)
    note = StudyNote("x", points, 4, 9, "/t?numbers=", "now", (0.5, 100), {"lr": 1.0}, 2).markdown()
    assert "**4 of 9 trials have ended**: 2 complete, 1 pruned, 1 failed, 1 running" in note
    assert "**Best**: trial [1](/t?numbers=1), exact_accuracy 0.75" in note
    assert "**50.0%** of 100 (95 %: 40.4% to 59.6%)" in note
    assert "| pruned: zero_accuracy | [2](/t?numbers=2) | 1 |" in note
    assert "n = 2 completed trials; too few for more than a hint" in note
    assert "No trial has completed yet." in StudyNote("x", StudyPoints("m", True, [], []), 0, 9, "/", "now").markdown()


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0 "), (999, "999 "), (1234, "1.23 k"), (2.81e13, "28.1 T"), (4e20, "400 E")]
)
def test_amounts_have_the_prefix_of_their_unit(amount: float, words: str) -> None:
    assert in_units(amount) == words


def test_metrics_are_a_table_of_scalars_thinned_and_empty_where_there_is_no_value(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text((HEALTHY / "config.yaml").read_text())
    rows = [f'{{"kind": "train", "step": {n}, "epoch": 1, "time_s": {n}, "loss": {n}.5}}' for n in range(1, 1001)]
    rows.append('{"kind": "eval", "step": 1000, "epoch": 4, "time_s": 9, "loss": "NaN", "exact_accuracy": 0.25}')
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    found = list(csv.DictReader(io.StringIO(metrics_csv(diagnose_run(tmp_path, write=False).evidence))))
    assert list(found[0]) == ["kind", "step", "epoch", "time_s", "exact_accuracy", "loss"]
    assert found[0] == {
        "kind": "eval", "step": "1000", "epoch": "4", "time_s": "9", "exact_accuracy": "0.25", "loss": "nan",
    }  # fmt: skip
    trained = [row for row in found if row["kind"] == "train"]
    assert len(trained) == ROWS
    assert (trained[0]["step"], trained[-1]["step"], trained[-1]["loss"]) == ("1", "1000", "1000.5")
    assert {row["exact_accuracy"] for row in trained} == {""}
