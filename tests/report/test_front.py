"""The front of a study with several goals, and its constraints: wherever a study is shown."""

from __future__ import annotations

import csv
import io
import json
import sys
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest
from optuna.trial import TrialState

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from three_goals_study import TOO_LARGE, make_three_goals_study

from hrm_sweep.cli import main
from hrm_sweep.report.goals import ShownGoal, goals_in_words, quantity_text
from hrm_sweep.report.study_report_page import report_page
from hrm_sweep.report.study_report_text import report_csv, report_json, report_markdown
from hrm_sweep.report.terminal import Summary, summary_lines, summary_mapping
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.dashboard import serve_dashboard
from hrm_sweep.sweep.goals import front
from hrm_sweep.sweep.housekeeping import list_studies
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.study_page import refresh_study_page
from hrm_sweep.sweep.study_report import study_report
from hrm_sweep.sweep.view import study_view

STORAGE = "sqlite:///trials/optuna.db"


@pytest.fixture
def study(folder: Path) -> Study:
    return make_three_goals_study(STORAGE)


def numbers_of_front(study: Study) -> list[int]:
    return [trial.number for trial in front(study.space.objective, study.trials())]


def violating(study: Study) -> set[int]:
    return {trial.number for trial in study.trials() if attributes.VIOLATES in trial.user_attrs}


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hrm-sweep", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_front_is_in_every_form_of_the_report(study: Study) -> None:
    on_front = numbers_of_front(study)
    assert len(on_front) >= 3
    assert violating(study)
    report = study_report(study, measure=False, next_commands=[], now=datetime(2026, 1, 2))
    assert report.best is not None
    assert report.best.number == on_front[0]
    told = json.loads(report_json(report))
    assert [one["trial"] for one in told["front"]] == on_front
    assert told["goals"] == [
        {"metric": "exact_accuracy", "goal": "maximize"},
        {"metric": "train_flops", "goal": "minimize"},
        {"metric": "seconds", "goal": "minimize"},
    ]
    assert {one["trial"] for one in told["trials"] if one.get("violates") == TOO_LARGE} == violating(study)
    rows = list(csv.DictReader(io.StringIO(report_csv(report))))
    assert {int(row["trial"]) for row in rows if row["value.seconds"]} == {
        trial.number for trial in study.trials() if trial.state is TrialState.COMPLETE
    }
    markdown = report_markdown(report)
    assert f"{len(on_front)} trials that no other one beats at more exact_accuracy, less train_flops and" in markdown
    assert "Kept to: parameters \\<= 3M." in markdown
    page = str(report_page(report))
    assert 'id="front-1-figure"' in page
    assert 'id="front-2-figure"' in page
    assert page.count(f"violates a constraint: {TOO_LARGE}".replace("<", "&lt;")) >= 2 * len(violating(study))
    learned = [trial for trial in report.trials if trial.line.state == "complete"]
    assert all(len(trial.curve) == 4 for trial in learned)


def test_the_summary_has_the_front_as_a_table_and_what_violates_a_constraint(study: Study) -> None:
    summary = Summary(study_view(study, 60.0), None, None, None)
    lines = list(summary_lines(summary))
    on_front = numbers_of_front(study)
    head = next(place for place, line in enumerate(lines) if line.startswith("front: "))
    assert lines[head + 1].split() == ["trial", "exact_accuracy", "train_flops", "seconds"]
    assert [int(line.split()[0]) for line in lines[head + 2 : head + 2 + len(on_front)]] == on_front
    best = lines[head + 2 + len(on_front)]
    assert best.startswith(f"best by exact_accuracy: trial {on_front[0]}, exact_accuracy ")
    broken = lines[lines.index("completed, but a constraint is violated:") + 1 :]
    assert {int(line.split()[1]) for line in broken if line.startswith("  trial")} == violating(study)
    assert [one["trial"] for one in summary_mapping(summary)["front"]] == on_front


def test_best_prints_the_front_and_takes_one_of_it(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_front = numbers_of_front(study)
    assert run_cli(monkeypatch, "best", "two-goals") == 0
    out = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in out[2 : 2 + len(on_front)]] == on_front
    assert out[-3] == f"next: hrm-sweep best two-goals --trial {on_front[0]} --yaml  # the whole configuration"
    assert run_cli(monkeypatch, "best", "two-goals", "--yaml") == 2
    said = capsys.readouterr().err
    assert f"choose one of its front with --trial N: {', '.join(map(str, on_front))}" in said
    assert run_cli(monkeypatch, "best", "two-goals", "--trial", str(on_front[-1]), "--command") == 0
    command = capsys.readouterr().out
    assert f"lr={study.trials()[on_front[-1]].params['lr']}" in command
    assert run_cli(monkeypatch, "best", "two-goals", "--trial", "99") == 2
    assert "there is no trial 99; there are 40" in capsys.readouterr().err
    (line,) = list_studies(STORAGE)
    assert line.best == (study.trials()[on_front[0]].values[0], on_front[0])


def test_the_dashboard_has_the_front_in_its_note_and_knows_who_violates_a_constraint(study: Study) -> None:
    assert refresh_study_page(study, every_s=0.0)
    attrs = study.storage.get_study_system_attrs(study.id)
    assert attrs["dashboard:objective_names"] == ["exact_accuracy", "train_flops", "seconds"]
    note = next(value for key, value in attrs.items() if "note_str" in key)
    assert f"**Front**: {len(numbers_of_front(study))} trials that no other one beats" in note
    with serve_dashboard(STORAGE, "two-goals", port=0) as address:
        api = address.replace("/dashboard/studies/", "/api/studies/")
        with urllib.request.urlopen(api, timeout=60) as answer:
            shown = json.load(answer)
    assert shown["directions"] == ["maximize", "minimize", "minimize"]
    infeasible = {one["number"] for one in shown["trials"] if any(value > 0 for value in one["constraints"])}
    assert violating(study) <= infeasible
    assert {trial.number for trial in study.trials() if trial.constraints["parameters"] > 0} == infeasible
    assert len(shown["plotly_graph_objects"]) >= 1


def test_quantities_are_told_with_their_units() -> None:
    told = [
        quantity_text(name, value)
        for name, value in {
            "parameters": 12.34e6,
            "train_flops": 2e15,
            "evaluation_flops": 3.5e9,
            "seconds": 725.0,
            "peak_memory": 8.6e9,
            "act_steps": 3.25,
        }.items()
    ]
    assert told == [
        "12.3 M parameters",
        "2 PFLOP of training",
        "3.5 GFLOP a puzzle",
        "12 min 05 s of training",
        "8.6 GB of memory",
        "act_steps 3.25",
    ]
    assert goals_in_words([ShownGoal("loss", False)]) == "less loss"
