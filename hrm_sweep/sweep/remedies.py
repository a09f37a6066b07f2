"""Remedies: what the diagnosis of a trial that did not learn proposes, tried as a trial of its own.

A trial that was pruned or failed and whose leading finding has a remedy carries it in the user attribute `remedy`,
written before it is told. Nothing is queued: which remedies are due is read off the trials whenever one is claimed,
under the study's lock, and the trial is born RUNNING with its mark in one transaction. So a kill at any moment neither
loses a remedy nor doubles it, and it counts as every other trial.

A remedy may change keys that the space does not vary, or give values that the space does not allow. Such a trial has
them in the user attribute `overrides`, on top of its parameters; a parameter among them is not drawn, so that Optuna is
never told a value that the run did not have. Samplers do not see these trials (`comparable`): their score belongs to a
configuration outside of the space, and would be learned as that of their parameters.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.errors import ConfigError
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.conditions import all_hold
from hrm_sweep.sweep.parameters import allows
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.study import Chain, Study

if TYPE_CHECKING:
    from hrm_sweep.diagnosis import Diagnosis


@dataclass(frozen=True)
class Remedy:
    """A trial to be: the configuration of trial `of`, with what `rule` proposes.

    parameters  values of parameters of the space.
    overrides   everything else that differs from the space.
    """

    of: int
    rule: str
    parameters: Mapping[str, Any]
    overrides: Mapping[str, Any]

    @property
    def attributes(self) -> dict[str, Any]:
        """The user attributes that its trial is born with."""
        marks = {attributes.REMEDY_OF: self.of, attributes.REMEDY_RULE: self.rule}
        return {**marks, attributes.OVERRIDES: dict(self.overrides)} if self.overrides else marks


def prescribed(space: SearchSpace, values: Mapping[str, Any], diagnosis: Diagnosis | None) -> dict[str, Any] | None:
    """The attribute `remedy` of a trial with these values: {rule, overrides} of the leading finding.

    None where nothing is found, where there is no remedy, and where it would make no configuration.
    """
    leading = None if diagnosis is None else diagnosis.leading
    if leading is None or not leading.remedy:
        return None
    try:
        space.config({**values, **leading.remedy})
    except ConfigError:
        return None
    return {"rule": leading.rule, "overrides": dict(leading.remedy)}


def due_remedies(study: Study, chains: Sequence[Chain]) -> list[Remedy]:
    """The remedies that the study has not tried yet, at most one a rule, the first trial's first; none unless the
    search space says `remedies: true`.

    As a rule has one remedy in a study, nothing is ever the remedy of a remedy of the same rule.
    """
    if not study.space.remedies:
        return []
    taken = {chain.first.user_attrs.get(attributes.REMEDY_RULE) for chain in chains}
    due: dict[str, Remedy] = {}
    for chain in chains:
        given = chain.last.user_attrs.get(attributes.REMEDY)
        has_failed = chain.last.state in (TrialState.PRUNED, TrialState.FAIL) and not study.is_due(chain)
        if given is not None and has_failed and given["rule"] not in taken:
            due.setdefault(given["rule"], _remedy_of(chain.last, given, study.space))
    return list(due.values())


def is_remedy(chain: Chain) -> bool:
    return attributes.REMEDY_OF in chain.first.user_attrs


def remedy_mark(given: Mapping[str, Any]) -> str:
    """`remedy of trial 3 (lr_out_of_range)` of a trial with these user attributes; empty for any that is none."""
    if attributes.REMEDY_OF not in given:
        return ""
    return f"remedy of trial {given[attributes.REMEDY_OF]} ({given[attributes.REMEDY_RULE]})"


def values_of(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial's configuration has in place of the space's base: its parameters, and a remedy's overrides."""
    return {**trial.params, **trial.user_attrs.get(attributes.OVERRIDES, {})}


def _remedy_of(trial: FrozenTrial, given: Mapping[str, Any], space: SearchSpace) -> Remedy:
    changed = {**trial.user_attrs.get(attributes.OVERRIDES, {}), **given["overrides"]}
    values = {**values_of(trial), **changed}
    parameters, overrides = {}, {}
    for key, value in values.items():
        parameter = space.parameters.get(key)
        exists = parameter is not None and all_hold(parameter.conditions(), values)
        if parameter is not None and exists and allows(key, parameter, value):
            parameters[key] = value
        elif exists or key in changed:
            overrides[key] = value
    return Remedy(trial.number, given["rule"], parameters, overrides)


class _ComparableTrials(optuna.Study):
    """A study as samplers and importances see it, without the trials that lie outside of its space."""

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return list(_comparable(super()._get_trials(deepcopy, states, use_cache)))


def comparable(study: Study, sampler: BaseSampler | None = None) -> optuna.Study:
    """The study without trials whose configuration its parameters do not tell."""
    return _ComparableTrials(study.name, study.storage, sampler or study.optuna.sampler, study.optuna.pruner)


def _comparable(trials: Sequence[FrozenTrial]) -> Iterator[FrozenTrial]:
    return (trial for trial in trials if attributes.OVERRIDES not in trial.user_attrs)
