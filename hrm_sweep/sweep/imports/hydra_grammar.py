"""Sweeps in Hydra's notation: choice(a, b), range(1, 4), interval(1e-5, 1e-2), tag(log, ...), 1,2,4."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

_NAMES = {"true": True, "false": False, "null": None}


def parse_sweep(text: str) -> dict[str, Any]:
    """The parameter that a sweep means: {values} or {min, max, log, step}; {value} for a single value.

    As the Optuna sweeper reads it: both ends of a range belong to it, and an interval between whole numbers is one of
    whole numbers. Raises ValueError that says what was not understood.
    """
    if "(" not in text:
        values = [_word(word) for word in text.split(",")]
        return {"values": values} if len(values) > 1 else {"value": values[0]}
    try:
        return _sweep(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError, OverflowError):
        raise ValueError(f"not understood: {text!r}") from None


def _sweep(tree: ast.expr) -> dict[str, Any]:
    match tree:
        case ast.Call(func=ast.Name(id=name)):
            return _call(name, tree)
        case _:
            return {"value": _value(tree)}


def _call(name: str, tree: ast.Call) -> dict[str, Any]:
    given = {str(one.arg): _value(one.value) for one in tree.keywords}
    match name:
        case "choice":
            return {"values": [_value(one) for one in tree.args]}
        case "range":
            start, stop, step = _numbers(tree.args, given, ("start", "stop", "step"), name)
            if stop is None:
                start, stop = 0, start
            return {"min": start, "max": stop} | ({} if step in (None, 1) else {"step": step})
        case "interval":
            low, high, _ = _numbers(tree.args, given, ("start", "end", ""), name)
            return {"min": low, "max": high}
        case "tag":
            if not tree.args:
                raise ValueError("expected a sweep in tag(...)")
            *tags, inner = tree.args
            parameter = _sweep(inner)
            if any(isinstance(tag, ast.Name) and tag.id == "log" for tag in tags) and "min" in parameter:
                parameter["log"] = True
            return parameter
        case "int" | "float" | "shuffle" if len(tree.args) == 1:
            return _modified(name, _sweep(tree.args[0]))
    raise ValueError(f"no counterpart for {name}(...)")


def _modified(name: str, parameter: dict[str, Any]) -> dict[str, Any]:
    """A cast of every number, or an order that a sampler does not have."""
    if name == "shuffle":
        return parameter
    cast = int if name == "int" else float
    return {
        key: [cast(one) for one in value] if isinstance(value, list) else value if key == "log" else cast(value)
        for key, value in parameter.items()
    }


def _numbers(arguments: Sequence[ast.expr], given: dict[str, Any], names: Sequence[str], call: str) -> list[Any]:
    values = dict(zip(names, map(_value, arguments), strict=False)) | given
    found = [values.get(name) for name in names]
    if len(arguments) > 3 or any(one is not None and not isinstance(one, int | float) for one in found):
        raise ValueError(f"expected numbers in {call}(...)")
    if found[0] is None:
        raise ValueError(f"expected numbers in {call}(...), found none")
    return found


def _value(tree: ast.expr) -> Any:
    match tree:
        case ast.Constant(value=value) if value is None or isinstance(value, str | int | float):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if isinstance(value, int | float):
            return -value
        case ast.Name(id=name):
            return _NAMES.get(name.lower(), name)
    raise ValueError(f"not understood: {ast.unparse(tree)}")


def _word(text: str) -> Any:
    word = text.strip().strip("'\"")
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return _NAMES.get(word.lower(), word)
