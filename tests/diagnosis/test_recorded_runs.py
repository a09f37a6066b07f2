"""Recorded runs, judged in the course of their training: a healthy one is never called sick, a dead one is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hrm_sweep.config import load_config
from hrm_sweep.data.build import ensure_data
from hrm_sweep.diagnosis import Diagnosis, Severity, Verdict, diagnose_run

FIXTURES = Path(__file__).parent.parent / "fixtures"
RECORDED = FIXTURES / "runs" / "recorded"
HEALTHY = sorted(path.name for path in (RECORDED / "healthy").iterdir())
DEAD = sorted(path.name for path in (RECORDED / "dead").iterdir())
STAGES = (0.15, 0.4, 1.0)


@pytest.fixture(scope="module")
def puzzles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the puzzle folders of the recorded runs are made again."""
    return tmp_path_factory.mktemp("puzzles")


def judged(recorded: Path, stage: float, puzzles: Path, tmp_path: Path) -> Diagnosis:
    """The diagnosis at a share of the recorded steps; before the end as of a run that lives on another machine."""
    run = tmp_path / "run"
    shutil.copytree(recorded, run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    status = json.loads((run / "status.json").read_text())
    if stage < 1:
        last = int(stage * rows[-1]["step"])
        rows = [row for row in rows if row["step"] <= last]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (run / "status.json").write_text(json.dumps(status | {"state": "running", "step": last, "ended_at": None}))
    config = load_config(run / "config.yaml")
    generated = config.data_path is not None and str(config.data_path).startswith("data/")
    assert config.data is not None
    data = ensure_data(config.data, puzzles) if generated else FIXTURES / "sudoku-4x4"
    return diagnose_run(run, write=False, data=data, now=status["updated_at"])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_is_never_called_sick(name: str, stage: float, puzzles: Path, tmp_path: Path) -> None:
    diagnosis = judged(RECORDED / "healthy" / name, stage, puzzles, tmp_path)
    assert [finding.rule for finding in diagnosis.findings if finding.is_sick] == []


@pytest.mark.parametrize("name", DEAD)
def test_the_fault_of_a_dead_run_leads_at_its_end(name: str, puzzles: Path, tmp_path: Path) -> None:
    leading = judged(RECORDED / "dead" / name, 1.0, puzzles, tmp_path).leading
    assert leading is not None
    assert leading.rule == name.partition("-")[0]


@pytest.mark.parametrize("name", [name for name in DEAD if not name.startswith("zero_exact_dead")])
def test_a_fault_with_a_cause_of_its_own_is_named_long_before(name: str, puzzles: Path, tmp_path: Path) -> None:
    leading = judged(RECORDED / "dead" / name, 0.15, puzzles, tmp_path).leading
    assert leading is not None
    assert leading.rule == name.partition("-")[0]


def test_a_pruned_run_without_a_fault_is_not_called_healthy(puzzles: Path, tmp_path: Path) -> None:
    diagnosis = judged(RECORDED / "healthy" / "d96-m2-1x1-lr3e-5", 1.0, puzzles, tmp_path)
    assert diagnosis.exit_code == 0
    assert diagnosis.verdict == (
        "No fault found: the pruner, not a fault, ended the run early, at step 313 of 780, exact accuracy 0.000, "
        "cells 0.776."
    )


@pytest.mark.parametrize(
    ("name", "rule", "severity"),
    [
        ("d96-m2-1x1-lr0.001", "act_constant", Severity.ADVICE),  # both of two ACT steps, always
        ("d64-m4-2x2-lr0.001", "act_collapsed", Severity.INFO),  # halts at once, hardly anything solved
        ("d96-m4-1x1-lr6e-5", "act_collapsed", Severity.INFO),  # halts at once, solves ever more
    ],
)
def test_what_is_odd_and_no_fault_is_mentioned(
    name: str, rule: str, severity: Severity, puzzles: Path, tmp_path: Path
) -> None:
    findings = judged(RECORDED / "healthy" / name, 1.0, puzzles, tmp_path).findings
    finding = next(finding for finding in findings if finding.rule == rule)
    assert (finding.verdict, finding.severity) == (Verdict.FIRED, severity)


def test_a_q_head_that_cannot_have_got_there_yet_is_not_blamed(puzzles: Path, tmp_path: Path) -> None:
    findings = judged(RECORDED / "healthy" / "d96-m4-1x1-lr6e-5", 1.0, puzzles, tmp_path).findings
    finding = next(finding for finding in findings if finding.rule == "q_uninformative")
    assert finding.verdict is Verdict.CLEAR
    loss, way = finding.evidence[0], finding.evidence[-1]
    assert loss.margin is not None
    assert loss.margin > 0  # worse than a constant
    assert way.margin is not None
    assert way.margin < 0
