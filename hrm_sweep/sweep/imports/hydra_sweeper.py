"""A config of Hydra with its Optuna sweeper: hydra.cc, "Optuna Sweeper plugin", and the older `search_space`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hrm_sweep.config import dotted_keys, flattened
from hrm_sweep.errors import SpaceError
from hrm_sweep.sweep.imports.draft import Converted, Draft, read_foreign
from hrm_sweep.sweep.imports.hydra_grammar import parse_sweep

_SAMPLERS = {
    "tpe": "tpe", "motpe": "tpe", "random": "random", "grid": "grid", "cmaes": "cmaes", "nsgaii": "nsgaii",
    "nsgaiii": "nsgaiii", "qmc": "qmc", "gp": "gp", "bruteforce": "brute_force",
}  # fmt: skip
_SAMPLER_OPTIONS = ("seed", "n_startup_trials", "population_size", "multivariate", "group", "constant_liar")
_READ = {"sampler", "direction", "study_name", "n_trials", "n_jobs", "params", "search_space", "_target_"}
_DEFAULT_TRIALS = 20  # the sweeper's own


def convert(path: Path, base: str) -> Converted:
    """The search space that the file means, on top of `base`. Raises SpaceError where it would search something else,
    or nothing."""
    content, draft = read_foreign(path), Draft.of(path, base)
    hydra = content.get("hydra")
    sweeper = hydra.get("sweeper") if isinstance(hydra, Mapping) else None
    if not isinstance(sweeper, Mapping) or not isinstance(hydra, Mapping):
        raise SpaceError(f"{path}: expected a config of Hydra with hydra.sweeper; found {', '.join(map(str, content))}")
    draft.name(sweeper.get("study_name"))
    for key, value in flattened({key: one for key, one in content.items() if key not in ("hydra", "defaults")}).items():
        _constant(key, value, draft)
    _direction(sweeper.get("direction", "minimize"), draft)
    draft.content["sampler"] = _sampler(sweeper.get("sampler"), list(_defaults(content.get("defaults"))), draft)
    for key, value in _parameters(sweeper, draft):
        _parameter(key, value, draft)
    draft.content["budget"] = {"trials": sweeper.get("n_trials", _DEFAULT_TRIALS)}
    if (jobs := sweeper.get("n_jobs")) is not None and jobs != -1:
        draft.content["resources"] = {"jobs": jobs}
    for key in sweeper:
        if key not in _READ:
            draft.leave_out(f"hydra.sweeper.{key}", "has no counterpart")
    for key in hydra:
        if key != "sweeper":
            draft.leave_out(f"hydra.{key}", "has no counterpart; hrm-sweep keeps runs under trials/")
    return draft.finish("a config of Hydra's Optuna sweeper")


def _defaults(given: object) -> Iterator[tuple[str, str]]:
    """(group, choice) of the defaults list: `override hydra/sweeper/sampler: tpe`, `arch: hrm_v1`."""
    for item in given if isinstance(given, list) else []:
        for group, choice in item.items() if isinstance(item, Mapping) else [(str(item), "")]:
            yield str(group).removeprefix("override ").strip("/ "), str(choice)


def _constant(key: str, value: object, draft: Draft) -> None:
    if isinstance(value, str) and "${" in value:
        draft.leave_out(key, f"{value} refers to something else; write the value into overrides")
    else:
        draft.pin(key, value)


def _direction(given: object, draft: Draft) -> None:
    """The sweeper maximizes whatever the program returns, so the file does not say what that is."""
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if given not in ("maximize", "minimize"):
        raise SpaceError(f"{draft.where}: hydra.sweeper.direction: expected one objective, found {given!r}")
    metric = "exact_accuracy" if given == "maximize" else "lm_loss"
    draft.objective(metric, given, f"The file says {given}, and not what; if something else is meant, change it.")
    draft.leave_out("the objective", f"whatever the program returns; {metric} here")


def _sampler(given: object, defaults: list[tuple[str, str]], draft: Draft) -> dict[str, Any]:
    chosen = [choice for group, choice in defaults if group == "hydra/sweeper/sampler"]
    for group, choice in defaults:
        if group not in ("hydra/sweeper/sampler", "hydra/sweeper", "_self_"):
            draft.leave_out(
                f"defaults {group}{f': {choice}' if choice else ''}", "another file; `base` takes its place"
            )
    options = dict(given) if isinstance(given, Mapping) else {}
    kind = (
        str(options.pop("_target_", "")).rpartition(".")[2].removesuffix("Sampler").lower() or (chosen or ["tpe"])[-1]
    )
    if kind not in _SAMPLERS:
        raise SpaceError(
            f"{draft.where}: hydra.sweeper.sampler: expected one of {', '.join(_SAMPLERS)}, found {kind!r}"
        )
    kept: dict[str, Any] = {"name": _SAMPLERS[kind]}
    for key, value in options.items():
        if key in _SAMPLER_OPTIONS and value is not None:
            kept[key] = value
        elif value is not None:
            draft.leave_out(f"hydra.sweeper.sampler.{key}", "has no counterpart")
    return kept


def _parameters(sweeper: Mapping[str, Any], draft: Draft) -> Iterator[tuple[str, object]]:
    for section in ("params", "search_space"):
        given = sweeper.get(section)
        if isinstance(given, Mapping):
            yield from _flat(given)
        elif given is not None:
            raise SpaceError(f"{draft.where}: hydra.sweeper.{section}: expected keys and sweeps, found {given!r}")


def _flat(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in given.items():
        if isinstance(value, Mapping) and "type" not in value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _parameter(key: str, value: object, draft: Draft) -> None:
    name = key.lstrip("+")
    try:
        parameter = _older(value) if isinstance(value, Mapping) else _newer(value)
    except ValueError as error:
        if name in set(dotted_keys()):
            raise SpaceError(f"{draft.where}: {key}: {error}") from None
        draft.leave_out(key, f"no key of the configuration, and {error}")
        return
    if "value" in parameter:
        draft.pin(name, parameter["value"])
    else:
        draft.vary(name, parameter, f"{value}.")


def _newer(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        return parse_sweep(value)
    return {"values": value} if isinstance(value, list) else {"value": value}


def _older(given: Mapping[str, Any]) -> dict[str, Any]:
    """{type: float, low: 1e-5, high: 1e-2, log: true} and {type: categorical, choices: [...]}."""
    kind = given.get("type")
    if kind == "categorical":
        return {"values": given.get("choices")}
    if kind not in ("int", "float"):
        raise ValueError(f"type: expected int, float or categorical, found {kind!r}")
    parameter = {"min": given.get("low"), "max": given.get("high")}
    log = {"log": True} if given.get("log") else {}
    return parameter | log | ({"step": given["step"]} if given.get("step") not in (None, 1) else {})
