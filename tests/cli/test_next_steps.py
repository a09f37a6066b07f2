"""Which commands are named as next steps, for studies in every state of health."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

from mixed_study import make_mixed_study
from small_studies import STORAGE, small_space
from three_goals_study import make_three_goals_study

from hrm_sweep.cli import main
from hrm_sweep.cli.next_steps import confirm_step, diagnose_step
from hrm_sweep.sweep.best import best_of
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, create_or_continue

quiet_optuna()
Trial = tuple[TrialState, dict[str, Any]]

SICK = {"verdict": "The learning rate is far too low"}
NEVER_BEGUN = {"cause": "config", "message": "trial 0: hidden_size: expected a multiple of num_heads"}
BY_ZERO_RULE = {"pruned_by": "zero_accuracy at epoch 20: no puzzle solved in 5 evaluations"}
BY_DIAGNOSIS = {"pruned_by": "diagnosis at epoch 4: lr_out_of_range: the learning rate is far too low"}
BY_MEDIAN = {"pruned_by": "median at epoch 20: exact_accuracy 0.6692"}
NO_FAULT = {"verdict": "No fault found: the pruner, not a fault, ended the run early, at step 626 of 750."}

healthy: Trial = (TrialState.COMPLETE, {"verdict": "Healthy: no rule fired at warning or above at step 750 of 750."})
behind: Trial = (TrialState.PRUNED, BY_MEDIAN | NO_FAULT)
sick: Trial = (TrialState.PRUNED, BY_ZERO_RULE | SICK)
sick_and_behind: Trial = (TrialState.PRUNED, BY_MEDIAN | SICK)
sick_to_its_end: Trial = (TrialState.COMPLETE, SICK)
dead: Trial = (TrialState.PRUNED, BY_ZERO_RULE | NO_FAULT)
stopped_by_a_rule: Trial = (TrialState.PRUNED, BY_DIAGNOSIS)
pruned_elsewhere: Trial = (TrialState.PRUNED, {})
refused: Trial = (TrialState.FAIL, NEVER_BEGUN)
failed: Trial = (TrialState.FAIL, {"cause": "config", "message": "not to be had"})
to_be_retried: Trial = (TrialState.FAIL, {"cause": "preempted"})


def study_of(*trials: Trial) -> Study:
    study = create_or_continue(STORAGE, "small", small_space())
    for number, (state, attrs) in enumerate(trials):
        value = 0.5 if state is TrialState.COMPLETE else None
        study.optuna.add_trial(create_trial(state=state, value=value, user_attrs=attrs))
        if attrs != NEVER_BEGUN:
            directory = study.run_directory(number)
            directory.path.mkdir(parents=True, exist_ok=True)
            directory.config.write_text("epochs: 1\n")
    return study


@pytest.mark.parametrize(
    ("trials", "step"),
    [
        ([], None),
        ([healthy, behind, pruned_elsewhere, to_be_retried], None),
        ([sick, healthy, behind], "0000  # why this one did not learn"),
        ([sick, sick, behind, sick_to_its_end], "0001  # why this one did not learn"),
        ([sick_and_behind, dead], "0000  # what is wrong with this one"),
        ([sick_to_its_end, behind], "0000  # what is wrong with this one"),
        ([dead, behind], "0000  # why this one did not learn"),
        ([stopped_by_a_rule, failed, behind], "0000  # why this one did not learn"),
        ([failed, behind, healthy], "0000  # why this one failed"),
        ([failed, refused], "0000  # why this one failed"),
        ([refused], None),
    ],
)
def test_the_trial_to_diagnose_is_one_in_bad_health(folder: Path, trials: list[Trial], step: str | None) -> None:
    told = [f"{command}  # {why}" for command, why in diagnose_step(study_of(*trials))]
    assert told == ([] if step is None else [f"hrm-sweep diagnose trials/small/{step}"])


def test_a_best_trial_is_to_be_confirmed_until_it_was(folder: Path) -> None:
    study = study_of(behind)
    assert list(confirm_step(study)) == []
    study = study_of(healthy)
    assert list(confirm_step(study)) == [("hrm-sweep confirm small", "is the best one good, or was it lucky?")]
    known = {"study": "small-confirm", "metric": "exact_accuracy", "verdict": "undecided", "leading": [], "scores": []}
    study.optuna.set_user_attr("confirmed", known)
    assert list(confirm_step(study)) == []


def said_by(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The commands that `hrm-sweep WORDS` names as next steps; it has to end well."""
    monkeypatch.setattr(sys, "argv", ["hrm-sweep", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    found = [line.strip().removeprefix("next: ").partition("  # ")[0] for line in printed.out.splitlines()]
    return [line for line in found if line.startswith("hrm-sweep ")]


def test_with_several_goals_the_steps_name_the_trial_that_is_best_by_the_main_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_three_goals_study(STORAGE)
    best = best_of(study).trial
    told = said_by(monkeypatch, capsys, "report", study.name, "--no-measure")
    assert f"hrm-sweep best two-goals --trial {best} --official" in told
    assert f"hrm-sweep export two-goals checkpoints/two-goals --trial {best}" in told
    assert "hrm-sweep confirm two-goals" in told
    said_by(monkeypatch, capsys, *shlex.split(f"best two-goals --trial {best} --official"))
    for verb in ("report", "best"):
        for command in said_by(monkeypatch, capsys, verb, study.name):
            if command.split()[1] in ("best", "audit"):
                said_by(monkeypatch, capsys, *shlex.split(command)[1:])


def test_best_of_several_goals_asks_for_a_confirmation_and_then_shows_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_three_goals_study(STORAGE)
    best = best_of(study)
    assert "hrm-sweep confirm two-goals" in said_by(monkeypatch, capsys, "best", "two-goals")
    name = f"trial {best.trial}"
    mean = {"value": 0.5, "low": 0.4, "high": 0.6}
    score = {"name": name, "trial": best.trial, "search": best.value, "confirmed": mean, "seeds": 3}
    known = {"study": "two-goals-confirm", "metric": "exact_accuracy", "verdict": "winner", "leading": [name]}
    study.optuna.set_user_attr("confirmed", {**known, "scores": [score]})
    monkeypatch.setattr(sys, "argv", ["hrm-sweep", "best", "two-goals"])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().out
    assert f"confirmed by two-goals-confirm: winner: {name}\n" in told
    both = f"  {name}: {best.value:.1%} in the search, 50.0% confirmed (95 % interval 40.0% to 60.0%, 3 seeds)\n"
    assert both in told
    assert "hrm-sweep confirm" not in told


def test_without_a_completed_trial_no_step_needs_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study_of(dead, refused)
    told = said_by(monkeypatch, capsys, "report", "small")
    assert told == ["hrm-sweep run --study small", "hrm-sweep diagnose trials/small/0000"]


def test_another_space_is_proposed_only_where_one_would_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_mixed_study(STORAGE)  # it fails in a region, but its puzzles are nowhere, so none can be checked
    report = ["report", study.name, "--no-measure"]
    assert not [one for one in said_by(monkeypatch, capsys, *report) if "--write-space" in one]
    data = Path(__file__).parents[1] / "fixtures" / "sudoku-4x4"
    (folder / "nowhere").symlink_to(data)
    command = "hrm-sweep diagnose --study mixed --write-space next.yaml"
    assert command in said_by(monkeypatch, capsys, *report)
