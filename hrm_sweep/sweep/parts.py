"""What every part of a search space has in common: it is frozen, refuses keys it does not know, and explains itself."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema


class Part(BaseModel):
    """A section of a search space."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text; everyone who writes it means a number. Other values are given back as they are."""
    if isinstance(value, str) and "e" in value.lower():
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _scalar(value: Any) -> Any:
    value = read_number(value)
    if value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError(f"expected a number, text, true, false or null, found {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a finite number, found {value}")
    return value


def _number(value: Any) -> Any:
    value = read_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number, found {value!r}")
    return value


Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["number", "string", "boolean", "null"]})]
Number = Annotated[Any, BeforeValidator(_number), WithJsonSchema({"type": "number"})]


class PartError(ValueError):
    """A section that a validator read by itself is wrong: lines that begin with the key inside the section."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


def explained(error: ValidationError, known_keys: Iterable[str]) -> list[str]:
    """pydantic's complaints as lines `key: what is wrong`, with the nearest of `known_keys` for an unknown one."""
    lines: list[str] = []
    for detail in error.errors(include_url=False):
        parts = [str(part) for part in detail["loc"] if not _is_pydantics_own(str(part))]
        key = ".".join(parts)
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, PartError):
            lines += [f"{key}.{line}" for line in cause.lines]
        else:
            lines.append(f"{key}: {_complaint(detail, parts, known_keys)}")
    return list(dict.fromkeys(lines))


def _is_pydantics_own(part: str) -> bool:
    return "[" in part and part != "[]"  # `function-after[...]`, `literal[...]`, `[key]`: no key of the file


def _complaint(detail: Mapping[str, Any], parts: list[str], known_keys: Iterable[str]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(parts[-1], list(known_keys), n=1)
            return "unknown key" + (f"; the nearest valid key is {close[0]}" if close else "")
        case "missing":
            return "missing"
        case "union_tag_invalid":
            expected = str(detail["ctx"]["expected_tags"]).replace("'", "")
            return f"name: expected one of {expected}, found {detail['ctx']['tag']!r}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected keys and values, found {detail['input']!r}"
        case "tuple_type":
            return f"expected a list, found {detail['input']!r}"
        case "too_short":
            return "expected at least one, found none"
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if detail["type"] == "value_error":
        return message
    return f"expected {message[0].lower()}{message[1:]}, found {detail['input']!r}"
