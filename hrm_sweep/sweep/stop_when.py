"""`stop_when` of a search space: what ends a study before its budget. `enough` and `terminator` act on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from hrm_sweep.config.run import PositiveInt
from hrm_sweep.sweep.parts import Part


class Terminator(Part):
    """Optuna's terminator, which is asked once `min_trials` have completed: at least two, for one score has no spread.
    `true` is the same with Optuna's number."""

    min_trials: Annotated[PositiveInt, Field(ge=2)] = 20


def _read_terminator(value: Any) -> Any:
    if isinstance(value, bool):
        return Terminator() if value else None
    if value is not None and not isinstance(value, Mapping | Terminator):
        raise ValueError(f"expected true, or keys and values such as {{min_trials: 20}}, found {value!r}")
    return value


class StopWhen(Part):
    """Ends a study before its budget: once the last `no_improvement` trials that completed or were pruned brought
    nothing better than the best one before them; or once Optuna's `terminator` estimates that less is left to gain than
    chance alone makes of the best trial's score."""

    no_improvement: PositiveInt | None = None
    terminator: Annotated[
        Terminator | None,
        BeforeValidator(_read_terminator),
        WithJsonSchema({"anyOf": [{"type": "boolean"}, Terminator.model_json_schema(), {"type": "null"}]}),
    ] = None
