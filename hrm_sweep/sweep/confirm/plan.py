"""Makes the study that confirms another one: its best configurations and the baseline, on fresh seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.config import RunConfig, load_config, preset_names
from hrm_sweep.config.spelling import differences
from hrm_sweep.data import open_folder
from hrm_sweep.data.digest import split_digest
from hrm_sweep.data.resolve import data_folder, with_data
from hrm_sweep.errors import ConfigError, StudyError
from hrm_sweep.evaluation.selection import subset_indices
from hrm_sweep.planning.lint import Level, lint
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.best import puzzles_behind
from hrm_sweep.sweep.confirm.entrants import Candidate, Confirmation
from hrm_sweep.sweep.goals import is_feasible, score
from hrm_sweep.sweep.remedies import values_of
from hrm_sweep.sweep.space import SearchSpace, space_from_mapping
from hrm_sweep.sweep.space_lint import DataFacts
from hrm_sweep.sweep.study import Study

FIRST_SEED = 1_000_000
"""Where fresh seeds begin. A search counts its own up from --seed, one a trial, also in trials to come."""

BASELINE = "baseline"
_SEED = "seed"
_NOT_COMPARED = (_SEED, "checkpoint", "checkpoint_path", "run_name", "project_name", "tracker")
"""Keys of which a candidate has no say: what it learns does not depend on them, but for the seed."""


@dataclass(frozen=True)
class Planned:
    """A confirmation that can start. notes: what differs from what was asked for, a sentence each."""

    space: SearchSpace
    notes: tuple[str, ...]


def default_name(study: str) -> str:
    """Of the confirmation of a study."""
    return f"{study}-confirm"


def plan_confirmation(study: Study, *, name: str, top: int, seeds: int, baseline: str | None) -> Planned:
    """The search space of the study `name` that confirms `study`.

    top       how many of its best configurations.
    seeds     how many fresh seeds each is trained on.
    baseline  a preset, which gets the overrides of the study, or a config file or run directory, which only gets its
              data; None: the study's own base with its overrides.

    Raises StudyError, ConfigError or DataError when nothing can be confirmed.
    """
    if study.space.confirm is not None:
        raise StudyError(
            f"{study.name}: is a confirmation itself, of {study.space.confirm.of}; "
            f"name that study, and with --name a new confirmation"
        )
    found = best_configurations(study, top)
    if not found:
        raise StudyError(
            f"{study.name}: no trial has completed, so there is nothing to confirm; `hrm-sweep status {study.name}` "
            "says where it stands"
        )
    notes = []
    if len(found) < top:
        how_many = f"{len(found)} configuration{'' if len(found) == 1 else 's'}"
        notes.append(f"--top {top}: only {how_many} completed, which is what there is to confirm")
    base = _base(study)
    candidates = [_candidate(study, trial) for trial in found]
    configs = [base.config(one.values, where=one.name) for one in candidates]
    _require_same_data(study, candidates, configs)
    puzzles = test_digest(configs[0])
    _require_data_of_the_search(study, found, configs[0], puzzles)
    reference = _baseline_config(base, baseline, configs[0])
    _require_startable(reference, base, BASELINE if baseline is None else f"--baseline {baseline}")
    equal = next((place for place, one in enumerate(configs) if not _differs(one, reference)), None)
    if equal is None:
        values = _differs(base.config({}, where=BASELINE), reference)
        known = _known_score(study, base, reference)
        candidates.append(Candidate(name=BASELINE, values=values, is_baseline=True, **known))
    else:
        candidates[equal] = candidates[equal].model_copy(update={"is_baseline": True})
        notes.append(f"the baseline is the configuration of {candidates[equal].name}, so it is trained once")
    if len(candidates) < 2:
        raise StudyError(
            f"{study.name}: {candidates[0].name} is its only configuration and the baseline as well, so there is "
            "nothing to compare it with; name another one with --baseline PRESET_OR_CONFIG"
        )
    chosen = fresh_seeds(study, seeds)
    plan = Confirmation(
        of=study.name,
        top=top,
        baseline=baseline,
        candidates=tuple(candidates),
        seeds=tuple(chosen),
        puzzles=puzzles,
    )
    return Planned(_space(base, name, plan), tuple(notes))


def best_configurations(study: Study, top: int) -> list[FrozenTrial]:
    """The best trial of each of the `top` best configurations, the best first."""
    sign = 1 if study.space.objective.goal == "maximize" else -1
    complete = [
        (sign * value, trial)
        for trial in study.trials()
        if trial.state is TrialState.COMPLETE and (value := score(trial)) is not None and is_feasible(trial)
    ]
    found: dict[str, FrozenTrial] = {}
    for _, trial in sorted(complete, key=lambda one: (-one[0], one[1].number)):
        found.setdefault(repr(sorted(_values(trial).items())), trial)
    return list(found.values())[:top]


def fresh_seeds(study: Study, count: int) -> list[int]:
    """Seeds that no run of the search has had; the same ones for every confirmation of it."""
    used = {trial.user_attrs.get(attributes.SEED) for trial in study.trials()}
    used |= {values_of(trial).get(_SEED) for trial in study.trials()}
    fresh = (seed for seed in range(FIRST_SEED, FIRST_SEED + count + len(used)) if seed not in used)
    return [seed for seed, _ in zip(fresh, range(count), strict=False)]


def test_digest(config: RunConfig) -> str:
    """Of the test split of a configuration's data. Raises DataError when it cannot be used, or when every puzzle of it
    is used for selection."""
    folder = data_folder(with_data(config))
    split = open_folder(folder).test
    if not len(subset_indices("holdout", split.n_examples, config.eval_puzzles)):
        raise StudyError(
            f"{folder / 'test'}: {split.n_examples} puzzle, which is used for selection, so none is unseen; "
            "add test puzzles"
        )
    return split_digest(split)


def require_same_puzzles(study: Study) -> None:
    """Raises StudyError when the data of a confirmation have changed since it began, DataError when they are gone."""
    plan = study.space.confirm
    assert plan is not None
    config = study.space.config({_SEED: plan.seeds[0], **plan.candidates[0].values}, where=study.name)
    now = test_digest(config)
    if now != plan.puzzles:
        raise StudyError(
            f"{data_folder(config) / 'test'}: holds other puzzles than when {study.name} began (digest {now}, then "
            f"{plan.puzzles}), so its runs would not be comparable; put the old ones back, or begin anew with --name"
        )


def _values(trial: FrozenTrial) -> dict[str, Any]:
    return {key: value for key, value in values_of(trial).items() if key != _SEED}


def _candidate(study: Study, trial: FrozenTrial) -> Candidate:
    return Candidate(name=f"trial {trial.number}", values=_values(trial), **_in_the_search(trial))


def _in_the_search(trial: FrozenTrial) -> dict[str, Any]:
    """Optuna's duration is that of the last attempt alone, and stands in where the seconds of all are not known."""
    took = trial.user_attrs.get(attributes.SECONDS)
    if took is None and trial.duration is not None:
        took = trial.duration.total_seconds()
    return {"trial": trial.number, "score": score(trial), "seconds": None if took is None else round(took, 1)}


def _base(study: Study) -> SearchSpace:
    """The search space of the study without a seed of its own."""
    overrides = {key: value for key, value in study.space.overrides.items() if key != _SEED}
    return study.space.model_copy(update={"overrides": overrides})


def _space(base: SearchSpace, name: str, plan: Confirmation) -> SearchSpace:
    content = base.model_dump(mode="json")
    kept = {key: content[key] for key in ("base", "resources", "retry")}
    space = {
        **kept,
        "name": name,
        "objective": {"metric": base.objective.metric, "goal": base.objective.goal},  # they were chosen by this one
        "overrides": {**content["overrides"], "checkpoint": True},  # what is measured is the best checkpoint
        "parameters": {_SEED: {"values": list(plan.seeds)}},
        "sampler": {"name": "random", "seed": 0},
        "budget": {"trials": len(plan.candidates) * len(plan.seeds)},
        "confirm": plan.model_dump(mode="json"),
    }
    return space_from_mapping(space, f"confirmation of {plan.of}")


def _require_startable(config: RunConfig, base: SearchSpace, where: str) -> None:
    """Raises ConfigError for a baseline that its data or resources do not let start; candidates have run before."""
    for finding in lint(config, DataFacts().of(config).train, base.resources.processes):
        if finding.level is Level.ERROR:
            raise ConfigError(f"{where}: cannot start: {finding.key}: {finding.message}")


def _baseline_config(base: SearchSpace, given: str | None, like: RunConfig) -> RunConfig:
    """The baseline on the data of the candidates. Raises ConfigError for one that does not go together with it."""
    if given is None:
        return base.config({}, where=BASELINE)
    data = {"data_path": like.data_path, "data": None if like.data is None else like.to_mapping()["data"]}
    same = {**data, "eval_puzzles": like.eval_puzzles, "checkpoint_path": None, "device": like.device}
    overrides = {key: value for key, value in base.overrides.items() if key != "data" and not key.startswith("data.")}
    try:
        return load_config(given, {**(overrides if given in preset_names() else {}), **same})
    except ConfigError as error:
        raise ConfigError(f"--baseline {given}: {error}") from None


def _differs(before: RunConfig, after: RunConfig) -> dict[str, Any]:
    changes = {key: value for key, value in differences(before, after).items() if key not in _NOT_COMPARED}
    if "epochs" in changes:  # otherwise the interval would follow the epochs
        changes["eval_interval"] = after.eval_interval
    return changes


def _known_score(study: Study, base: SearchSpace, config: RunConfig) -> Mapping[str, Any]:
    """The best trial of the search that had this configuration, if any."""
    for trial in best_configurations(study, len(study.trials())):
        if not _differs(base.config(_values(trial), where=f"trial {trial.number}"), config):
            return _in_the_search(trial)
    return {}


def _require_same_data(study: Study, candidates: Sequence[Candidate], configs: Sequence[RunConfig]) -> None:
    first = configs[0]
    for one, config in zip(candidates, configs, strict=True):
        for key in ("data_path", "data", "eval_puzzles"):
            if getattr(config, key) != getattr(first, key):
                raise StudyError(
                    f"{study.name}: {one.name} has another {key} than {candidates[0].name}, so their scores do not "
                    "come from the same puzzles and cannot be compared; confirm one of them alone with --top 1"
                )


def _require_data_of_the_search(study: Study, found: Sequence[FrozenTrial], config: RunConfig, puzzles: str) -> None:
    """Raises StudyError when the data folder has changed since the search. A study that was begun before puzzles were
    written down only tells how many they were."""
    folder = data_folder(with_data(config))
    known: Mapping[str, str] = study.attribute(attributes.DATA) or {}
    then = known.get(folder.as_posix())
    if then is not None:
        if then != puzzles:
            raise StudyError(_changed(study, folder, f"digest {puzzles}, then {then}"))
        return
    split = open_folder(folder).test
    selected = len(subset_indices("selection", split.n_examples, config.eval_puzzles))
    for counted in _evaluated(study, found):
        if counted != selected:
            raise StudyError(_changed(study, folder, f"{selected} of them would be used for selection, then {counted}"))


def _evaluated(study: Study, found: Sequence[FrozenTrial]) -> Iterator[int]:
    for trial in found:
        counted = puzzles_behind(study.run_directory(study.first_attempt_of(trial)))
        if counted is not None:
            yield counted


def _changed(study: Study, folder: Path, how: str) -> str:
    return (
        f"{folder / 'test'}: holds other puzzles than when {study.name} was run ({how}), so its scores say nothing of "
        "what would be measured now; put the old ones back, or run the search again"
    )
