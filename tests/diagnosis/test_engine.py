"""The engine: every rule once, causes first, one sentence, atomic JSON, and no run that makes it crash."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hrm_sweep.diagnosis import Finding, Severity, Verdict, all_rules, diagnose_run
from hrm_sweep.diagnosis.engine import rank
from hrm_sweep.errors import RunDirectoryError


def test_every_rule_appears_exactly_once(healthy: Any) -> None:
    rules = [finding.rule for finding in healthy.diagnose().findings]
    assert sorted(rules) == sorted(rule.id for rule in all_rules())


def test_the_json_has_the_fields_of_the_contract(healthy: Any) -> None:
    record = json.loads(healthy.config(puzzle_emb_lr=0).diagnose().to_json())
    assert list(record) == ["schema_version", "run", "verdict", "findings"]
    first = record["findings"][0]
    assert list(first) == [
        "rule",
        "verdict",
        "severity",
        "title",
        "evidence",
        "explanation",
        "remedy",
        "reference",
    ]
    assert first["remedy"] == {"overrides": {"puzzle_emb_lr": 0.01}}
    assert set(first["evidence"][0]) == {"quantity", "step", "value", "threshold", "margin"}


def test_the_diagnosis_is_written_into_our_own_run_directory(healthy: Any) -> None:
    diagnosis = diagnose_run(healthy.path, data=healthy.data)
    assert (healthy.path / "diagnosis.json").read_text() == diagnosis.to_json()


def test_a_folder_that_cannot_be_written_is_still_diagnosed(healthy: Any) -> None:
    (healthy.path / "diagnosis.json").mkdir()  # in the way of the file, also for root
    assert diagnose_run(healthy.path, data=healthy.data).exit_code == 0


def test_the_verdict_says_healthy_so_far_while_a_run_lives(healthy: Any) -> None:
    live = healthy.until(312).status(owner={"host": "another machine", "pid": 1, "started": "1"})
    assert live.diagnose().verdict.startswith("Healthy so far: no puzzle is solved yet, but the cells say")


def test_the_verdict_names_the_leading_finding(healthy: Any) -> None:
    assert healthy.config(lr_warmup_steps=5000).diagnose().verdict.startswith("Sick: the warm-up is as long as the run")


def test_the_verdict_cannot_tell_without_measurements(healthy: Any) -> None:
    fresh = healthy.without("metrics.jsonl").status(state="running", step=0)
    diagnosis = fresh.diagnose()
    assert diagnosis.verdict.startswith("Cannot tell")
    assert diagnosis.exit_code == 0


def test_a_cause_is_named_before_a_worse_consequence() -> None:
    rules = all_rules()
    cause, consequence = "frozen_puzzle_embedding", "zero_exact_dead"
    assert consequence in next(rule.causes for rule in rules if rule.id == cause)
    findings = [_fired(consequence, Severity.ERROR), _fired(cause, Severity.WARNING)]
    assert [finding.rule for finding in rank(findings, rules)] == [cause, consequence]


def _fired(rule: str, severity: Severity) -> Finding:
    return Finding(rule, Verdict.FIRED, severity, rule, (), "", None, "")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path / "nowhere", "there is no such folder"),
        (lambda path: path, "not a run directory"),
        (lambda path: _file(path / "metrics.jsonl"), "found a file"),
    ],
)
def test_what_is_no_run_directory_is_refused(tmp_path: Path, make: Any, expected: str) -> None:
    with pytest.raises(RunDirectoryError, match=expected):
        diagnose_run(make(tmp_path))


def _file(path: Path) -> Path:
    path.write_text("{}")
    return path


@pytest.mark.parametrize("missing", ["config.yaml", "environment.json", "metrics.jsonl", "status.json"])
def test_any_one_file_may_be_missing(healthy: Any, missing: str) -> None:
    assert healthy.without(missing).diagnose().leading is None


def test_a_torn_last_line_is_left_out_and_mentioned(healthy: Any) -> None:
    with (healthy.path / "metrics.jsonl").open("a") as handle:
        handle.write('{"kind": "train", "step": 946, "los')
    diagnosis = healthy.diagnose()
    assert diagnosis.leading is None
    assert any("torn in mid-write" in problem for problem in diagnosis.problems)


def test_a_config_of_a_newer_version_makes_rules_unknown_and_says_why(healthy: Any) -> None:
    with (healthy.path / "config.yaml").open("a") as handle:
        handle.write("flux_capacitor: 1.21\n")
    diagnosis = healthy.diagnose()
    assert diagnosis.leading is None
    assert any("flux_capacitor" in problem for problem in diagnosis.problems)


JUNK = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=3))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 96),
            st.sampled_from(["loss", "lm_loss", "step", "count", "kind", "grad_norm", "puzzle_emb", "act_histogram"]),
            JUNK,
        ),
        max_size=10,
    )
)
def test_no_content_of_a_metrics_file_makes_it_crash(healthy: Any, junk: list[tuple[int, str, Any]]) -> None:
    file = healthy.path / "metrics.jsonl"
    original = file.read_text()
    lines = original.splitlines()
    for line, key, value in junk:
        lines[line] = json.dumps(json.loads(lines[line]) | {key: value})
    file.write_text("\n".join(lines))
    try:
        json.loads(healthy.diagnose().to_json())
    finally:
        file.write_text(original)


def test_a_run_of_ours_is_diagnosed_without_torch_and_optuna(healthy: Any) -> None:
    code = (
        "import sys, pathlib; from hrm_sweep.diagnosis import diagnose_run; "
        "diagnose_run(pathlib.Path(sys.argv[1])); "
        "print(sorted({'torch', 'optuna', 'pandas'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code, str(healthy.path)], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_diagnosis_without_the_puzzles_does_not_replace_one_with_them(healthy: Any) -> None:
    with_puzzles = diagnose_run(healthy.path, data=healthy.data)
    without = diagnose_run(healthy.path)
    assert without.evidence.data is None
    assert (healthy.path / "diagnosis.json").read_text() == with_puzzles.to_json()


def test_without_the_puzzles_a_loss_that_copying_may_give_tells_nothing(healthy: Any) -> None:
    def copying(row: dict[str, Any]) -> dict[str, Any]:
        late = {"lm_loss": 1.0} if row["step"] > 100 else {}
        return row | late | ({"exact_accuracy": 0.0} if "exact_accuracy" in row else {})

    run = healthy.rows(copying).without_data()
    assert run.finding("zero_exact_learning").verdict is Verdict.UNKNOWN
    assert run.finding("zero_exact_dead").verdict is Verdict.UNKNOWN


def test_a_folder_of_runs_is_pointed_to_its_runs_and_its_study(healthy: Any) -> None:
    with pytest.raises(RunDirectoryError, match=r": a folder of runs, not a run: name one of them") as caught:
        diagnose_run(healthy.path.parent)
    folder = healthy.path.parent
    assert f"for example {healthy.path} (`hrm-sweep diagnose --study {folder.name}` judges" in str(caught.value)


def test_the_name_of_a_study_or_a_trial_is_pointed_to_where_its_runs_are(
    healthy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(healthy.path, tmp_path / "trials" / "mine" / "0001")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunDirectoryError, match=r"^mine: .* for example trials/mine/0001 .*diagnose --study mine"):
        diagnose_run(Path("mine"))
    with pytest.raises(RunDirectoryError, match=r"did you mean trials/mine/0001\?"):
        diagnose_run(Path("mine/0001"))
    with pytest.raises(RunDirectoryError, match="name a run directory, for example one under trials/"):
        diagnose_run(Path("another"))


def test_a_number_that_has_no_folder_may_be_that_of_a_retry(
    healthy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (0, 1, 2, 3, 4, 6):
        shutil.copytree(healthy.path, tmp_path / "trials" / "mine" / f"{number:04d}")
    monkeypatch.chdir(tmp_path)
    for path in ("trials/mine/0005", "mine/0005"):
        with pytest.raises(RunDirectoryError) as refused:
            diagnose_run(Path(path))
        assert str(refused.value) == (
            f"{path}: there is no such folder; a trial that was tried again is in the folder of its first attempt, "
            "which has a lower number; nearest are trials/mine/0002, trials/mine/0003, trials/mine/0004, "
            "trials/mine/0006"
        )
    with pytest.raises(RunDirectoryError, match="name a run directory, for example one under trials/"):
        diagnose_run(Path("trials/mine/five"))


def test_the_sentence_says_when_most_rules_are_blind(case: Any) -> None:
    verdict = case("official/healthy").without_data().diagnose().verdict
    assert verdict == "Healthy: no rule fired at warning or above at step 936 of 936; 29 of 43 rules cannot tell."
