"""`hrm-sweep diagnose` and `hrm-sweep rules`, as a user sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hrm_sweep.cli.app import app
from hrm_sweep.diagnosis import catalogue
from hrm_sweep.errors import UsageError

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def healthy(folder: Path) -> Path:
    shutil.copytree(FIXTURES / "runs" / "healthy", folder / "healthy")
    return Path("healthy")


@pytest.fixture
def frozen(folder: Path) -> Path:
    shutil.copytree(FIXTURES / "official_runs" / "frozen_embeddings", folder / "frozen")
    return Path("frozen")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_healthy_run_exits_with_0(healthy: Path) -> None:
    result = run(healthy)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == [
        "Healthy: no rule fired at warning or above at step 936 of 936, exact accuracy 0.110.",
        "healthy",
    ]
    assert "next:" not in result.stdout


def test_a_sick_run_exits_with_1_and_shows_evidence_and_remedy(frozen: Path) -> None:
    result = run(frozen, "--data", FIXTURES / "sudoku-4x4")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Sick: the puzzle embedding is frozen by configuration")
    assert any("largest absolute weight" in line and "624" in line for line in lines)
    assert any(line.strip() == "try: puzzle_emb_lr=0.01" for line in lines)
    assert lines[-1].startswith(f"next: hrm-sweep fix {frozen} --data {FIXTURES / 'sudoku-4x4'}  # writes the config")


def test_json_of_one_run_is_an_object_and_of_several_a_list(healthy: Path, frozen: Path) -> None:
    one = json.loads(run(healthy, "--json").stdout)
    both = run(healthy, frozen, "--json")
    assert one["run"] == "healthy"
    assert [entry["run"] for entry in json.loads(both.stdout)] == ["healthy", "frozen"]
    assert both.exit_code == 1


def test_an_unreadable_run_exits_with_2_and_the_others_are_still_reported(healthy: Path) -> None:
    result = run("nowhere", healthy)
    assert result.exit_code == 2
    assert "nowhere: there is no such folder" in result.stderr
    assert "Healthy" in result.stdout


def test_html_is_written_and_the_run_directory_gets_its_report(healthy: Path) -> None:
    result = run(healthy, "--html", "pages/all.html")
    assert result.exit_code == 0
    assert "Healthy: no rule fired" in Path("pages/all.html").read_text()
    assert "Healthy: no rule fired" in (healthy / "report.html").read_text()


def test_html_goes_with_json_and_with_several_runs(healthy: Path, frozen: Path) -> None:
    result = run(healthy, frozen, "--json", "--html", "all.html")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)) == 2
    assert "2 runs" in Path("all.html").read_text()
    assert sorted(path.name for path in frozen.iterdir()) == ["all_config.yaml", "step_312", "step_624"]


def test_html_that_cannot_be_written_is_an_error_and_leaves_nothing(healthy: Path) -> None:
    Path("folder").mkdir()
    result = run(healthy, "--html", "folder")
    assert result.exit_code == 2
    assert result.stderr == "error: --html folder: cannot be written (Is a directory); name another file\n"
    assert "Healthy" in result.stdout
    assert sorted(path.name for path in Path().iterdir()) == ["folder", "healthy"]


def test_without_a_readable_run_there_is_no_page(folder: Path) -> None:
    assert run("nowhere", "--html", "all.html").exit_code == 2
    assert not Path("all.html").exists()


def test_explain_prints_the_catalogue_entry(folder: Path) -> None:
    result = run("--explain", "frozen_puzzle_embedding")
    assert result.exit_code == 0
    assert "How it is decided" in result.stdout


def test_explain_knows_what_was_meant(folder: Path) -> None:
    result = run("--explain", "frozen_puzle_embeding")
    assert isinstance(result.exception, UsageError)
    assert "did you mean frozen_puzzle_embedding?" in str(result.exception)


def test_naming_no_run_says_what_to_name(folder: Path) -> None:
    assert "no run directory named" in str(run().exception)


def test_rules_lists_every_rule(folder: Path) -> None:
    listed = CliRunner().invoke(app, ["rules"], env={"COLUMNS": "200"}).stdout
    assert all(rule.id in listed for rule in catalogue())
    entries = json.loads(CliRunner().invoke(app, ["rules", "--json"]).stdout)
    assert [entry["id"] for entry in entries] == [rule.id for rule in catalogue()]
