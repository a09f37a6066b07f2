"""What every pruner promises. A new one proves itself by a subclass with the fixture `pruner`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
import pytest

from hrm_sweep.runs import MetricRow
from hrm_sweep.sweep.pruners import PRUNERS, Progress, Pruner, read_pruners

EPOCHS = 60
EVERY = 5
GOOD = [0.1 + 0.9 * epoch / EPOCHS for epoch in range(EVERY, EPOCHS + 1, EVERY)]
DEAD = [0.0] * len(GOOD)


def study_with(finished: int, pruner: Pruner | None = None) -> optuna.Study:
    """A study in which so many trials have learned, each a little differently, judged by `pruner` on their way."""
    study = optuna.create_study(study_name="conformance", direction="maximize")
    for number in range(finished):
        curve = [value - 0.001 * number for value in GOOD]
        trial = study.ask()
        for i, value in enumerate(curve):
            trial.report(value, EVERY * (i + 1))
            if pruner is not None:
                pruner.verdict(_progress(study, trial._trial_id, curve[: i + 1]))
        study.tell(trial, curve[-1])
    return study


def progress(study: optuna.Study, curve: Sequence[float]) -> Progress:
    """A running trial that has been evaluated with these exact accuracies."""
    trial = study.ask()
    for i, value in enumerate(curve):
        if math.isfinite(value):
            trial.report(value, EVERY * (i + 1))
    return _progress(study, trial._trial_id, curve)


def _progress(study: optuna.Study, trial_id: int, curve: Sequence[float]) -> Progress:
    rows = tuple(
        MetricRow("eval", 10 * EVERY * (i + 1), EVERY * (i + 1), 1.0, {"exact_accuracy": value, "accuracy": 0.5})
        for i, value in enumerate(curve)
    )
    return Progress(study, study._storage.get_trial(trial_id), rows, "exact_accuracy", EPOCHS)


class PrunerConformance:
    """Subclass it as `class TestMine(PrunerConformance)`; with its options the pruner must end a run that stays at 0
    beside others that learned, and must not have a quarrel with a run that is the best of all."""

    @pytest.fixture
    def pruner(self) -> Pruner:
        raise NotImplementedError

    def test_it_is_found_by_its_name(self, pruner: Pruner) -> None:
        assert PRUNERS[pruner.name] is type(pruner)

    def test_its_options_survive_being_written_and_read(self, pruner: Pruner) -> None:
        assert read_pruners({pruner.name: pruner.model_dump(mode="json")}) == {pruner.name: pruner}

    def test_it_has_no_opinion_before_the_first_evaluation(self, pruner: Pruner) -> None:
        assert pruner.verdict(progress(study_with(8, pruner), [])) is None

    @pytest.mark.parametrize("finished", [0, 1, 8])
    def test_one_evaluation_is_enough_to_be_asked(self, pruner: Pruner, finished: int) -> None:
        verdict = pruner.verdict(progress(study_with(finished, pruner), [0.5]))
        assert verdict is None or verdict.startswith(pruner.name)

    def test_a_value_that_is_no_number_is_no_reason_to_prune(self, pruner: Pruner) -> None:
        study = study_with(8, pruner)
        assert pruner.verdict(progress(study, [math.nan])) is None
        assert pruner.verdict(progress(study, [math.nan] * len(GOOD))) is None
        assert pruner.verdict(progress(study, [*GOOD[:-1], math.nan])) is None

    def test_a_run_that_stays_at_zero_is_pruned_with_a_reason_that_begins_with_the_pruners_name(
        self, pruner: Pruner
    ) -> None:
        study = study_with(8, pruner)
        verdicts = [pruner.verdict(progress(study, DEAD[: n + 1])) for n in range(len(DEAD))]
        reasons = [verdict for verdict in verdicts if verdict is not None]
        assert reasons
        assert reasons[0].startswith(f"{pruner.name} at epoch ")

    def test_the_best_run_of_all_is_never_pruned(self, pruner: Pruner) -> None:
        study = study_with(8, pruner)
        best = [min(1.0, value + 0.01) for value in GOOD]
        assert [pruner.verdict(progress(study, best[: n + 1])) for n in range(len(best))] == [None] * len(best)

    def test_it_says_the_same_when_asked_again_by_another_worker(self, pruner: Pruner) -> None:
        """A resumed trial is judged from the storage and its metrics alone."""
        seen = progress(study_with(8, pruner), DEAD)
        assert pruner.verdict(seen) == type(pruner).model_validate(pruner.model_dump()).verdict(seen)
