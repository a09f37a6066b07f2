"""What kind of value a RunConfig key holds, so that `{min: 1, max: 3}` draws whole numbers where they are needed."""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hrm_sweep.config import RunConfig, plain_key


@cache
def number_kind(key: str) -> type[int] | type[float] | None:
    """int or float for a RunConfig key that takes any such number; None for texts, choices and lists."""
    kinds = _kinds(_field(key).annotation)
    if int in kinds:
        return int
    return float if float in kinds else None


@cache
def limits(key: str) -> tuple[float | None, float | None]:
    """(smallest, largest) number that RunConfig allows for a key, None where it sets no limit. A limit that itself is
    not allowed (lr above 0) is given all the same: it can be approached."""
    field = _field(key)
    facts = [*field.metadata, *_facts(field.annotation)]
    least = [fact for name in ("ge", "gt") for one in facts if (fact := getattr(one, name, None)) is not None]
    most = [fact for name in ("le", "lt") for one in facts if (fact := getattr(one, name, None)) is not None]
    return max(least, default=None), min(most, default=None)


def _field(key: str) -> FieldInfo:
    section: type[BaseModel] = RunConfig
    *sections, last = (plain_key(key) or key).split(".")
    for part in sections:
        section = next(kind for kind in _kinds(section.model_fields[part].annotation) if issubclass(kind, BaseModel))
    return section.model_fields[last]


def _facts(annotation: Any) -> list[Any]:
    """What `Annotated` says besides the class, also inside `... | None`."""
    if get_origin(annotation) is not Annotated:
        return [fact for part in get_args(annotation) for fact in _facts(part)]
    inner, *said = get_args(annotation)
    return [*_facts(inner), *(one for fact in said for one in getattr(fact, "metadata", [fact]))]


def _kinds(annotation: Any) -> list[type]:
    """The plain classes that an annotation allows: `Annotated[int, ...] | None` allows int."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    return [annotation] if isinstance(annotation, type) else []
