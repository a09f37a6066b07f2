"""Every pruner, held to what all pruners promise; and what each adds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from pruner_conformance import DEAD, EVERY, GOOD, PrunerConformance, progress, study_with

from hrm_sweep.runs import MetricRow
from hrm_sweep.sweep.pruners import PRUNERS, Progress, Pruner, first_verdict, read_pruners
from hrm_sweep.sweep.pruners.zero_accuracy import ZeroAccuracy

optuna.logging.set_verbosity(optuna.logging.ERROR)

SPECIFICATIONS: dict[str, dict[str, Any]] = {
    "zero_accuracy": {"epoch": 20},
    "hyperband": {"min_epoch": 5},
    "successive_halving": {"min_epoch": 5},
    "median": {},
    "percentile": {"percentile": 50},
    "threshold": {"lower": 0.05},
    "patient": {"patience": 2, "around": "median"},
    "diagnosis": {"rules": ["lr_out_of_range"]},
}

DEAD_RUN = Path(__file__).parent.parent / "fixtures" / "runs" / "recorded" / "dead" / "lr_out_of_range-lr1e-6"


def test_every_pruner_is_held_to_it() -> None:
    assert set(SPECIFICATIONS) == set(PRUNERS)


@pytest.mark.parametrize("name", sorted(SPECIFICATIONS))
class TestEveryPruner(PrunerConformance):
    @pytest.fixture
    def pruner(self, name: str) -> Pruner:
        return read_pruners({name: SPECIFICATIONS[name]})[name]

    # `patient` waits for a run that has stopped getting better; one that was at zero from the start never got worse.
    # `diagnosis` judges a run directory, not the values.
    def test_a_run_that_stays_at_zero_is_pruned_with_a_reason_that_begins_with_the_pruners_name(
        self, pruner: Pruner
    ) -> None:
        if pruner.name == "diagnosis":
            assert (pruner.verdict(in_directory(DEAD_RUN)) or "").startswith("diagnosis at epoch 20: lr_out_of_range")
            return
        if pruner.name != "patient":
            super().test_a_run_that_stays_at_zero_is_pruned_with_a_reason_that_begins_with_the_pruners_name(pruner)
            return
        falling = [0.3, 0.2, 0.1, 0.1, 0.1]
        assert (pruner.verdict(progress(study_with(8), falling)) or "").startswith("patient at epoch 25: ")


def in_directory(run: Path) -> Progress:
    trial = create_trial(state=TrialState.RUNNING)
    evaluation = MetricRow("eval", 625, 20, 1.0, {"exact_accuracy": 0.0})
    return Progress(optuna.create_study(), trial, (evaluation,), "exact_accuracy", 60, run)


def rows(*values: tuple[float, float], every: int = 10) -> Progress:
    """A run with these (exact, cell) accuracies, evaluated each 10 epochs, 100 steps apart."""
    made = tuple(
        MetricRow("eval", 100 * (i + 1), every * (i + 1), 1.0, {"exact_accuracy": exact, "accuracy": cells})
        for i, (exact, cells) in enumerate(values)
    )
    study = optuna.create_study(direction="maximize")
    return Progress(study, create_trial(state=TrialState.RUNNING), made, "exact_accuracy", 100)


ZERO_RULE = [
    ("before its epoch", {"epoch": 20}, [(0, 0.5)], None),
    ("at its epoch", {"epoch": 20}, [(0, 0.5)] * 2, "no puzzle solved in 2 evaluations up to optimizer step 200"),
    ("at the first evaluation after it", {"epoch": 15}, [(0, 0.5)] * 2, "no puzzle solved in 2 evaluations"),
    ("also later", {"epoch": 20}, [(0, 0.5)] * 4, "no puzzle solved in 4 evaluations up to optimizer step 400"),
    ("one puzzle once is life", {"epoch": 20}, [(0.001, 0.5), (0, 0.5), (0, 0.5)], None),
    ("not before min_steps", {"epoch": 20, "min_steps": 300}, [(0, 0.5)] * 2, None),
    ("at min_steps", {"epoch": 20, "min_steps": 300}, [(0, 0.5)] * 3, "no puzzle solved in 3 evaluations"),
    ("cells improve", {"epoch": 20, "unless_cells_improve": True}, [(0, 0.5), (0, 0.51)], None),
    ("cells stand still", {"epoch": 20, "unless_cells_improve": True}, [(0, 0.5), (0, 0.504)], "no puzzle solved"),
    ("cells fall back", {"epoch": 20, "unless_cells_improve": True}, [(0, 0.6), (0, 0.5), (0, 0.59)], "no puzzle"),
    ("cells by a share of one's own", {"epoch": 20, "unless_cells_improve": 0.1}, [(0, 0.5), (0, 0.55)], "no puzzle"),
    ("nothing to compare the cells with", {"epoch": 10, "unless_cells_improve": True}, [(0, 0.5)], None),
]


@pytest.mark.parametrize(
    ("options", "values", "reason"), [case[1:] for case in ZERO_RULE], ids=[case[0] for case in ZERO_RULE]
)
def test_the_zero_rule(options: dict[str, Any], values: list[tuple[float, float]], reason: str | None) -> None:
    verdict = ZeroAccuracy.model_validate(options).verdict(rows(*values))
    assert (verdict is None) if reason is None else (verdict is not None and reason in verdict)


def test_the_zero_rule_spares_a_run_that_solved_one_puzzle_and_forgot_it() -> None:
    assert ZeroAccuracy().verdict(rows((0.0, 0.5), (0.01, 0.5), (0.0, 0.5), (0.0, 0.5))) is None


def test_the_first_pruner_of_the_space_that_would_end_a_trial_gives_the_reason() -> None:
    seen = progress(study_with(8), DEAD[:4])
    assert (first_verdict(read_pruners({"median": {}, "zero_accuracy": {}}), seen) or "").startswith("median at")
    assert (first_verdict(read_pruners({"zero_accuracy": {}, "median": {}}), seen) or "").startswith("zero_accuracy")
    assert first_verdict(read_pruners({"zero_accuracy": {}}), progress(study_with(8), GOOD[:4])) is None
    assert first_verdict({}, seen) is None


def test_patient_without_another_pruner_ends_a_run_that_got_worse() -> None:
    alone = read_pruners({"patient": {"patience": 1}})
    assert first_verdict(alone, progress(study_with(0), [0.5, 0.4])) is None
    assert first_verdict(alone, progress(study_with(0), [0.5, 0.4, 0.4])) == "patient at epoch 15: exact_accuracy 0.4"


def test_hyperband_takes_the_length_of_the_run_for_its_largest_resource() -> None:
    (hyperband,) = read_pruners({"hyperband": {"min_epoch": 10}}).values()
    assert hyperband.build(90)._max_resource == 90  # type: ignore[attr-defined]
    assert hyperband.build(EVERY)._max_resource == 10  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["hyperband", "successive_halving", "median", "percentile", "threshold", "patient"])
def test_who_has_come_to_the_last_evaluation_is_compared_no_more(name: str) -> None:
    (pruner,) = read_pruners({name: SPECIFICATIONS[name]}).values()
    curve = [0.3, *DEAD[1:]]
    assert pruner.verdict(progress(study_with(8, pruner), curve[:-1])) is not None
    assert pruner.verdict(progress(study_with(8, pruner), curve)) is None


def test_who_has_solved_enough_to_end_is_compared_no_more() -> None:
    (median,) = read_pruners({"median": {}}).values()
    behind = progress(study_with(8), [0.05, 0.1, 0.15])
    assert median.verdict(behind) is not None
    assert median.verdict(dataclasses.replace(behind, solved_at=0.15)) is None
    assert median.verdict(dataclasses.replace(behind, solved_at=0.16)) is not None
