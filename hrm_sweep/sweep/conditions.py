"""`when`: a parameter exists only where another has a certain value.

when: {lr: "> 1e-3"}                     an operator and a number: < <= > >= == !=
when: {arch.pos_encodings: rope}         a value
when: {arch.halt_max_steps: [8, 16]}     one of several values
when: {lr: "> 1e-3", arch.H_cycles: 2}   several keys mean *and*
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*(.*?)\s*")


@dataclass(frozen=True)
class Condition:
    """One key of a `when`. `number` is set for a comparison, `allowed` for a value or a list of values."""

    key: str
    text: str
    allowed: tuple[Any, ...] = ()
    comparison: str | None = None
    number: float = 0.0

    @staticmethod
    def parse(key: str, wanted: Any) -> Condition:
        """Raises ValueError when `wanted` is a comparison with something that is no number."""
        match = _COMPARISON.fullmatch(wanted) if isinstance(wanted, str) else None
        if match is None:
            allowed = tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
            return Condition(key, f"{key} in {list(allowed)}", allowed=allowed)
        try:
            number = float(match[2])
        except ValueError:
            raise ValueError(f"expected a number after {match[1]}, found {match[2]!r}") from None
        return Condition(key, f"{key} {match[1]} {match[2]}", comparison=match[1], number=number)

    def holds(self, value: Any) -> bool:
        """Whether a parameter with this value meets the condition."""
        if self.comparison is None:
            return value in self.allowed
        return isinstance(value, int | float) and _OPERATORS[self.comparison](value, self.number)


def all_hold(conditions: tuple[Condition, ...], values: Mapping[str, Any]) -> bool:
    """Whether every condition holds; a parameter that does not exist itself meets none."""
    return all(condition.key in values and condition.holds(values[condition.key]) for condition in conditions)


def dependency_order(depends_on: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The keys such that each comes after those it depends on, otherwise in the order given.

    Raises ValueError, showing the cycle, when that is impossible.
    """
    order: list[str] = []

    def visit(key: str, path: tuple[str, ...]) -> None:
        if key in path:
            raise ValueError(f"`when` goes round in a circle: {' -> '.join((*path[path.index(key) :], key))}")
        if key in order:
            return
        for needed in depends_on[key]:
            if needed in depends_on:
                visit(needed, (*path, key))
        order.append(key)

    for key in depends_on:
        visit(key, ())
    return order
