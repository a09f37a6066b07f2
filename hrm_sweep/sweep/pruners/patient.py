"""patient: another pruner that has to wait until a trial has stopped getting better."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from optuna import pruners
from optuna.pruners import BasePruner
from pydantic import BeforeValidator, PlainSerializer, ValidationError, WithJsonSchema

from hrm_sweep.config.run import NonNegativeFloat, NonNegativeInt
from hrm_sweep.sweep.parts import PartError, explained
from hrm_sweep.sweep.pruners.optuna import (
    Hyperband,
    Median,
    OptunaPruner,
    Percentile,
    SuccessiveHalving,
    Threshold,
)

_INNER: dict[str, type[OptunaPruner]] = {
    kind.name: kind for kind in (Hyperband, Median, Percentile, SuccessiveHalving, Threshold)
}


def _read_inner(value: Any) -> OptunaPruner | None:
    if value is None or isinstance(value, OptunaPruner):
        return value
    name, options = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, {})
    if not isinstance(name, str) or name not in _INNER:
        raise ValueError(f"expected one of {', '.join(_INNER)}, as a name or as name: {{options}}, found {value!r}")
    try:
        return _INNER[name].model_validate(options or {})
    except ValidationError as error:
        raise PartError(f"{name}.{line}" for line in explained(error, _INNER[name].model_fields)) from None


def _write_inner(inner: OptunaPruner | None) -> dict[str, Any] | None:
    return None if inner is None else {inner.name: inner.model_dump(mode="json")}


class Patient(OptunaPruner):
    """Asks `around` only after more than `patience` evaluations in a row without improvement, as Optuna counts; with
    `around: null` that is reason enough by itself."""

    name: ClassVar[str] = "patient"
    patience: NonNegativeInt
    around: Annotated[
        OptunaPruner | None,
        BeforeValidator(_read_inner),
        PlainSerializer(_write_inner),
        WithJsonSchema({"anyOf": [{"enum": [*_INNER, None]}, {"type": "object", "maxProperties": 1}]}),
    ] = None
    min_delta: NonNegativeFloat = 0.0

    def build(self, epochs: int) -> BasePruner:
        inner = None if self.around is None else self.around.build(epochs)
        return pruners.PatientPruner(inner, patience=self.patience, min_delta=self.min_delta)
