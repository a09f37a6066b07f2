"""The pruner that asks the rules: which of them, from when on, and what a trial is told."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import stand_in_training
import yaml
from optuna.trial import FrozenTrial, TrialState, create_trial
from small_studies import MakeStudy

from hrm_sweep.runs import MetricRow, Owner
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.launch import ChildThread
from hrm_sweep.sweep.parts import PartError
from hrm_sweep.sweep.pruners import Progress, Pruner, read_pruners
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.trial import Surroundings, run_trial

HEALTHY = Path(__file__).parent.parent / "fixtures" / "runs" / "healthy"
Row = dict[str, Any]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory in which nothing has been measured yet."""
    directory = tmp_path / "run"
    shutil.copytree(HEALTHY, directory)
    (directory / "metrics.jsonl").write_text("")
    return directory


def append(run: Path, until: int, change: Callable[[Row], Row] = lambda row: row) -> None:
    """The recorded rows up to a step, after those that are there."""
    there = len((run / "metrics.jsonl").read_text().splitlines())
    rows = [json.loads(line) for line in (HEALTHY / "metrics.jsonl").read_text().splitlines()]
    with (run / "metrics.jsonl").open("a") as handle:
        handle.writelines(json.dumps(change(row)) + "\n" for row in rows[there:] if row["step"] <= until)


def still_embedding(row: Row) -> Row:
    if "puzzle_emb" in row:
        row["puzzle_emb"] |= {"mean_abs_movement": 0.0, "max_abs_movement": 0.0, "max_abs": 0.0}
    return row


def still_module(row: Row) -> Row:
    if "update_norm" in row:
        row["update_norm"]["L_level"] = 0.0
    return row


def pruner(*rules: str) -> Pruner:
    return read_pruners({"diagnosis": list(rules) or None})["diagnosis"]


def progress(run: Path, number: int = 0) -> Progress:
    trial = create_trial(state=TrialState.RUNNING)
    trial._trial_id = number
    evaluation = MetricRow("eval", 312, 20, 1.0, {"exact_accuracy": 0.0})
    return Progress(optuna.create_study(), trial, (evaluation,), "exact_accuracy", 60, run)


def test_a_healthy_run_goes_on_at_every_evaluation(run: Path) -> None:
    everything = read_pruners({"diagnosis": ["frozen_module", "frozen_puzzle_embedding", "act_collapsed"]})["diagnosis"]
    for step in (312, 624, 936):
        append(run, step)
        assert pruner().verdict(progress(run)) is None
        assert everything.verdict(progress(run)) is None


def test_by_default_a_fatal_rule_prunes_and_is_named(run: Path) -> None:
    append(run, 312, still_embedding)
    assert pruner().verdict(progress(run)) == (
        "diagnosis at epoch 20: frozen_puzzle_embedding: The puzzle embedding never moves"
    )


def test_an_embedding_that_is_not_meant_to_move_is_not_fatal(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"puzzle_emb_lr": 0.0}))
    append(run, 312, still_embedding)
    assert pruner().verdict(progress(run)) is None
    assert pruner("frozen_puzzle_embedding").verdict(progress(run)) is None


def test_only_the_rules_that_were_chosen_prune(run: Path) -> None:
    append(run, 312, still_module)
    assert pruner().verdict(progress(run)) is None
    assert pruner("act_collapsed").verdict(progress(run)) is None
    assert (pruner("act_collapsed", "frozen_module").verdict(progress(run)) or "").startswith(
        "diagnosis at epoch 20: frozen_module: "
    )


def test_a_fault_that_comes_later_is_seen_when_it_comes(run: Path) -> None:
    append(run, 312)
    assert pruner("frozen_module").verdict(progress(run)) is None
    append(run, 936, still_module)
    assert pruner("frozen_module").verdict(progress(run)) is not None


def test_a_retry_in_the_same_directory_is_judged_by_what_is_left_there(run: Path) -> None:
    append(run, 312, still_module)
    assert pruner("frozen_module").verdict(progress(run, number=1)) is not None
    (run / "metrics.jsonl").write_text("")
    append(run, 312)
    assert pruner("frozen_module").verdict(progress(run, number=2)) is None


def test_a_trial_whose_directory_is_unknown_or_empty_goes_on(run: Path, tmp_path: Path) -> None:
    unknown = Progress(
        optuna.create_study(), create_trial(state=TrialState.RUNNING), progress(run).evaluations, "exact_accuracy", 60
    )
    assert pruner().verdict(unknown) is None
    assert pruner().verdict(progress(tmp_path / "nothing here")) is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["act_colapsed"], "diagnosis.rules: no such rule: act_colapsed; the nearest rule is act_collapsed"),
        ([], "diagnosis.rules: expected at least one, found none"),
        ({"rule": ["non_finite"]}, "diagnosis.rule: unknown key; the nearest valid key is rules"),
        ({"rules": "non_finite"}, "diagnosis.rules: expected a list, found 'non_finite'"),
        (3, "diagnosis: expected keys and values, found 3"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: Any, complaint: str) -> None:
    with pytest.raises(PartError, match=re.escape(complaint)):
        read_pruners({"diagnosis": options})


@pytest.mark.parametrize(
    ("rules", "state", "reason"),
    [
        (["lr_out_of_range"], TrialState.PRUNED, "diagnosis at epoch 1: lr_out_of_range: The learning rate is far too"),
        (None, TrialState.COMPLETE, ""),
    ],
)
def test_a_trial_is_told_the_rule_that_ended_it(
    make_study: MakeStudy, rules: list[str] | None, state: TrialState, reason: str
) -> None:
    study = make_study(parameters={"lr": {"values": [0.0]}}, pruner={"diagnosis": rules})
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    run_trial(study, one, Surroundings(ChildThread, 1, lambda: None, lambda line: None, stand_in_training.NAME))
    trial: FrozenTrial = study.trials()[one.number]
    assert trial.state is state
    assert trial.user_attrs.get("pruned_by", "").startswith(reason)


def alone(study: Study) -> FrozenTrial:
    """Run one trial of a study to its end."""
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    run_trial(study, one, Surroundings(ChildThread, 1, lambda: None, lambda line: None, stand_in_training.NAME))
    return study.trials()[one.number]


def faulty(words: str) -> dict[str, Any]:
    return {"data_path": "nowhere", "epochs": 8, "eval_interval": 1, "project_name": words}


def test_an_embedding_that_stands_still_ends_its_trial_as_soon_as_it_can_be_told(make_study: MakeStudy) -> None:
    """Twenty steps with visits are needed, which is the second evaluation; it may be there when the first is read."""
    study = make_study(base=faulty("still hold@4"), pruner={"diagnosis": None})
    trial = alone(study)
    assert trial.state is TrialState.PRUNED
    assert re.fullmatch(
        "diagnosis at epoch [123]: frozen_puzzle_embedding: The puzzle embedding never moves",
        trial.user_attrs["pruned_by"],
    )


def test_a_value_that_is_no_number_ends_the_run_itself_before_a_pruner_is_asked(make_study: MakeStudy) -> None:
    study = make_study(base=faulty("nan@2"), pruner={"diagnosis": ["non_finite"]})
    trial = alone(study)
    assert (trial.state, trial.user_attrs["cause"]) == (TrialState.FAIL, "nan")
    assert trial.user_attrs["verdict"] == "A loss, a gradient or a weight is not a finite number"
    assert "pruned_by" not in trial.user_attrs
