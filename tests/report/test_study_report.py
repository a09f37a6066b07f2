"""The report of a study, in every form, of studies in every state."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console
from test_diagnosis_page import Page

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

from bulk_studies import fill
from mixed_study import make_mixed_study
from small_studies import STORAGE, small_space

from hrm_sweep.report.study_charts import MOST_CURVES, MOST_MARKS, intervals
from hrm_sweep.report.study_report import StudyReport, numbered, operations
from hrm_sweep.report.study_report_page import MOST_TRIALS, report_page
from hrm_sweep.report.study_report_text import print_report, report_csv, report_json, report_markdown
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, create_or_continue
from hrm_sweep.sweep.study_page import study_points
from hrm_sweep.sweep.study_report import choices, study_report

quiet_optuna()
HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>|`**\n# x"


def report_of(study: Study) -> StudyReport:
    commands = [("hrm-sweep run --study mixed", "goes on with it")]
    return study_report(study, measure=False, next_commands=commands, now=datetime(2026, 1, 2, 3, 4))


def page_of(report: StudyReport) -> Page:
    content = report_page(report)
    assert not re.search(r"url\(|@import|https?:", content)
    page = Page(re.sub(r"<script>.*?</script>", "", content, count=1, flags=re.DOTALL))
    assert page.values("src") == []
    return page


def printed(report: StudyReport) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_report(report, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> StudyReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("mixed"))
        return report_of(make_mixed_study(STORAGE))


def test_what_failed_where_is_found_and_drawn(mixed: StudyReport) -> None:
    found = {str(each.ending): each for each in mixed.failure_map}
    assert found.keys() == {"failed (nan)", "pruned by zero_accuracy"}
    assert found["failed (nan)"].region.parameter == "lr"
    assert found["failed (nan)"].inside[0] == found["failed (nan)"].inside[1]
    page = page_of(mixed)
    assert page.classes()["region"] >= 2
    assert "only where lr > 0.0" in page.text


def test_the_best_has_its_interval_and_what_it_rests_on(mixed: StudyReport) -> None:
    assert mixed.best is not None
    assert mixed.selection is not None
    assert (mixed.selection.n, mixed.selection.share) == (200, mixed.best.value)
    text = " ".join(printed(mixed).split())
    assert "On puzzles that selection never saw: 80.0% (160 of 200; 95 % interval 73.9% to 85.0%)." in text
    assert "which flatters it a little" in text
    assert mixed.best.ties is not None
    assert numbered(sorted(mixed.best.ties)) in text


def test_cost_counts_every_attempt(mixed: StudyReport) -> None:
    assert mixed.cost.trial_s == 70 * 90
    assert mixed.cost.wall_s == 69 * 60 + 90
    assert mixed.cost.flops_of == 70
    assert sum(mixed.cost.by_state.values()) == mixed.cost.trial_s


def test_every_figure_has_words_and_identifiers_are_unique(mixed: StudyReport) -> None:
    page = page_of(mixed)
    assert page.values("role").count("img") == page.tags["figure"] == page.tags["desc"] == 10
    identifiers = Counter(page.values("id"))
    assert identifiers.most_common(1)[0][1] == 1
    assert {value.removeprefix("#") for value in page.values("href")} <= identifiers.keys()
    assert not [value for name in ("d", "cx", "cy", "x", "y") for value in page.values(name) if "n" in value]


def test_markdown_tables_have_as_many_cells_as_headings(mixed: StudyReport) -> None:
    text = report_markdown(mixed)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "| failed (nan) | lr > 0.0" in text.replace("\\>", ">")


def test_csv_has_a_row_for_each_attempt_and_json_everything(mixed: StudyReport) -> None:
    rows = list(csv.DictReader(io.StringIO(report_csv(mixed))))
    told = json.loads(report_json(mixed))
    assert len(rows) == len(told["trials"]) == 70
    assert [row["state"] for row in rows] == [trial["state"] for trial in told["trials"]]
    assert told["failure_map"][0]["end"] == "failed (nan)"
    assert told["cost"]["train_flops"] == mixed.cost.train_flops
    assert told["next"] == [{"command": "hrm-sweep run --study mixed", "why": "goes on with it"}]


def every_form(report: StudyReport) -> str:
    page = page_of(report)
    json.loads(report_json(report))
    return "\n".join([page.text, printed(report), report_markdown(report), report_csv(report)])


def test_a_study_without_a_trial(folder: Path) -> None:
    text = every_form(report_of(create_or_continue(STORAGE, "empty", small_space(name="empty"))))
    assert "No trial has completed, so there is no best configuration." in text


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_a_study_of_another_metric_claims_no_interval(folder: Path, metric: str) -> None:
    study = create_or_continue(STORAGE, "other", small_space(name="other", objective={"metric": metric}))
    fill(study, 12)
    report = report_of(study)
    assert report.selection is None
    text = every_form(report)
    assert "95 % interval" not in text
    values = [trial.line.best for trial in report.ranked if trial.line.state == "complete"]
    assert values == sorted(values, reverse=metric == "accuracy")


@pytest.mark.parametrize("metric", ["exact_accuracy", "loss"])
def test_trials_are_listed_by_score_whatever_their_state(folder: Path, metric: str) -> None:
    study = create_or_continue(STORAGE, "ranked", small_space(name="ranked", objective={"metric": metric}))
    violates = {"violates": "parameters <= 1, found 2"}
    for trial in (
        create_trial(value=0.0, intermediate_values={1: 0.0}),
        create_trial(state=TrialState.FAIL, user_attrs={"cause": "oom"}),
        create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.0}),
        create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.669}),
        create_trial(value=0.0, intermediate_values={1: 0.0}),
        create_trial(value=0.5, intermediate_values={1: 0.5}, user_attrs=violates),
        create_trial(value=0.831, intermediate_values={1: 0.831}),
    ):
        study.optuna.add_trial(trial)
    report = report_of(study)
    scored = [6, 3, 0, 4, 2] if metric == "exact_accuracy" else [0, 4, 2, 3, 6]
    assert [trial.number for trial in report.ranked] == [*scored, 5, 1]
    listed = printed(report).partition("\nTrials\n")[2]
    assert re.search(r"^ +3  pruned +0\.669 ", listed, re.MULTILINE)
    assert "The first 5 of 7, the best first, in whatever state; --csv has all." in listed


def test_the_intervals_are_those_of_completed_trials_however_many_pruned_ones_stood_higher(folder: Path) -> None:
    study = create_or_continue(STORAGE, "high", small_space(name="high"))
    study.optuna.add_trial(create_trial(value=0.5, intermediate_values={1: 0.5}))
    for _ in range(12):
        study.optuna.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.6}))
    directory = study.run_directory(0)
    directory.path.mkdir(parents=True)
    row = {"kind": "eval", "step": 1, "epoch": 1, "time_s": 1.0, "exact_accuracy": 0.5, "count": 40}
    directory.metrics.write_text(json.dumps(row) + "\n")
    drawn = intervals(report_of(study))
    assert drawn is not None
    assert "trial 0: 50.0% (20 of 40;" in str(drawn.drawing)


def test_running_and_retried_trials_and_values_that_are_no_numbers(folder: Path) -> None:
    study = create_or_continue(STORAGE, "odd", small_space(name="odd"))
    forms = {"lr": CategoricalDistribution((1e-3, 2e-3))}
    common: dict[str, Any] = {"params": {"lr": 1e-3}, "distributions": forms}
    nan = {1: float("nan"), 2: float("inf"), 3: 0.5}
    study.optuna.add_trial(create_trial(value=0.5, intermediate_values=nan, **common))
    study.optuna.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"cause": "oom"}, **common))
    study.optuna.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"retry_of": 1}, **common))
    study.optuna.add_trial(create_trial(state=TrialState.WAITING))
    report = report_of(study)
    assert report.counts == {"complete": 1, "retried": 1, "running": 1}
    assert "1 complete, 1 retried, 1 running" in every_form(report)


def test_what_was_or_will_be_tried_again_is_no_failed_trial(folder: Path) -> None:
    study = create_or_continue(STORAGE, "odd", small_space(name="odd"))
    forms = {"lr": CategoricalDistribution((1e-3, 2e-3))}
    common: dict[str, Any] = {"params": {"lr": 1e-3}, "distributions": forms, "intermediate_values": {1: 0.2}}
    preempted = create_trial(state=TrialState.FAIL, user_attrs={"cause": "preempted"}, **common)
    study.optuna.add_trial(preempted)
    study.optuna.add_trial(create_trial(value=0.5, user_attrs={"retry_of": 0}, **common))
    report = report_of(study)
    assert report.endings == []
    assert "Nothing: none of 1 trial was pruned or failed." in printed(report)
    study.optuna.add_trial(preempted)  # nobody has continued it yet
    report = report_of(study)
    assert report.endings == []
    assert report.counts == {"complete": 1, "to be retried": 1, "retried": 1}
    assert "odd: 1 complete, 1 to be retried, 1 retried in" in printed(report)
    assert [trial.outcome for trial in study_points(study).trials] == ["complete", "to be retried"]
    study.optuna.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"cause": "config", "retry_of": 2}, **common))
    report = report_of(study)
    assert [(one.name, one.trials) for one in report.endings] == [("failed (config)", (3,))]
    every_form(report)


def test_what_a_study_says_is_text(folder: Path) -> None:
    study = create_or_continue(STORAGE, "hostile", small_space(name="hostile"))
    study.optuna.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"cause": "nan", "message": HOSTILE}))
    study.optuna.add_trial(create_trial(state=TrialState.PRUNED, user_attrs={"pruned_by": HOSTILE}))
    report = report_of(study)
    page = page_of(report)
    assert not page.tags.keys() & {"script", "img"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "<script" not in report_markdown(report).replace("\\<", "")
    assert len(list(csv.reader(io.StringIO(report_csv(report))))) == 3


def test_a_large_study_is_cut_where_nobody_reads_on(folder: Path) -> None:
    study = create_or_continue(STORAGE, "large", small_space(name="large", budget={"trials": 2000}))
    fill(study, 1700)
    page = page_of(report_of(study))
    assert page.classes()["curve"] <= MOST_CURVES + 6
    assert page.classes()["mark"] <= 2 * (MOST_MARKS + 5)
    assert f"The first {MOST_TRIALS:,} of 1,700, the best first, in whatever state; --csv has all." in page.text
    assert page.tags["tr"] < MOST_TRIALS + 100


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"values": [2]}, "2"),
        ({"values": [2, 4, 8]}, "2, 4 or 8"),
        ({"min": 1e-4, "max": 0.01, "log": True}, "0.0001 to 0.01 by ratio"),
        ({"min": 0.0, "max": 1.0, "step": 0.25}, "0 to 1 in steps of 0.25"),
        ({"values": [1, 2], "when": {"lr": "> 1e-3"}}, "1 or 2, only where lr > 1e-3"),
        ({"values": [1, 2], "when": {"arch.H_cycles": [1, 2]}}, "1 or 2, only where arch.H_cycles is 1 or 2"),
    ],
)
def test_a_parameter_in_words(parameter: dict[str, Any], words: str) -> None:
    others = {"lr": {"min": 1e-4, "max": 1e-2}, "arch.H_cycles": {"min": 1, "max": 3}}
    space = small_space(parameters={**others, "weight_decay": parameter})
    assert choices(space.parameters["weight_decay"]) == words


def test_numbers_for_people() -> None:
    assert numbered([3]) == "trial 3"
    assert numbered([3, 4, 9]) == "trials 3, 4 and 9"
    assert numbered(list(range(1500)), 2) == "trials 0, 1 and 1,498 more"
    assert operations(3.21e13) == "32.1 TFLOP"
    assert operations(5e21) == "5e+03 EFLOP"
