"""Starting from what another study found: its best trials become the points that a study tries first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.errors import ConfigError, StudyError
from hrm_sweep.evaluation.share import is_accuracy
from hrm_sweep.report.study_report import numbered, plural
from hrm_sweep.sweep.conditions import all_hold
from hrm_sweep.sweep.goals import is_feasible, score
from hrm_sweep.sweep.keys import number_kind
from hrm_sweep.sweep.parameters import Parameter, allows, every_value
from hrm_sweep.sweep.remedies import values_of
from hrm_sweep.sweep.space import FromStudy, SearchSpace
from hrm_sweep.sweep.study import Study, open_study


def with_points_of(space: SearchSpace, storage_url: str, before: SearchSpace | None) -> tuple[SearchSpace, list[str]]:
    """The space with the points in `first` that its `first_from` names, before its own; and what to say about them.

    before   the space of the study that is continued, if there is one: what it was started with stays, whatever the
             other study has found since.

    Raises StudyError when there is no such study, or nothing in it that this space can use.
    """
    if before is not None and before.first_from is not None and space.first_from in (None, before.first_from):
        of_before = before.first
        if any(of_before == _with_own(of_before[:found], space) for found in range(len(of_before) + 1)):
            return space.model_copy(update={"first": of_before, "first_from": before.first_from}), []
    wanted = space.first_from
    if wanted is None:
        return space, []
    points, notes = points_of(wanted, open_study(wanted.storage or storage_url, wanted.from_study), space)
    first = _with_own(points, space)
    return space.model_copy(update={"first": first}), [*notes, *_never_tried(len(first), space.budget.trials)]


def _with_own(found: Sequence[Mapping[str, Any]], space: SearchSpace) -> tuple[Mapping[str, Any], ...]:
    """The points that were found, and after them those of the space that are not among them."""
    return (*found, *(point for point in space.first if point not in found))


def _never_tried(points: int, trials: int) -> Iterator[str]:
    """What becomes of points that the budget has no trials for; they are tried in their order."""
    if points > trials:
        left = points - trials
        yield (
            f"of the {points} points that come first the last {'is' if left == 1 else f'{left} are'} never tried, for "
            f"budget.trials is {trials}; --trials {points} tries all"
        )


@dataclass
class _Start:
    """A point, and the trials that give it. changes: what had to be changed for it in the values of its trials."""

    point: dict[str, Any]
    trials: list[int]
    changes: list[str]

    def notes(self) -> Iterator[str]:
        if len(self.trials) > 1:
            why = (
                "the nearest values that are searched here are the same"
                if self.changes
                else "they differ in nothing that is searched here"
            )
            yield f"{numbered(self.trials)} give 1 point here, for {why}"
        yield from self.changes


def points_of(wanted: FromStudy, other: Study, space: SearchSpace) -> tuple[list[dict[str, Any]], list[str]]:
    """The best trials of another study as points of this space, best first, equal ones once; and what to say.

    A parameter takes the value that the trial was run with, searched or not, at the nearest that this space allows.
    Passed over are trials that solved nothing.
    """
    best, said = _best(wanted.top, other)
    starts: list[_Start] = []
    for trial in best:
        point, found = _fitted(space, _values_run_with(other, trial, space))
        if not point:
            continue
        changes = [f"trial {trial.number}: {change}" for change in found]
        same = next((start for start in starts if start.point == point), None)
        if same is None:
            starts.append(_Start(point, [trial.number], changes))
        else:
            same.trials.append(trial.number)
            same.changes += changes
    if not starts:
        raise StudyError(
            f"{other.name}: nothing to start from: none of its values fits a parameter of this space "
            f"({', '.join(space.parameters)}); it searched {', '.join(other.space.parameters)}"
        )
    giving = {number for start in starts for number in start.trials}
    numbers = numbered([trial.number for trial in best if trial.number in giving])
    come = "comes" if len(starts) == 1 else "come"
    head = f"first {come} {plural(len(starts), 'point')} from study {other.name}: its best {numbers}"
    return [start.point for start in starts], [head, *said, *(note for start in starts for note in start.notes())]


def _best(top: int, other: Study) -> tuple[list[FrozenTrial], list[str]]:
    """The best trials to start from, at most `top`; and what to say of those passed over on the way.

    A score is what counts: a trial with a warning of the diagnosis, or one that a pruner had condemned and an audit let
    go on, may be the best all the same; one that violates a constraint of that study may not. Raises StudyError where
    there is none.
    """
    complete = [chain.last for chain in other.chains() if chain.last.state is TrialState.COMPLETE]
    if not complete:
        raise StudyError(f"{other.name}: no trial has completed, so there is nothing to start from")
    ranked = sorted(filter(is_feasible, complete), key=lambda trial: _score(other, trial))
    if not ranked:
        raise StudyError(
            f"{other.name}: nothing to start from, for every completed trial violates a constraint; name points in "
            "`first`, or start from another study"
        )
    worthless = [trial for trial in ranked if _solved_nothing(other, trial)]
    if len(worthless) == len(ranked):
        raise StudyError(
            f"{other.name}: nothing to start from, for no completed trial has solved anything; name points in `first`, "
            "or start from another study"
        )
    best = [trial for trial in ranked if trial not in worthless][:top]
    missed = sorted(trial.number for trial in worthless) if len(best) < top else []
    violating = sorted(trial.number for trial in complete if not is_feasible(trial))
    return best, [
        f"left out, for {why}: {numbered(numbers)}"
        for why, numbers in (("nothing was solved", missed), ("a constraint is violated", violating))
        if numbers
    ]


def _solved_nothing(other: Study, trial: FrozenTrial) -> bool:
    objective, value = other.space.objective, score(trial)
    return objective.goal == "maximize" and is_accuracy(objective.metric) and value is not None and value <= 0


def _score(other: Study, trial: FrozenTrial) -> float:
    """Lower is better; equals stay in the order of their numbers."""
    value = score(trial)
    assert value is not None
    return -value if other.space.objective.goal == "maximize" else value


def _values_run_with(other: Study, trial: FrozenTrial, space: SearchSpace) -> dict[str, Any]:
    """What a trial was run with, for each parameter of this space: drawn, or fixed in the other study."""
    values = values_of(trial)
    try:
        config = other.space.config(values)
    except ConfigError:  # an older version wrote it
        return {name: value for name, value in values.items() if name in space.parameters}
    return {name: config.get(name) for name in space.parameters}


def _fitted(space: SearchSpace, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values that this space allows, in place of others the nearest; and what was changed."""
    point: dict[str, Any] = {}
    changes: list[str] = []
    for name in space.order():
        parameter, value = space.parameters[name], values.get(name)
        if value is None or not all_hold(parameter.conditions(), point):
            continue
        fitting = nearest(name, parameter, value)
        if fitting is None:
            changes.append(f"{name} {value!r} is not among its values, so it is drawn")
            continue
        point[name] = fitting
        if fitting != value:
            changes.append(f"{name} {value:g} becomes {fitting:g}, the nearest that is searched")
    return point, changes


def nearest(name: str, parameter: Parameter, value: Any) -> Any | None:
    """The value of a parameter that is nearest to `value`, by ratio where all are above 0; None where it is no number
    and not among those listed."""
    if allows(name, parameter, value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if parameter.values is None and parameter.step is None and number_kind(name) is not int:
        low, high = parameter.range
        return min(max(value, low), high)
    numbers = [
        one for one in every_value(name, parameter) if isinstance(one, int | float) and not isinstance(one, bool)
    ]
    if not numbers:
        return None
    by_ratio = value > 0 and min(numbers) > 0

    def distance(one: float) -> float:
        return abs(math.log(one / value)) if by_ratio else abs(one - value)

    return min(numbers, key=distance)
