"""`constraints`: what a trial has to keep to, whatever it scores.

constraints: {parameters: "<= 10M", peak_memory: "<= 8GiB", train_flops: "<= 2P", seconds: "<= 600"}
constraints: {exact_accuracy: ">= 0.5"}

Optuna is told of each constraint by its name how far it is violated, as a share of the limit, so that the samplers can
add up violations of different units: 0.2 is a fifth too much, 0 or less is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from hrm_sweep.sweep.objective import COSTS, EVALUATED
from hrm_sweep.sweep.parts import PartError

CONSTRAINTS = "constraints"
"""How every reason of a trial begins that was ended because it violates one."""

PEAK_MEMORY = "peak_memory"
QUANTITIES = (*COSTS, PEAK_MEMORY, *EVALUATED)

_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BYTES = {
    **_UNITS,
    **{f"{prefix}B": factor for prefix, factor in _UNITS.items()},
    **{f"{prefix}iB": 1024.0**power for power, prefix in enumerate("KMGT", start=1)},
}
_BOUND = re.compile(r"\s*(<=|>=|==|!=|<|>|=)\s*([0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True)
class Constraint:
    """What one quantity of a trial has to be: at most `limit`, or at least.

    text   the bound as the search space has it, such as `<= 10M`.
    """

    quantity: str
    at_most: bool
    limit: float
    text: str

    @staticmethod
    def parse(quantity: str, text: Any) -> Constraint:
        """Raises ValueError when `text` is no bound of this quantity."""
        units = _BYTES if quantity == PEAK_MEMORY else _UNITS
        example = "<= 8GiB" if quantity == PEAK_MEMORY else ">= 0.5" if quantity in EVALUATED else "<= 10M"
        match = _BOUND.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"expected a bound such as {example!r}, found {text!r}")
        comparison, number, unit = match.groups()
        if comparison not in ("<=", ">="):
            raise ValueError(f"expected <= or >=, as in {example!r}, found {comparison!r}")
        if unit not in units:
            raise ValueError(f"no such unit: {unit}; expected {', '.join(each for each in units if each)} or none")
        limit = float(number) * units[unit]
        if not math.isfinite(limit):
            raise ValueError(f"expected a number that can be reached, found {number}")
        return Constraint(quantity, comparison == "<=", limit, text.strip())

    def violation(self, value: float) -> float:
        """By which share of the limit a value violates it; 0 or less where it is kept."""
        beyond = value - self.limit if self.at_most else self.limit - value
        return beyond / (abs(self.limit) or 1.0)

    def __str__(self) -> str:
        return f"{self.quantity} {self.text}"


def _read(given: Any) -> Any:
    if not isinstance(given, Mapping):
        raise ValueError(f"expected quantities and bounds, as in parameters: '<= 10M', found {given!r}")
    found: dict[str, Constraint] = {}
    lines: list[str] = []
    for quantity, bound in given.items():
        if quantity not in QUANTITIES:
            lines.append(f"{quantity}: no quantity of a trial; expected one of {', '.join(QUANTITIES)}")
            continue
        try:
            found[quantity] = bound if isinstance(bound, Constraint) else Constraint.parse(quantity, bound)
        except ValueError as error:
            lines.append(f"{quantity}: {error}")
    if lines:
        raise PartError(lines)
    return found


_PATTERN = r"^\s*(<=|>=)\s*[0-9._]+([eE][+-]?[0-9]+)?\s*[A-Za-z]*\s*$"
Constraints = Annotated[
    dict[str, Constraint],
    BeforeValidator(_read),
    PlainSerializer(lambda constraints: {name: one.text for name, one in constraints.items()}),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {"type": "string", "pattern": _PATTERN} for name in QUANTITIES},
        }
    ),
]
