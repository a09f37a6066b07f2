"""The thresholds of two general diagnosis tools, applied to the same rows, to see what they say of an HRM.

Rules and defaults as documented for Amazon SageMaker Debugger (built-in rules) and published for AutoTrainer (Zhang et
al. 2021, and its code). Gradients, updates and weights go in as norms by module, which is what a run records; accuracy
is that of cells, which is the kinder choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

Row = dict[str, Any]


def debugger_alarms(rows: Sequence[Row]) -> set[str]:
    """Names of the SageMaker Debugger rules that fire."""
    return set(_debugger(*_by_kind(rows)))


def auto_trainer_alarms(rows: Sequence[Row]) -> set[str]:
    """Names of the AutoTrainer symptoms that are found."""
    return set(_auto_trainer(*_by_kind(rows)))


def _debugger(train: Sequence[Row], evaluations: Sequence[Row]) -> Iterator[str]:
    if any(not math.isfinite(value) for row in (*train, *evaluations) for value in _numbers(row)):
        yield "ExplodingTensor"
    if any(0 < norm < 1e-7 for row in train for norm in _group(row, "grad_norm")):
        yield "VanishingGradient"
    ratios = [list(_ratios(row)) for row in train if "update_norm" in row]
    if any(ratio > 10 or ratio < 1e-8 for row in ratios for ratio in row):
        yield "WeightUpdateRatio"
    if any(_stays(ratios[row : row + 3]) for row in range(len(ratios) - 2)):
        yield "UnchangedTensor"
    if any(row["puzzle_emb"]["max_abs"] == 0 for row in train if "puzzle_emb" in row):
        yield "AllZero"
    if any(now["loss"] > 0.999 * before["loss"] for before, now in pairwise(train[::2])):  # ten steps apart
        yield "LossNotDecreasing"
    if any((val - loss) / loss > 0.1 for loss, val in _losses(train, evaluations)):
        yield "Overfit"
    if _without_progress([row["loss"] for row in train]) >= 5 or _without_progress(_of(evaluations, "lm_loss")) >= 10:
        yield "Overtraining"


def _auto_trainer(train: Sequence[Row], evaluations: Sequence[Row]) -> Iterator[str]:
    for row in train:
        first, last = _ends(row)
        if last and first / last < 1e-3 and first < 1e-4:
            yield "vanishing gradient"
        if last and first / last > 70:
            yield "exploding gradient"
    if any(row["loss"] >= 1e3 or row["loss"] < 0 or math.isnan(row["loss"]) for row in train):
        yield "large loss"
    accuracies = _of(evaluations, "accuracy")
    trained = _of(train, "accuracy")
    gains = [now - before for before, now in pairwise(accuracies)]
    if accuracies and max(gains, default=0.0) < 0.01:
        yield "slow convergence"
    if accuracies and trained and max(accuracies[-1], trained[-1]) < 0.6:
        yield "not converged"
    if gains and sum(abs(gain) >= 0.05 for gain in gains) >= 0.25 * len(gains):
        yield "oscillating loss"
    if accuracies and trained and trained[-1] - accuracies[-1] >= 0.1:
        yield "test not well"


def _by_kind(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    plain = [_with_floats(row) for row in rows]
    return [row for row in plain if row["kind"] == "train"], [row for row in plain if row["kind"] == "eval"]


def _with_floats(row: Row) -> Row:
    """JSON has no NaN: the strings that stand for it become numbers again."""
    return {
        key: _with_floats(value) if isinstance(value, dict) else float(value) if _is_number_word(value) else value
        for key, value in row.items()
    }


def _is_number_word(value: object) -> bool:
    return isinstance(value, str) and value.lower().lstrip("-") in ("nan", "infinity")


def _numbers(row: Row) -> Iterator[float]:
    for value in row.values():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, (int, float)):
            yield value


def _group(row: Row, name: str) -> list[float]:
    return list(row.get(name, {}).values())


def _ratios(row: Row) -> Iterator[float]:
    for module, update in row["update_norm"].items():
        if row["weight_norm"].get(module):
            yield update / row["weight_norm"][module]


def _stays(three_rows: Sequence[Sequence[float]]) -> bool:
    """Whether any module changed by less than numpy.allclose sees, in each of the rows."""
    return any(max(ratios) < 1e-5 for ratios in zip(*three_rows, strict=True))


def _ends(row: Row) -> tuple[float, float]:
    norms = row.get("grad_norm", {})
    return norms.get("embed_tokens", 0.0), norms.get("lm_head", 0.0)


def _losses(train: Sequence[Row], evaluations: Sequence[Row]) -> Iterator[tuple[float, float]]:
    for evaluation in evaluations:
        before = [row for row in train if row["step"] <= evaluation["step"]]
        if before and "lm_loss" in evaluation and before[-1]["lm_loss"] > 0:
            yield before[-1]["lm_loss"], evaluation["lm_loss"]


def _of(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if name in row]


def _without_progress(values: Sequence[float], delta: float = 0.1) -> int:
    """How many values in a row did not fall by `delta` below the lowest before them; the longest such stretch."""
    longest = current = 0
    lowest = math.inf
    for value in values:
        current = 0 if value < lowest - delta else current + 1
        lowest = min(lowest, value)
        longest = max(longest, current)
    return longest
