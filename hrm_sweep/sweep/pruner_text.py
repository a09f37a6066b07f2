"""Pruners as one types them in a terminal: `zero_accuracy at 10, 20, 40; median startup_trials=3; hyperband`.

Between semicolons stand pruners to be judged each by itself; `+` joins some that work together. `at` sets the option
that says from which epoch on a pruner may end a trial, once for each epoch given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from hrm_sweep.errors import UsageError
from hrm_sweep.sweep.pruners import PRUNERS, Pruner, read_pruners
from hrm_sweep.sweep.study import Study

_PART = re.compile(r"(?P<name>\w+)(?:\s+at\s+(?P<epochs>\d+(?:\s*,\s*\d+)*))?(?P<options>(?:\s+\w+=\S+)*)")
_OPTION = re.compile(r"(\w+)=(\S+)")

Named = tuple[str, dict[str, Pruner]]


def read_pruner_text(text: str) -> list[Named]:
    """The pruners, each with what it is called. Raises UsageError naming the part that is wrong."""
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if not parts:
        raise UsageError("--pruner: expected pruners, as in `zero_accuracy at 10, 20, 40; hyperband`, found nothing")
    return [one for part in parts for one in _together(part)]


def _together(part: str) -> list[Named]:
    """What stands between two semicolons: several when an `at` has several epochs."""
    choices = [_one(word.strip()) for word in part.split("+")]
    found: list[Named] = [("", {})]
    for choice in choices:
        found = [
            (f"{before} + {name}".removeprefix(" + "), {**others, **pruners})
            for before, others in found
            for name, pruners in choice
        ]
    return found


def _one(word: str) -> list[Named]:
    match = _PART.fullmatch(word)
    if match is None:
        raise UsageError(
            f"--pruner: {word!r}: expected NAME, NAME at EPOCH, EPOCH or NAME option=value, for example "
            "`zero_accuracy at 10, 20` or `median startup_trials=3`"
        )
    name, given = match["name"], match["options"].strip()
    options: dict[str, Any] = {key: _value(word, value) for key, value in _OPTION.findall(given)}
    if match["epochs"] is None:
        return [(" ".join(filter(None, (name, given))), _read(word, name, options))]
    kind = PRUNERS.get(name)
    option = None if kind is None else kind.epoch_option
    if kind is not None and option is None:
        raise UsageError(f"--pruner: {word!r}: {name} has no epoch to begin at; leave `at` out")
    epochs = [int(epoch) for epoch in match["epochs"].split(",")]
    return [
        (" ".join(filter(None, (name, "at", str(epoch), given))), _read(word, name, {**options, str(option): epoch}))
        for epoch in epochs
    ]


def _value(word: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"--pruner: {word!r}: cannot read {text!r}") from None


def _read(word: str, name: str, options: Mapping[str, Any]) -> dict[str, Pruner]:
    try:
        return read_pruners({name: dict(options) or None})
    except ValueError as error:
        raise UsageError(f"--pruner: {word!r}: {str(error).splitlines()[0]}") from None


def usual_pruners(study: Study, evaluated_at: Sequence[int]) -> list[Named]:
    """What one would want to know without asking: the study's own pruners, the zero rule after a quarter, half and
    three quarters of the epochs, and pruners that compare trials. evaluated_at: epochs of a whole run's evaluations."""
    return list(_without_repeats([*_own(study), *_usual(study, evaluated_at)]))


def _own(study: Study) -> Iterator[Named]:
    for name, pruner in study.space.pruner.items():
        yield f"{name} (this study's)", {name: pruner}
    if len(study.space.pruner) > 1:
        yield "all of this study's", study.space.pruner


def _usual(study: Study, evaluated_at: Sequence[int]) -> Iterator[Named]:
    if study.space.objective.metric == "exact_accuracy":
        for quarter in (1, 2, 3):
            place = min(len(evaluated_at) - 1, max(0, round(quarter * len(evaluated_at) / 4) - 1))
            yield from _one(f"zero_accuracy at {evaluated_at[place]}")
    for name in ("median", "percentile", "hyperband", "successive_halving"):
        yield from _one(name)


def _without_repeats(named: Sequence[Named]) -> Iterator[Named]:
    seen: list[dict[str, Pruner]] = []
    for name, pruners in named:
        if pruners not in seen:
            seen.append(pruners)
            yield name, pruners
