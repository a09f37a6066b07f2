"""Pruners replayed over recorded curves: the same that a sweep would have done, and what it would have cost."""

from __future__ import annotations

import itertools
import json
import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import stand_in_training
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from small_studies import MakeStudy

from hrm_sweep.errors import StudyError, UsageError
from hrm_sweep.report.pruner_replay import PrunerReplays
from hrm_sweep.runs import Owner
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.launch import ChildThread
from hrm_sweep.sweep.pruner_text import read_pruner_text
from hrm_sweep.sweep.pruners import PRUNERS
from hrm_sweep.sweep.replay import recorded_trials, replayed_pruners
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.trial import Surroundings, run_trial

REFERENCE = Path(__file__).parent.parent / "fixtures" / "official_runs"
BEGAN = datetime(2026, 1, 1)


def add(study: Study, curve: dict[int, float], *, ended: int | None = None, **attrs: Any) -> None:
    """A completed trial with this curve; `ended`: its place in the order in which trials ended."""
    number = len(study.trials())
    trial = optuna.trial.create_trial(
        state=TrialState.COMPLETE, value=max(curve.values()), intermediate_values=curve, user_attrs=attrs
    )
    trial.datetime_start = BEGAN
    trial.datetime_complete = BEGAN + timedelta(minutes=number if ended is None else ended)
    study.optuna.add_trial(trial)


def ends(replays: PrunerReplays) -> dict[str, dict[int, float]]:
    """By pruner: which trials it ends, and at which epoch."""
    return {
        one.name: {trial.number: trial.ended_at for trial in one.condemned if trial.ended_at is not None}
        for one in replays.replays
    }


def test_the_zero_rule_at_epoch_20_would_have_killed_a_healthy_run_of_the_reference(make_study: MakeStudy) -> None:
    study = make_study(base={"data_path": "nowhere", "epochs": 60, "eval_interval": 20})
    for name in ("healthy", "frozen_embeddings", "single_step"):
        history = json.loads((REFERENCE / f"{name}.history.json").read_text())
        add(study, {row["epoch"]: row["eval_exact"] for row in history})
    replays = replayed_pruners(study, "zero_accuracy at 20, 40, 60")
    found = ends(replays)
    assert 0 in found["zero_accuracy at 20"]
    assert (found["zero_accuracy at 40"], found["zero_accuracy at 60"]) == ({}, {})
    (best,) = replays.best(replays.replays[0])
    assert (best.number, best.value, best.ended_at) == (0, 0.455, 20)
    assert replays.lost(replays.top_quarter(replays.replays[0])).share == 1.0  # type: ignore[union-attr]


def run_all(study: Study) -> None:
    while isinstance(one := claim(study, Owner.this_process()), Claim):
        run_trial(study, one, Surroundings(ChildThread, 1, lambda: None, lambda line: None, stand_in_training.NAME))


def test_a_replay_ends_whom_the_sweep_condemned_at_the_same_evaluation_for_the_same_reason(
    make_study: MakeStudy,
) -> None:
    first = [{"lr": 0.0}, {"lr": 2e-3}]
    study = make_study(
        parameters={"lr": {"values": [0.0, 2e-3]}},
        first=first,
        pruner={"zero_accuracy": {"epoch": 2}},
        audit=1.0,
        budget={"trials": 2},
    )
    run_all(study)
    condemned = {
        trial.number: (trial.user_attrs["audited"]["epoch"], trial.user_attrs["audited"]["condemned_by"])
        for trial in study.trials()
        if attributes.AUDITED in trial.user_attrs
    }
    (replay,) = replayed_pruners(study, "zero_accuracy at 2").replays
    assert {trial.number: (trial.ended_at, trial.reason) for trial in replay.condemned} == condemned
    assert list(condemned) == [0]


def test_rules_are_replayed_on_what_had_been_written_by_then(make_study: MakeStudy) -> None:
    """The rule takes two rows of a frozen embedding; later ones are not there yet when it is asked."""
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "still"}
    study = make_study(base=base, budget={"trials": 1})
    run_all(study)
    (replay,) = replayed_pruners(study, "diagnosis").replays
    assert [(trial.ended_at, trial.reason) for trial in replay.condemned] == [
        (2, "diagnosis at epoch 2: frozen_puzzle_embedding: The puzzle embedding never moves")
    ]


def test_a_pruner_that_compares_trials_sees_those_that_ended_before(make_study: MakeStudy) -> None:
    """The poor trial is the last to end in one study, and the first in the other."""
    for name, when in (("late", 9), ("early", -1)):
        study = make_study(name=name)
        add(study, {1: 0.1, 2: 0.1}, ended=when)
        for number in range(5):
            add(study, {1: 0.5 + 0.01 * number, 2: 0.9})
        assert [one.number for one in recorded_trials(study)][0 if when < 0 else -1] == 0
        found = ends(replayed_pruners(study, "median startup_trials=5"))["median startup_trials=5"]
        assert (0 in found) == (when > 0)


def test_a_trial_that_a_replay_has_ended_is_no_completed_trial_for_the_next_ones(make_study: MakeStudy) -> None:
    study = make_study()
    add(study, {1: 0.0, 2: 0.9, 3: 0.9})
    add(study, {1: 0.2, 2: 0.3, 3: 0.3})
    median = "median startup_trials=1"
    found = ends(replayed_pruners(study, f"{median}; zero_accuracy at 1 + {median}"))
    assert found == {median: {1: 2}, f"zero_accuracy at 1 + {median}": {0: 1}}


CURVES = st.lists(st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.5, math.nan]), min_size=6, max_size=6), max_size=8)


@given(curves=CURVES)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_zero_rule_that_waits_longer_ends_no_other_trials_and_saves_no_more(
    curves: list[list[float]], replayable: Study
) -> None:
    before = len(replayable.trials())
    for curve in [*curves, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]]:
        values = {epoch: value for epoch, value in enumerate(curve, start=1) if not math.isnan(value)}
        add(replayable, values or {1: 0.0})
    replays = replayed_pruners(replayable, "zero_accuracy at 1, 2, 3, 4, 5, 6").replays
    assert len(replays[0].trials) == before + len(curves) + 1
    for sooner, later in itertools.pairwise(replays):
        assert {trial.number for trial in later.condemned} <= {trial.number for trial in sooner.condemned}
        assert later.saved <= sooner.saved <= 1


@pytest.fixture
def replayable(make_study: MakeStudy) -> Study:
    return make_study(budget={"trials": 1000})


def test_saved_is_weighed_by_the_operations_of_each_trial_where_they_are_known(make_study: MakeStudy) -> None:
    study = make_study()
    add(study, {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}, train_flops=9e9)
    add(study, {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}, train_flops=1e9)
    (replay,) = replayed_pruners(study, "zero_accuracy at 2").replays
    assert (replay.knows_flops, replay.saved) == (True, pytest.approx(0.45))
    add(study, {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4})
    (replay,) = replayed_pruners(study, "zero_accuracy at 2").replays
    assert (replay.knows_flops, replay.saved) == (False, pytest.approx(1 / 6))


def test_where_all_trials_end_alike_there_is_no_winner(make_study: MakeStudy) -> None:
    study = make_study()
    for _ in range(5):
        add(study, {1: 0.0, 2: 0.0})
    replays = replayed_pruners(study, "zero_accuracy at 1")
    (replay,) = replays.replays
    assert (replays.best(replay), replays.top_quarter(replay), replays.better_half(replay)) == ([], [], [])
    assert len(replay.condemned) == 5


def test_a_pruner_that_needs_metrics_leaves_out_trials_of_other_machines(make_study: MakeStudy) -> None:
    study = make_study()
    add(study, {1: 0.0, 2: 0.5})
    replays = replayed_pruners(study, "diagnosis; zero_accuracy at 1 min_steps=5; zero_accuracy at 1")
    assert [(len(one.trials), one.left_out) for one in replays.replays] == [(0, (0,)), (0, (0,)), (1, ())]
    assert any("diagnosis: 1 trials left out" in sentence for sentence in replays.sentences)


def test_without_a_wish_the_studys_own_pruners_and_the_usual_ones_are_replayed(make_study: MakeStudy) -> None:
    study = make_study(pruner={"zero_accuracy": {"epoch": 2}, "threshold": {"lower": 0.1}})
    add(study, {1: 0.0, 2: 0.1, 3: 0.2, 4: 0.5})
    assert [one.name for one in replayed_pruners(study, None).replays] == [
        "zero_accuracy (this study's)",
        "threshold (this study's)",
        "all of this study's",
        "zero_accuracy at 1",  # that at 2 is the study's own
        "zero_accuracy at 3",
        "median",
        "percentile",
        "hyperband",
        "successive_halving",
    ]


def test_the_rows_of_the_studys_own_pruners_say_whom_these_ended_already(make_study: MakeStudy) -> None:
    study = make_study(pruner={"zero_accuracy": {"epoch": 2}, "median": {"startup_trials": 2}})
    add(study, {1: 0.0, 2: 0.1, 3: 0.2, 4: 0.5})
    for reason in (
        "zero_accuracy at epoch 2: none",
        "median at epoch 3: 0.1",
        "median at epoch 2: 0.1",
        "constraints at",
    ):
        trial = optuna.trial.create_trial(
            state=TrialState.PRUNED, intermediate_values={1: 0.0, 2: 0.0}, user_attrs={attributes.PRUNED_BY: reason}
        )
        study.optuna.add_trial(trial)
    replays = replayed_pruners(study, None)
    already = {one.name: one.ended_already for one in replays.replays if one.ended_already}
    assert already == {"zero_accuracy (this study's)": 1, "median (this study's)": 2, "all of this study's": 3}
    assert [row[2].text for row in replays.grid.rows][:4] == ["0, +1", "0, +2", "0, +3", "1"]
    assert replays.sentences[0].startswith("Ends, after the plus: trials that this pruner ended in the study itself")
    typed = replayed_pruners(study, "median startup_trials=2; median startup_trials=3")
    assert [one.ended_already for one in typed.replays] == [2, 0]
    assert not any("plus" in said for said in replayed_pruners(study, "hyperband").sentences)


def test_a_study_without_a_whole_curve_says_so(make_study: MakeStudy) -> None:
    with pytest.raises(StudyError, match="small: no trial has run to its end yet, so there is no curve to replay"):
        replayed_pruners(make_study(), None)


# As it is typed -------------------------------------------------------------------------------------------------------


def test_pruners_are_read_as_they_are_typed() -> None:
    found = read_pruner_text("zero_accuracy at 10, 20; median at 5 startup_trials=3; patient patience=2 around=median")
    assert [name for name, _ in found] == [
        "zero_accuracy at 10",
        "zero_accuracy at 20",
        "median at 5 startup_trials=3",
        "patient patience=2 around=median",
    ]
    assert [list(pruners) for _, pruners in found] == [["zero_accuracy"], ["zero_accuracy"], ["median"], ["patient"]]
    assert found[1][1]["zero_accuracy"].model_dump()["epoch"] == 20
    median = found[2][1]["median"].model_dump()
    assert (median["warmup_epochs"], median["startup_trials"]) == (5, 3)
    together = read_pruner_text("zero_accuracy at 10, 20 + hyperband")
    assert [name for name, _ in together] == ["zero_accuracy at 10 + hyperband", "zero_accuracy at 20 + hyperband"]
    assert [list(pruners) for _, pruners in together] == [["zero_accuracy", "hyperband"]] * 2


NEED_MORE = {"patient": "patience=1", "threshold": "lower=0.1"}


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_can_be_typed(name: str) -> None:
    assert list(read_pruner_text(f"{name} {NEED_MORE.get(name, '')}")[0][1]) == [name]


WRONG = [
    ("", "--pruner: expected pruners, as in"),
    (" ; ", "--pruner: expected pruners, as in"),
    ("zero_acuracy at 10", "--pruner: 'zero_acuracy at 10': zero_acuracy: no such pruner; expected diagnosis, "),
    ("zero_accuracy at ten", "--pruner: 'zero_accuracy at ten': expected NAME, NAME at EPOCH, EPOCH"),
    ("zero_accuracy at 0", "--pruner: 'zero_accuracy at 0': zero_accuracy.epoch: "),
    ("diagnosis at 5", "--pruner: 'diagnosis at 5': diagnosis has no epoch to begin at; leave `at` out"),
    (
        "median foo=1",
        "--pruner: 'median foo=1': median.foo: unknown key; median has startup_trials, warmup_epochs, "
        "interval_epochs, min_trials",
    ),
    ("median startup=3", "--pruner: 'median startup=3': median.startup: unknown key"),
    ("median startup_trials=[", "--pruner: 'median startup_trials=[': cannot read '['"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_typed_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_pruner_text(text)
    assert str(caught.value).startswith(message)
