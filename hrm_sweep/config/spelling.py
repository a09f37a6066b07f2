"""A RunConfig as somebody would type it: a `hrm-sweep train` line, which reads back as the same configuration."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from hrm_sweep.config.library import load_config, preset_names
from hrm_sweep.config.overrides import parse_override
from hrm_sweep.config.run import RunConfig, dotted_keys


def train_command(config: RunConfig) -> str:
    """The line that trains `config`: the preset that takes the fewest changes, and the changes, quoted for a shell."""
    by_preset = {name: differences(load_config(name), config) for name in preset_names()}
    preset = min(by_preset, key=lambda name: len(by_preset[name]))
    changes = by_preset[preset]
    if "epochs" in changes or changes.get("stages"):  # a preset's evaluation interval belongs to its own epochs
        changes["eval_interval"] = config.eval_interval
    return shlex.join(["hrm-sweep", "train", preset, *(spelled_override(key, value) for key, value in changes.items())])


def differences(before: RunConfig, after: RunConfig) -> dict[str, Any]:
    """What `after` has in place of `before`, by dotted key in the order of a config file; a section that `after` lacks
    is one key with the value None."""
    there, here = before.to_mapping(), after.to_mapping()
    changes: dict[str, Any] = {}
    for dotted in dotted_keys():
        section = _missing_section(dotted, here)
        if section is not None:
            if _at(there, section) is not None:
                changes[section] = None
        elif _at(there, dotted) != _at(here, dotted):
            changes[dotted] = _at(here, dotted)
    return changes


def _missing_section(dotted: str, values: Mapping[str, Any]) -> str | None:
    """The outermost section of a key that is None in `values`."""
    parts = dotted.split(".")
    sections = (".".join(parts[:depth]) for depth in range(1, len(parts)))
    return next((section for section in sections if _at(values, section) is None), None)


def _at(values: Mapping[str, Any], dotted: str) -> Any:
    found: Any = values
    for part in dotted.split("."):
        found = None if found is None else found.get(part)
    return found


def spelled_override(key: str, value: Any) -> str:
    """`key=value` such that `parse_override` gives the value back."""
    return next(text for text in _spellings(key, value) if _reads_back(text, key, value))


def _spellings(key: str, value: Any) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        yield f"{key}={'null' if value is None else str(value).lower()}"
    elif isinstance(value, float) and math.isfinite(value):
        yield f"{key}={value:g}"
        yield f"{key}={value!r}"
    elif isinstance(value, int | str):
        yield f"{key}={value}"
    yield f"{key}={_yaml(value)}"


def _yaml(value: Any) -> str:
    style = '"' if isinstance(value, str) else None
    text = yaml.safe_dump(value, default_style=style, default_flow_style=True, width=math.inf, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _reads_back(text: str, key: str, value: Any) -> bool:
    from hrm_sweep.errors import ConfigError

    try:
        read = parse_override(text)
    except ConfigError:
        return False
    return read == (key, value) and (isinstance(value, float) or type(read[1]) is type(value))
