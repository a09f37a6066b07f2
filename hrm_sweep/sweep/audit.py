"""Lets some of the trials that a pruner condemns go on to their end: how else would one know what pruning costs?

Which ones depends on the study's seed and the trial's number, so that it is the same for any number of workers, and
after any restart. But where five trials have been condemned and none of the first four was to go on, the fifth does:
a study of a few trials would otherwise learn nothing. Which are the first five is noted in the study, under its lock,
and their fate with them; of all later ones nothing needs to be noted.

A trial that goes on is asked no further. Pruners that compare trials would otherwise count it where, without an audit,
it would not have been; what another pruner would have said of it, `hrm-sweep audit` replays from its curve.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import optuna

from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.storage import study_lock
from hrm_sweep.sweep.study import Study

ONE_OF_THE_FIRST = 5
"""Of so many condemned trials at least one goes on."""

GOLDEN_SECTION = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Condemnation:
    """What a pruner said of a trial, and after which evaluation.

    condemned_by  its reason, which begins with its name.
    time_s        seconds that the trial had trained for.
    """

    condemned_by: str
    epoch: float
    step: int
    time_s: float


def condemn(study: Study, trial: optuna.Trial, condemnation: Condemnation) -> bool:
    """Decide whether a trial that a pruner has condemned goes on; one that does is marked, and its retries with it.

    Repeated after a kill or an outage, it decides the same. Raises UpdateFinishedTrialError when somebody else has
    ended the trial.
    """
    if not study.space.audit:
        return False
    with study_lock(study.storage_url, study.name):
        frozen = study.storage.get_trial(trial._trial_id)
        number = study.first_attempt_of(frozen)
        first: dict[str, bool] = dict(study.attribute(attributes.FIRST_CONDEMNED) or {})
        goes_on = attributes.AUDITED in frozen.user_attrs or is_to_go_on(
            number, first, study.space.sampler.seed, study.space.audit
        )
        if goes_on:  # before the note: a kill in between must not leave a note of an audit that never was
            trial.set_user_attr(attributes.AUDITED, dataclasses.asdict(condemnation))
        if len(first) < ONE_OF_THE_FIRST and str(number) not in first:
            study.optuna.set_user_attr(attributes.FIRST_CONDEMNED, {**first, str(number): goes_on})
        return goes_on


def is_to_go_on(number: int, first: Mapping[str, bool], seed: int, share: float) -> bool:
    """Whether trial `number` goes on. first: the trials that were condemned before, up to five, and their fate."""
    if str(number) in first:
        return first[str(number)]
    is_last_chance = len(first) == ONE_OF_THE_FIRST - 1 and not any(first.values())
    return is_last_chance or is_drawn(seed, number, share)


def is_drawn(seed: int, number: int, share: float) -> bool:
    """Whether trial `number` is one of the `share` that go on. A larger share has all trials of a smaller one.

    Each trial is with this chance, over seeds. But for one seed they are spread evenly, by steps of the golden section,
    so that no stretch of trials has many of them or none: draws that know nothing of each other would let none of
    24 trials go on, or four and more, in three of ten studies with a share of 0.1.
    """
    return (Random(f"audit {seed}").random() + number * GOLDEN_SECTION) % 1 < share


def condemnation_of(user_attributes: Mapping[str, Any]) -> Condemnation | None:
    """What a pruner said of a trial that went on; None of any other trial."""
    given = user_attributes.get(attributes.AUDITED)
    return Condemnation(**given) if isinstance(given, dict) else None


def pruner_of(user_attributes: Mapping[str, Any]) -> str | None:
    """The name of what ended a pruned trial, which its reason begins with: a pruner or `constraints`; None where there
    is no reason, as where another program pruned it."""
    return str(user_attributes.get(attributes.PRUNED_BY, "")).partition(" at ")[0] or None


def audit_mark(user_attributes: Mapping[str, Any]) -> str:
    """`audited: condemned by zero_accuracy at epoch 20: ...` of a trial that went on; empty for any other."""
    mark = condemnation_of(user_attributes)
    return "" if mark is None else f"audited, for it was condemned by {mark.condemned_by}"
