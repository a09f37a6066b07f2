"""Dotted overrides: `arch.halt_max_steps=8` on a command line, `arch.halt_max_steps: 8` in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import yaml

from hrm_sweep.config.run import dotted_keys, plain_key, text_keys, unknown_key
from hrm_sweep.errors import ConfigError

# YAML 1.1 reads 1e-3 as a string; everyone who writes it means a number.
_SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def parse_override(argument: str) -> tuple[str, Any]:
    """Split `key=value` and read the value as YAML. Raises ConfigError when there is no key or the value is broken."""
    key, equals, text = argument.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{argument!r}: expected key=value, for example arch.halt_max_steps=8")
    key = key.strip()
    try:
        value = parse_value(text)
    except (yaml.YAMLError, ValueError):  # ValueError: what looks like a date and is none, a number of 5000 digits
        raise ConfigError(f"{argument!r}: the value is not valid YAML; quote it if it holds : [ ] {{ }}") from None
    if key in text_keys() and value is not None and not isinstance(value, str):
        value = text  # run_name=2024, data_path=1e3
    return key, value


def parse_value(text: str) -> Any:
    """A YAML value, with 1e-3 read as a number."""
    return float(text) if _SCIENTIFIC.fullmatch(text.strip()) else yaml.safe_load(text)


def parse_overrides(arguments: Iterable[str]) -> dict[str, Any]:
    """All `key=value` arguments as one mapping of dotted keys; a later one wins."""
    return dict(parse_override(argument) for argument in arguments)


def apply_overrides(values: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of nested `values` with dotted `overrides` set. Raises ConfigError for a key no RunConfig has.

    Who changes stages changes how long the run is: `epochs` of `values` then goes, unless it is set as well.
    """
    sections = {key.rsplit(".", 1)[0] for key in dotted_keys() if "." in key} | {"arch", "data"}
    result = deepcopy(dict(values))
    for dotted, value in overrides.items():
        if dotted == "arch" and isinstance(value, str):
            raise ConfigError(f"{where}: arch={value}: name the preset first instead, as in `hrm-sweep train {value}`")
        if plain_key(dotted) is None and not (dotted in sections and (value is None or isinstance(value, Mapping))):
            raise ConfigError(f"{where}: {dotted}: {unknown_key(dotted)}")
        if dotted.startswith("stages."):
            _set_in_stage(result, dotted, value, where)
        else:
            _set(result, dotted.split("."), value)
    if sets_stages(overrides) and "epochs" not in overrides:
        result.pop("epochs", None)
    return result


def sets_stages(overrides: Mapping[str, Any]) -> bool:
    """Whether these overrides give a run its stages, or change them."""
    return any(key.startswith("stages.") or (key == "stages" and value) for key, value in overrides.items())


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys and their values: {arch: {H_cycles: 2}} is {arch.H_cycles: 2}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _set(values: dict[str, Any], parts: list[str], value: Any) -> None:
    for part in parts[:-1]:
        inner = values.get(part)
        values[part] = dict(inner) if isinstance(inner, Mapping) else {}
        values = values[part]
    values[parts[-1]] = value


def _set_in_stage(values: dict[str, Any], dotted: str, value: Any, where: str) -> None:
    _, number, part, *key = dotted.split(".")
    stages = values.get("stages") or []
    if not isinstance(stages, list | tuple) or int(number) >= len(stages):
        found = len(stages) if isinstance(stages, list | tuple) else 0
        raise ConfigError(f"{where}: {dotted}: there is no stage {number}; it has {found}, counted from 0")
    changed = [dict(stage) if isinstance(stage, Mapping) else stage for stage in stages]
    stage = changed[int(number)]
    if isinstance(stage, dict):  # what is none is complained of when the config is validated
        stage[part] = value if part == "epochs" else {**flattened(stage.get(part) or {}), ".".join(key): value}
    values["stages"] = changed
