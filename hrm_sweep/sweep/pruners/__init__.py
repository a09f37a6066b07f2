"""Pruners by their name in a search space. A new one is one file here: a Pruner with a `name`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from pydantic import ValidationError

from hrm_sweep.sweep.parts import PartError, explained
from hrm_sweep.sweep.pruners.base import Progress, Pruner


def _found() -> dict[str, type[Pruner]]:
    kinds: dict[str, type[Pruner]] = {}
    for module in pkgutil.iter_modules(__path__):
        for kind in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if inspect.isclass(kind) and issubclass(kind, Pruner) and "name" in vars(kind):
                kinds[kind.name] = kind
    return dict(sorted(kinds.items()))


PRUNERS = _found()


def read_pruners(specification: Any) -> dict[str, Pruner]:
    """The pruners of a search space, in its order. Raises ValueError (a PartError where it knows the key)."""
    if not isinstance(specification, dict):
        raise ValueError(f"expected pruners by name, as in zero_accuracy: {{epoch: 20}}, found {specification!r}")
    pruners: dict[str, Pruner] = {}
    lines: list[str] = []
    for name, options in specification.items():
        if name not in PRUNERS:
            lines.append(f"{name}: no such pruner; expected {', '.join(PRUNERS)}")
            continue
        try:
            pruners[name] = PRUNERS[name].model_validate({} if options is None else options)
        except ValidationError as error:
            options_known = f"; {name} has {', '.join(PRUNERS[name].model_fields) or 'no options'}"
            for line in explained(error, PRUNERS[name].model_fields):
                more = options_known if line.endswith(": unknown key") else ""
                lines.append(f"{name}.{line}{more}".replace(".:", ":"))
    if lines:
        raise PartError(lines)
    return pruners


def first_verdict(pruners: dict[str, Pruner], progress: Progress) -> str | None:
    """The reason of the first pruner, in the order of the search space, that would end this trial."""
    return next((reason for pruner in pruners.values() if (reason := pruner.verdict(progress))), None)


__all__ = ["PRUNERS", "Progress", "Pruner", "first_verdict", "read_pruners"]
