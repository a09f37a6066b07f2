"""A search space as a YAML file for people: one parameter a line, and above each change a comment that says why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from hrm_sweep.config import preset_names
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.space_proposal import Proposal

_WIDTH = 100


def space_text(proposal: Proposal, introduction: str) -> str:
    """The file; `introduction` is its first comment. Reading it back gives the proposal's space."""
    return "\n".join([*_comment(introduction), *_lines(proposal)]) + "\n"


def _lines(proposal: Proposal) -> Iterator[str]:
    space = proposal.space
    whole = space.model_dump(mode="json")
    sparse = space.model_dump(mode="json", exclude_defaults=True)
    yield f"name: {_flow(space.name)}"
    yield from _block("base", named_base(space))
    if space.overrides:
        yield from _block("overrides", whole["overrides"])
    yield from _reasons(proposal, "objective")
    yield f"objective: {_flow(whole['objective'])}"
    if space.constraints:
        yield f"constraints: {_flow(whole['constraints'])}"
    yield "parameters:"
    for name, one in whole["parameters"].items():
        yield from (f"  {line}" for line in _reasons(proposal, name))
        yield f"  {name}: {_flow({key: value for key, value in one.items() if value not in (None, False, {})})}"
    yield from _reasons(proposal, "first")
    if space.first:
        yield "first:"
        yield from (f"  - {_flow(point)}" for point in whole["first"])
    yield f"sampler: {_flow(_given({'name': None, **whole['sampler']}))}"
    if space.pruner:
        yield "pruner:"
        yield from (f"  {name}: {_flow(_given(options))}" for name, options in whole["pruner"].items())
    for key in ("audit", "budget", "stop_when", "resources", "retry"):
        if sparse.get(key):
            yield f"{key}: {_flow(sparse[key])}"


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def named_base(space: SearchSpace) -> str | Mapping[str, Any]:
    """The preset that a stored base is the content of, or the base itself."""
    for preset in preset_names():
        if space.model_copy(update={"base": preset}).frozen().base == space.base:
            return preset
    return space.base


def _block(key: str, value: Any) -> list[str]:
    return str(yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=10_000)).splitlines()


def _flow(value: Any) -> str:
    """On one line. A text alone is written as a list of one is, and taken out of its brackets."""
    text = str(yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000))
    return text.strip()[1:-1]


def _reasons(proposal: Proposal, key: str) -> list[str]:
    return [line for change in proposal.changes if change.key == key for line in _comment(change.why)]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]
