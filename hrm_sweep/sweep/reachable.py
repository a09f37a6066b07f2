"""The combinations that a search space can produce, `when` respected."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hrm_sweep.sweep.conditions import all_hold
from hrm_sweep.sweep.parameters import every_end, every_value
from hrm_sweep.sweep.space import SearchSpace

LOOKED_AT = 2000
"""Up to this many combinations are all looked at (0.2 s); of more, a fixed random sample that sees every value."""


def every_combination(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Every combination of a space of discrete parameters, in the order of the file, the last parameter fastest."""
    return _assignments(space, {name: every_value(name, one) for name, one in space.parameters.items()})


def reachable_combinations(space: SearchSpace, limit: int = LOOKED_AT) -> list[dict[str, Any]]:
    """Combinations to look at before a study starts: of the values listed and of the ends of ranges.

    All of them up to `limit`. Otherwise `limit` drawn at random, always the same ones, among them each value of each
    parameter at least once if any draw reaches it. The points of `first` are always there. A confirmation has its
    candidates instead, on their first seed: the seeds make no difference to what can start.
    """
    if space.confirm is not None:
        return [{"seed": space.confirm.seeds[0], **one.values} for one in space.confirm.candidates]
    candidates = {name: every_end(name, one) for name, one in space.parameters.items()}
    if math.prod(len(values) for values in candidates.values()) <= limit:
        found = list(_assignments(space, candidates))
    else:
        rng = random.Random(0)
        found = [_draw(space, candidates, rng, {}) for _ in range(limit)]
        for name, values in candidates.items():
            found += [_draw(space, candidates, rng, {name: value}) for value in values]
    found += [_draw(space, candidates, random.Random(0), point) for point in space.first]
    return list({repr(sorted(one.items())): one for one in found}.values())


def is_drawn(space: SearchSpace, values: Mapping[str, Any]) -> bool:
    """Whether `values` has every parameter that exists for them."""
    return all(name in values for name in space.order() if all_hold(space.parameters[name].conditions(), values))


def _assignments(space: SearchSpace, candidates: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    order = space.order()
    conditions = {name: space.parameters[name].conditions() for name in order}

    def extend(values: dict[str, Any], position: int) -> Iterator[dict[str, Any]]:
        if position == len(order):
            yield values
        elif not all_hold(conditions[order[position]], values):
            yield from extend(values, position + 1)
        else:
            for value in candidates[order[position]]:
                yield from extend({**values, order[position]: value}, position + 1)

    return extend({}, 0)


def _draw(
    space: SearchSpace, candidates: Mapping[str, Sequence[Any]], rng: random.Random, fixed: Mapping[str, Any]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in space.order():
        if all_hold(space.parameters[name].conditions(), values):
            values[name] = fixed[name] if name in fixed else rng.choice(candidates[name])
    return values
