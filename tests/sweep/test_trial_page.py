"""What the dashboard shows of a trial and of its study, as it stands in the storage."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from bulk_studies import fill
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from small_studies import STORAGE, MakeStudy
from test_trial import fault, run_next

from hrm_sweep.errors import StorageError
from hrm_sweep.sweep import study_page
from hrm_sweep.sweep.notes import write_note, write_trial_note
from hrm_sweep.sweep.storage import open_storage
from hrm_sweep.sweep.study import ARTIFACTS, Study, open_study
from hrm_sweep.sweep.study_attributes import replace_system_attributes, system_attributes
from hrm_sweep.sweep.study_page import keep_study_page, refresh_study_page


def note_of(study: Study, trial: FrozenTrial) -> str:
    return get_note(optuna.Trial(study.optuna, trial._trial_id))


def noted(study: Study) -> list[int]:
    """Numbers of the trials that have a note."""
    return [trial.number for trial in study.trials() if note_of(study, trial)]


def artifacts_of(trial: FrozenTrial) -> dict[str, str]:
    found = [json.loads(value) for key, value in trial.system_attrs.items() if key.startswith("artifacts:")]
    return {one["filename"]: one["artifact_id"] for one in found}


def ended(study: Study, *states: TrialState) -> None:
    """Trials that ended one after the other, each with its note; complete ones get better and better."""
    for state in states:
        trial = study.optuna.ask()
        telling = state is not TrialState.COMPLETE
        write_trial_note(study, trial._trial_id, f"note of {trial.number}", is_telling=telling, most=3)
        study.optuna.tell(trial, 0.1 * trial.number if not telling else None, state=state)


def figures(study: Study) -> dict[str, Any]:
    attrs = study.storage.get_study_system_attrs(study.id)
    return {name: json.loads(text) for name, text in get_plotly_graph_objects(attrs).items()}


def study_note(study: Study) -> str:
    return get_note(study.optuna)


def test_a_trial_has_its_curves_its_metrics_and_a_note_that_shows_them(make_study: MakeStudy) -> None:
    study = make_study(parameters={"lr": {"values": [1e-3]}})
    trial = run_next(study)
    files = artifacts_of(trial)
    assert (ARTIFACTS / files["curves.png"]).read_bytes().startswith(b"\x89PNG")
    assert (ARTIFACTS / files["metrics.csv"]).read_text().startswith("kind,step,epoch,time_s,exact_accuracy,accuracy")
    note = note_of(study, trial)
    address = f"/artifacts/{study.id}/{trial._trial_id}"
    assert f"![curves]({address}/{files['curves.png']})" in note
    assert f"({address}/{files['report.html']})" in note
    assert note.startswith("**complete**: exact_accuracy 0.5")
    assert trial.user_attrs["seconds"] == pytest.approx(0.4)


def test_a_trial_that_never_started_says_why_and_has_no_curves(make_study: MakeStudy) -> None:
    study = make_study(parameters={"arch.num_heads": {"values": [7]}})
    trial = run_next(study)
    assert "**failed**, cause config: " in note_of(study, trial)
    assert "curves.png" not in artifacts_of(trial)


def test_curves_that_cannot_be_drawn_cost_nobody_their_trial(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hrm_sweep.report.run_picture.run_picture", broken)
    study = make_study()
    trial = run_next(study)
    assert trial.state is TrialState.COMPLETE
    assert set(artifacts_of(trial)) == {"config.yaml", "diagnosis.json", "report.html"}
    assert "![curves]" not in note_of(study, trial)


def test_of_many_trials_those_that_failed_and_the_best_keep_their_notes(make_study: MakeStudy) -> None:
    study = make_study()
    complete, pruned, failed = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    ended(study, complete, complete, pruned)
    assert noted(study) == [0, 1, 2]
    ended(study, complete)  # no room, and nothing special
    assert noted(study) == [0, 1, 2]
    ended(study, failed)  # takes the place of the oldest that completed
    assert noted(study) == [1, 2, 4]
    ended(study, failed)
    assert noted(study) == [2, 4, 5]
    ended(study, pruned)  # only telling ones are left: the oldest goes
    assert noted(study) == [4, 5, 6]


def test_a_note_that_somebody_edited_is_theirs(make_study: MakeStudy) -> None:
    study = make_study()
    ended(study, TrialState.COMPLETE, TrialState.COMPLETE, TrialState.COMPLETE)
    first = study.trials()[0]
    save_note(optuna.Trial(study.optuna, first._trial_id), "mine")
    ended(study, TrialState.FAIL, TrialState.FAIL)
    assert noted(study) == [0, 2, 4]  # 2 is the best
    assert note_of(study, first) == "mine"


@pytest.mark.parametrize("written_before", [False, True])
def test_a_note_of_the_study_that_somebody_wrote_is_theirs(make_study: MakeStudy, written_before: bool) -> None:
    study = make_study()
    if written_before:
        assert refresh_study_page(study)
    save_note(study.optuna, "mine")
    ended(study, TrialState.PRUNED)
    assert refresh_study_page(study, every_s=0.0)
    assert study_note(study) == "mine"
    assert "where-trials-fail" in figures(study)


def test_a_shorter_note_leaves_nothing_of_a_longer_one(make_study: MakeStudy) -> None:
    study = make_study()
    trial = study.optuna.ask()
    save_note(trial, "x" * 5000)
    write_note(study, trial._trial_id, "short")
    assert get_note(trial) == "short"


def test_the_page_of_a_study_has_figures_and_a_summary_and_names_the_objective(make_study: MakeStudy) -> None:
    study = make_study(pruner={"zero_accuracy": {"epoch": 3}}, parameters={"lr": {"values": [0.0, 2e-3]}})
    for _ in range(4):
        run_next(study)
    assert refresh_study_page(study)
    assert set(figures(study)) == {"learning-curves", "where-trials-fail"}  # the stand-in has no data, so no FLOPs
    assert "4 of 4 trials have ended" in study_note(study)
    assert "pruned: zero\\_accuracy" in study_note(study) or "pruned: zero_accuracy" in study_note(study)
    assert study.storage.get_study_system_attrs(study.id)["dashboard:objective_names"] == ["exact_accuracy"]


def test_it_is_written_at_most_every_30_s_and_only_when_something_changed(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, now = make_study(), 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    assert refresh_study_page(study)
    assert not refresh_study_page(study, every_s=0.0)  # nothing has changed
    ended(study, TrialState.FAIL)
    now += 29
    assert not refresh_study_page(study)
    assert refresh_study_page(study, every_s=0.0)  # the end of a worker
    ended(study, TrialState.FAIL)
    now += 31
    assert refresh_study_page(study)
    assert "2 of 4 trials" in study_note(study)


def test_who_was_overtaken_writes_nothing(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study, other = make_study(), open_study(STORAGE, "small")
    figures_of = study_page.study_figures

    def slow(points: Any) -> dict[str, str]:
        monkeypatch.setattr(study_page, "study_figures", figures_of)
        ended(other, TrialState.FAIL)
        assert refresh_study_page(other, every_s=0.0)
        return {"old": "{}"}

    monkeypatch.setattr(study_page, "study_figures", slow)
    assert not refresh_study_page(study, every_s=0.0)
    assert "1 of 4 trials" in study_note(study)
    assert "old" not in figures(study)


def test_a_page_that_cannot_be_written_is_said(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StorageError("away")

    monkeypatch.setattr(study_page, "refresh_study_page", away)
    said: list[str] = []
    keep_study_page(make_study(), said.append)
    assert said == ["the page of the study in the dashboard could not be written: StorageError: away"]


def test_attributes_are_replaced_as_a_whole(make_study: MakeStudy) -> None:
    study = make_study()
    replace_system_attributes(study, {"a:0": "old", "a:1": "old", "b": 1})
    replace_system_attributes(study, {"a:0": "new"}, like=["a:%"])
    assert system_attributes(study, "a:%") == {"a:0": "new"}
    assert study.storage.get_study_system_attrs(study.id)["b"] == 1


def test_a_large_study_is_drawn_within_a_hundred_thousand_characters(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 1000})
    fill(study, 1000)
    study = open_study(STORAGE, "small")
    assert refresh_study_page(study)
    attrs = open_storage(STORAGE).get_study_system_attrs(study.id)
    pages = {name: value for name, value in attrs.items() if name.startswith("dashboard:plot_data")}
    assert len(pages) == 4
    assert sum(map(len, pages.values())) < 100_000
    assert len([name for name in attrs if name.endswith("note_ver")]) <= 101


def test_a_failed_run_keeps_the_note_of_its_failure(make_study: MakeStudy) -> None:
    study = make_study(**fault("nan@2"))
    trial = run_next(study)
    assert "**failed**, cause nan: non-finite at evaluation 2" in note_of(study, trial)
