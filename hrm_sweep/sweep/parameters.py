"""Parameter: what one RunConfig key may be in a search space, and how Optuna draws it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import optuna
from pydantic import Field, model_validator

from hrm_sweep.sweep.conditions import Condition
from hrm_sweep.sweep.keys import number_kind
from hrm_sweep.sweep.parts import Number, Part, Scalar

_SHORT_RANGE = 16  # a range of whole numbers up to this long is looked at value by value


class Parameter(Part):
    """What one RunConfig key may be: one of `values`, or a number from `min` to `max`; only where `when` holds."""

    values: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    min: Number | None = None
    max: Number | None = None
    log: bool = False
    step: Number | None = None
    when: Mapping[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _values_or_range(self) -> Parameter:
        bounds = [name for name in ("min", "max", "step") if getattr(self, name) is not None]
        if self.values is not None:
            if bounds or self.log:
                raise ValueError(f"expected either values or min and max, found values and {(*bounds, 'log')[0]}")
            if len(set(map(repr, self.values))) < len(self.values):
                raise ValueError(f"values: the same value twice in {list(self.values)}")
            return self
        if self.min is None or self.max is None:
            raise ValueError("expected {values: [...]} or {min: ..., max: ...}")
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        if self.log and self.min <= 0:
            raise ValueError(f"log: true needs min above 0, found {self.min}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; leave one out, or list the values")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step: expected a number above 0, found {self.step}")
        return self

    def conditions(self) -> tuple[Condition, ...]:
        return tuple(Condition.parse(key, wanted) for key, wanted in self.when.items())

    @property
    def range(self) -> tuple[float, float]:
        """(min, max) of a parameter that has no `values`."""
        assert self.min is not None
        assert self.max is not None
        return self.min, self.max


def allows(name: str, parameter: Parameter, value: Any) -> bool:
    """Whether a parameter can take this value."""
    if parameter.values is not None:
        return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in parameter.values)
    low, high = parameter.range
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return False
    step = _step(name, parameter)
    steps = 0.0 if step is None else (value - low) / step
    return abs(steps - round(steps)) < 1e-8


def allowed_text(name: str, parameter: Parameter) -> str:
    """What a parameter can take, in words: `1, 2, 4`, `0.001 to 0.01`, or `32 to 128 in steps of 32`."""
    if parameter.values is not None:
        return ", ".join(map(str, parameter.values))
    low, high = parameter.range
    if parameter.step is not None:
        return f"{low} to {high} in steps of {parameter.step}"
    return f"{'whole numbers from ' if number_kind(name) is int else ''}{low} to {high}"


def every_value(name: str, parameter: Parameter) -> list[Any]:
    """All values of a parameter. Raises ValueError for a range of real numbers without a step, which has no end."""
    if parameter.values is not None:
        return list(parameter.values)
    step = _step(name, parameter)
    if step is None:
        raise ValueError(f"{name}: a range of real numbers has no end of values; give values or a step")
    low = parameter.range[0]
    return [_typed(name, low + i * step) for i in range(_steps(name, parameter) + 1)]


def every_end(name: str, parameter: Parameter) -> list[Any]:
    """The values to look at when all cannot be: those listed, a short range of whole numbers, otherwise both ends."""
    if parameter.values is None and (number_kind(name) is not int or _steps(name, parameter) >= _SHORT_RANGE):
        return [_typed(name, parameter.range[0]), _typed(name, _highest(name, parameter))]
    return every_value(name, parameter)


def draw(trial: optuna.Trial, name: str, parameter: Parameter) -> Any:
    """Let Optuna suggest a value."""
    if parameter.values is not None:
        return trial.suggest_categorical(name, parameter.values)
    low, high = parameter.range[0], _highest(name, parameter)
    if number_kind(name) is int:
        return trial.suggest_int(name, int(low), int(high), log=parameter.log, step=int(parameter.step or 1))
    return trial.suggest_float(name, low, high, log=parameter.log, step=parameter.step)


def _step(name: str, parameter: Parameter) -> float | None:
    return parameter.step if parameter.step is not None else 1 if number_kind(name) is int else None


def _steps(name: str, parameter: Parameter) -> int:
    """How many whole steps fit into the range."""
    low, high = parameter.range
    return math.floor((high - low) / (_step(name, parameter) or 1) + 1e-8)


def _highest(name: str, parameter: Parameter) -> float:
    """The highest value that the steps reach; `max` where there are no steps."""
    low, high = parameter.range
    step = _step(name, parameter)
    return high if step is None else low + _steps(name, parameter) * step


def _typed(name: str, value: float) -> float:
    return round(value) if number_kind(name) is int else float(value)
