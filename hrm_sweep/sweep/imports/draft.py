"""A search space in the making: what was understood of a foreign file so far, and what there is to say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hrm_sweep.config import dotted_keys, nearest_key, read_yaml_mapping
from hrm_sweep.errors import ConfigError, SpaceError
from hrm_sweep.sweep.parts import read_number
from hrm_sweep.sweep.space import SearchSpace, require_name, space_from_mapping
from hrm_sweep.sweep.space_proposal import Change, Proposal
from hrm_sweep.sweep.space_text import space_text

METRICS = ("exact_accuracy", "accuracy", "loss", "lm_loss")


@dataclass(frozen=True)
class Converted:
    """A search space of ours, with its reasons.

    left_out  a sentence for everything in the foreign file that has no counterpart.
    """

    space: SearchSpace
    reasons: tuple[Change, ...]
    left_out: tuple[str, ...]
    introduction: str

    def text(self) -> str:
        """The file to write. Reading it back gives `space`."""
        introduction = self.introduction
        if self.left_out:
            introduction += " Without counterpart: " + "; ".join(self.left_out) + "."
        return space_text(Proposal(self.space, self.reasons, ()), introduction)


@dataclass
class Draft:
    """What a converter collects. `where` names the foreign file in messages."""

    where: str
    content: dict[str, Any]
    reasons: list[Change] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @staticmethod
    def of(path: Path, base: str) -> Draft:
        empty: dict[str, Any] = {"name": _name_for(path.stem), "base": base, "overrides": {}, "parameters": {}}
        return Draft(str(path), empty)

    def name(self, given: object) -> None:
        """Take the study's name, where the foreign file has one."""
        if given is not None:
            self.content["name"] = _name_for(str(given))

    def leave_out(self, key: str, why: str) -> None:
        self.left_out.append(f"{key}: {why}")

    def vary(self, key: str, parameter: Mapping[str, Any], why: str) -> None:
        """Let a key vary; one that our configuration does not have is left out."""
        if self._is_known(key):
            self.content["overrides"].pop(key, None)
            self.content["parameters"][key] = dict(parameter)
            self.reasons.append(Change(key, why))

    def pin(self, key: str, value: object) -> None:
        """Give a key one value in every trial. What a parameter varies is not pinned."""
        if self._is_known(key) and key not in self.content["parameters"]:
            self.content["overrides"][key] = read_number(value)

    def objective(self, metric: str, goal: object, why: str) -> None:
        """Raises SpaceError where the goal would turn the search around."""
        natural = "minimize" if metric.endswith("loss") else "maximize"
        if goal is not None and goal != natural:
            raise SpaceError(f"{self.where}: the goal is to {goal} {metric}, which would look for the worst model")
        self.content["objective"] = {"metric": metric, "goal": natural}
        self.reasons.append(Change("objective", why))

    def finish(self, tool: str) -> Converted:
        """Raises SpaceError when what was understood is no search space, or varies nothing."""
        if not self.content["parameters"]:
            said = "; ".join(self.left_out) or "it has none"
            raise SpaceError(f"{self.where}: no parameter that could be varied here ({said})")
        space = space_from_mapping(self.content, f"{self.where} as a search space")
        introduction = f"Converted from {Path(self.where).name}, {tool}. Check base and budget before you run it."
        return Converted(space, tuple(self.reasons), tuple(self.left_out), introduction)

    def _is_known(self, key: str) -> bool:
        known = key in set(dotted_keys())
        if not known:
            nearest = nearest_key(key)
            hint = f"; the nearest key is {nearest}" if nearest else ""
            self.leave_out(key, f"no key of the configuration{hint}")
        return known


def read_foreign(path: Path) -> dict[str, Any]:
    """The YAML mapping in a file. Raises SpaceError."""
    try:
        return read_yaml_mapping(path)
    except ConfigError as error:
        raise SpaceError(str(error)) from None


def _name_for(text: str) -> str:
    """A name for a study, and so for a folder, out of any text."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100]
    try:
        require_name(name, "name")
    except SpaceError:
        return f"imported-{name}".strip("-")[:100]
    return name
