"""What kind of value a RunConfig key holds, so that `{min: 1, max: 3}` draws whole numbers where they are needed."""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from hrm_sweep.config import RunConfig


@cache
def number_kind(key: str) -> type[int] | type[float] | None:
    """int or float for a RunConfig key that takes any such number; None for texts, choices and lists."""
    section: type[BaseModel] = RunConfig
    *sections, last = key.split(".")
    for part in sections:
        section = next(kind for kind in _kinds(section.model_fields[part].annotation) if issubclass(kind, BaseModel))
    kinds = _kinds(section.model_fields[last].annotation)
    if int in kinds:
        return int
    return float if float in kinds else None


def _kinds(annotation: Any) -> list[type]:
    """The plain classes that an annotation allows: `Annotated[int, ...] | None` allows int."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    return [annotation] if isinstance(annotation, type) else []
