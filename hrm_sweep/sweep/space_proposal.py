"""The search space that a study's diagnosis asks for: without regions that bring nothing, with ranges that go on."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hrm_sweep.diagnosis import MissingEvidence, StudyDiagnosis, StudyEvidence, Verdict
from hrm_sweep.diagnosis.edges import Edge, Side, best_trials, edges
from hrm_sweep.diagnosis.regions import Region, Relation, concentrations
from hrm_sweep.diagnosis.study_evidence import StudyTrial
from hrm_sweep.errors import SpaceError
from hrm_sweep.sweep.keys import number_kind
from hrm_sweep.sweep.parameters import Parameter, allows, every_value
from hrm_sweep.sweep.space import SearchSpace, space_from_mapping
from hrm_sweep.sweep.space_lint import lint_space
from hrm_sweep.sweep.study import Study, study_names

_LEAST_FACTOR, _MOST_FACTOR = 2.0, 10.0
"""A range of ratios grows by half of its decades, but at least to twice and at most to ten times its end: far enough
for another end to be news, near enough for the search to cover it."""


_SIDES = {
    Relation.ABOVE: (Side.UPPER,),
    Relation.AT_LEAST: (Side.UPPER,),
    Relation.BELOW: (Side.LOWER,),
    Relation.AT_MOST: (Side.LOWER,),
    Relation.OUTSIDE: (Side.LOWER, Side.UPPER),
}


@dataclass(frozen=True)
class Change:
    """One difference from the study's space: at a parameter, at `objective` or at `first`."""

    key: str
    why: str


@dataclass(frozen=True)
class Proposal:
    """A search space that lints, and why it differs.

    changes   empty when there is nothing to change; `space` is then the study's own.
    left_out  what the diagnosis suggests and was not done, with the reason.
    """

    space: SearchSpace
    changes: tuple[Change, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Step:
    change: Change
    apply: Callable[[SearchSpace], SearchSpace | None]


def propose_space(study: Study, evidence: StudyEvidence, diagnosis: StudyDiagnosis) -> Proposal:
    """The space of `study` with each change that its diagnosis calls for and that every combination survives.

    Raises SpaceError or DataError when the space cannot be linted even unchanged, for example where its data is gone.
    """
    name = _next_name(study.name, study_names(study.storage))
    space = study.space.model_copy(update={"name": name})
    lint_space(space, name)
    changes, left_out = [], []
    for step in _steps(evidence, diagnosis):
        changed = step.apply(space)
        if changed is None:
            left_out.append(f"{step.change.key}: nothing would be left, or nothing lies beyond ({step.change.why})")
            continue
        changed, dropped = _with_possible_first(changed)
        try:
            changed = space_from_mapping(changed.model_dump(mode="json"), name)
            lint_space(changed, name)
        except SpaceError as error:
            left_out.append(f"{step.change.key}: {step.change.why}; but {str(error).splitlines()[-1]}")
            continue
        space = changed
        changes.append(step.change)
        if dropped:
            changes.append(Change("first", f"{dropped} left out: outside of what {step.change.key} may be now"))
    return Proposal(space, tuple(changes), tuple(left_out))


def _steps(evidence: StudyEvidence, diagnosis: StudyDiagnosis) -> Iterator[_Step]:
    """What to change, in order. A region is left out only where none of the best trials lies."""
    done: set[tuple[str, Side]] = set()
    with contextlib.suppress(MissingEvidence):
        best = _best(evidence)
        for found in concentrations(evidence):
            if any(found.region.holds(trial) for trial in best):
                continue
            region = found.region
            done |= {(region.parameter, side) for side in _SIDES.get(region.relation, ())}
            why = f"was {_range(evidence, region.parameter)}; {found}"
            yield _Step(Change(region.parameter, why), _narrowing(region))
    with contextlib.suppress(MissingEvidence):
        for edge in edges(evidence):
            if edge.is_edge and (edge.parameter.name, edge.side) not in done:
                why = f"was {_range(evidence, edge.parameter.name)}; {edge}"
                yield _Step(Change(edge.parameter.name, why), _widening(edge))
    blind = next(finding for finding in diagnosis.findings if finding.rule == "sampler_blind")
    if blind.verdict is Verdict.FIRED and blind.is_sick and evidence.metric == "exact_accuracy":
        yield _Step(Change("objective", "was exact_accuracy, which is the same in every trial"), _by_cells)


def _range(evidence: StudyEvidence, name: str) -> str:
    """What a parameter may be in the study, in words."""
    parameter = next(one for one in evidence.parameters if one.name == name)
    if parameter.values is not None:
        return ", ".join(map(str, parameter.values))
    return f"{parameter.low:g} to {parameter.high:g}"


def _best(evidence: StudyEvidence) -> tuple[StudyTrial, ...]:
    try:
        return best_trials(evidence)
    except MissingEvidence:
        return evidence.ranked  # too few to choose from: none of them may be lost


def _by_cells(space: SearchSpace) -> SearchSpace:
    beside = tuple(goal for goal in space.objective.beside if goal.metric != "accuracy")
    changed = space.objective.model_copy(update={"metric": "accuracy", "beside": beside})
    return space.model_copy(update={"objective": changed})


def _narrowing(region: Region) -> Callable[[SearchSpace], SearchSpace | None]:
    return lambda space: _with_parameter(
        space, region.parameter, narrowed(region.parameter, space.parameters[region.parameter], region)
    )


def _widening(edge: Edge) -> Callable[[SearchSpace], SearchSpace | None]:
    name = edge.parameter.name
    return lambda space: _with_parameter(space, name, widened(name, space.parameters[name], edge))


def _with_parameter(space: SearchSpace, name: str, parameter: Parameter | None) -> SearchSpace | None:
    if parameter is None or parameter == space.parameters[name]:
        return None
    return space.model_copy(update={"parameters": {**space.parameters, name: parameter}})


def narrowed(name: str, parameter: Parameter, region: Region) -> Parameter | None:
    """The parameter without a region; None when nothing is left."""
    if parameter.values is not None:
        kept = tuple(value for value in parameter.values if not region.contains(value))
        return parameter.model_copy(update={"values": kept}) if kept else None
    low, high = parameter.range
    if parameter.step is not None or number_kind(name) is int:
        numbers = [value for value in every_value(name, parameter) if not region.contains(value)]
        return parameter.model_copy(update={"min": numbers[0], "max": numbers[-1]}) if numbers else None
    sides = _SIDES[region.relation]
    if Side.LOWER in sides:
        low = max(low, float(region.value or 0))
    if Side.UPPER in sides:
        high = min(high, float((region.end if region.relation is Relation.OUTSIDE else region.value) or 0))
    return parameter.model_copy(update={"min": low, "max": high}) if low <= high else None


def widened(name: str, parameter: Parameter, edge: Edge) -> Parameter | None:
    """The parameter going on beyond an end: a list by its next number, a range by half of its width, within what
    RunConfig allows. None when that leaves no room."""
    is_whole = number_kind(name) is int
    upper = edge.side is Side.UPPER
    if parameter.values is not None:
        row = sorted(float(value) for value in parameter.values)
        beyond = _next_in_row(row if upper else row[::-1])
    else:
        beyond = _beyond(parameter, upper=upper)
    if edge.parameter.least is not None:
        beyond = max(beyond, edge.parameter.least)
    if edge.parameter.most is not None:
        beyond = min(beyond, edge.parameter.most)
    value = round(beyond) if is_whole else float(beyond)
    if not (value > edge.bound if upper else value < edge.bound):
        return None
    if parameter.values is not None:
        values = (*parameter.values, value) if upper else (value, *parameter.values)
        return parameter.model_copy(update={"values": values})
    return parameter.model_copy(update={"max" if upper else "min": value})


def _next_in_row(numbers: list[float]) -> float:
    """What comes after three numbers or more: by ratio where the last three have one, otherwise by difference."""
    before, one, last = numbers[-3:]
    if before > 0 and one > 0 and last > 0 and math.isclose(one / before, last / one, rel_tol=0.01):
        return last * last / one
    return last + (last - one)


def _beyond(parameter: Parameter, *, upper: bool) -> float:
    low, high = parameter.range
    if parameter.log:
        factor = min(_MOST_FACTOR, max(_LEAST_FACTOR, math.sqrt(high / low)))
        return _two_digits(high * factor if upper else low / factor)
    if parameter.step is not None:
        grown: float = parameter.step * max(1, round((high - low) / 2 / parameter.step))
        return high + grown if upper else low - grown
    half = (high - low) / 2
    return _two_digits(high + half if upper else low - half)


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def _with_possible_first(space: SearchSpace) -> tuple[SearchSpace, int]:
    """The space without the points of `first` that its parameters do not allow any more, and how many these are."""
    possible = tuple(
        point
        for point in space.first
        if all(allows(name, space.parameters[name], value) for name, value in point.items())
    )
    return space.model_copy(update={"first": possible}), len(space.first) - len(possible)


def _next_name(name: str, taken: list[str]) -> str:
    """`quickstart-2` for quickstart, `quickstart-3` where that exists."""
    match = re.fullmatch(r"(.*)-(\d+)", name)
    stem, number = (match[1], int(match[2])) if match else (name, 1)
    while f"{stem}-{number + 1}" in taken:
        number += 1
    return f"{stem}-{number + 1}"
