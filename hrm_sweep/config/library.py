"""Finds what is shipped: presets and search spaces, in a checkout or in an installed wheel; loads a RunConfig."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hrm_sweep.config.overrides import apply_overrides, sets_stages
from hrm_sweep.config.run import RunConfig, config_from_mapping
from hrm_sweep.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent
PRESETS = _PACKAGE / "config" / "presets"
_OF_A_SPACE = frozenset({"base", "parameters", "overrides", "objective", "sampler", "pruner", "budget"})
"""Keys at the top of a search space that no configuration has there: one of them tells the two apart."""


def search_spaces_folder() -> Path:
    """The folder of shipped search spaces: inside the package once installed, at the repository's top in a checkout."""
    installed = _PACKAGE / "search_spaces"
    return installed if installed.is_dir() else _PACKAGE.parent / "search_spaces"


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def space_names() -> list[str]:
    return sorted(path.stem for path in search_spaces_folder().glob("*.yaml"))


def load_config(source: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """A RunConfig from a preset's name, a YAML file or a run directory, with dotted overrides on top.

    Raises ConfigError, which names the file and the key.
    """
    overrides = overrides or {}
    values, where = read_source(source)
    if is_preset(source) and "epochs" in overrides and "eval_interval" not in overrides:
        # A preset's evaluation interval belongs to its own number of epochs; with another, about ten are taken.
        interval, epochs = values.get("eval_interval"), overrides["epochs"]
        if isinstance(interval, int) and not (isinstance(epochs, int) and epochs % interval == 0):
            values = {key: value for key, value in values.items() if key != "eval_interval"}
    if is_preset(source) and sets_stages(overrides) and "eval_interval" not in overrides:
        values = {key: value for key, value in values.items() if key != "eval_interval"}
    return config_from_mapping(apply_overrides(values, overrides, where), where)


def is_space_mapping(values: Mapping[str, Any]) -> bool:
    """Whether the content of a YAML file is meant as a search space, also one that is not right yet."""
    return not _OF_A_SPACE.isdisjoint(values)


def is_preset(source: str | Path) -> bool:
    return str(source) in preset_names()


def read_source(source: str | Path) -> tuple[dict[str, Any], str]:
    """The raw mapping behind a preset's name, a file or a run directory, and how messages should call it."""
    if is_preset(source):
        return _read_preset(str(source)), f"preset {source}"
    path = Path(source)
    if path.is_dir():
        path = next((path / name for name in ("config.yaml", "all_config.yaml") if (path / name).is_file()), path)
        if path.is_dir():
            raise ConfigError(f"{path}: no config.yaml or all_config.yaml in this folder; name a run directory")
    if not path.is_file():
        if str(source) in space_names():
            raise ConfigError(_space_instead(str(source), "a shipped search space"))
        close = difflib.get_close_matches(str(source), preset_names(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"{source}: neither a preset ({', '.join(preset_names())}) nor a file{hint}")
    values = read_yaml_mapping(path)
    if is_space_mapping(values):
        has = ", ".join(str(key) for key in values if key in _OF_A_SPACE)
        raise ConfigError(_space_instead(str(path), f"a search space (it has {has})"))
    return values, str(path)


def _space_instead(source: str, what: str) -> str:
    return (
        f"{source}: {what}, where one configuration is expected; `{shlex.join(['hrm-sweep', 'run', source])}` takes it "
        "(`hrm-sweep plan` says what it will cost)"
    )


def _read_preset(name: str) -> dict[str, Any]:
    values = read_yaml_mapping(PRESETS / f"{name}.yaml")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    return _merge(_read_preset(parent), values)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping. Raises ConfigError with file, line and column."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: not valid YAML: {getattr(error, 'problem', error)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8; a date that is none; brackets without end
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        found = "an empty file" if values is None else type(values).__name__
        raise ConfigError(f"{path}: expected keys and values, found {found}")
    return values
