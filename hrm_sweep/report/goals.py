"""How goals, their values and the front of a study are shown: in words, and as the parts of a report.

The front (Pareto's) are the trials that no other one beats in every goal at once. Which these are, the sweep says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hrm_sweep.report.progress import duration
from hrm_sweep.report.trial_note import in_units


@dataclass(frozen=True)
class ShownGoal:
    """One goal of a study: what is measured, and whether more of it is better."""

    metric: str
    maximize: bool


def quantity_text(name: str, value: float) -> str:
    """A measured quantity with its unit and in words: `12.3 M parameters`, `8.6 GB of memory`, `loss 0.845`."""
    match name:
        case "parameters":
            return f"{goal_text(name, value)} parameters"
        case "train_flops":
            return f"{goal_text(name, value)} of training"
        case "evaluation_flops":
            return f"{goal_text(name, value)} a puzzle"
        case "seconds":
            return f"{goal_text(name, value)} of training"
        case "peak_memory":
            return f"{in_units(value)}B of memory"
    return f"{name} {value:.4g}"


def goal_text(metric: str, value: float) -> str:
    """The value of a goal in a column that is named by it: `0.845`, `1.2 TFLOP`, `3 min 20 s`."""
    match metric:
        case "train_flops" | "evaluation_flops":
            return f"{in_units(value)}FLOP"
        case "parameters":
            return in_units(value).strip()
        case "seconds":
            return duration(value) if value >= 10 else f"{value:.2g} s"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


def goals_in_words(goals: Sequence[ShownGoal]) -> str:
    """`more exact_accuracy and less train_flops`."""
    words = [f"{'more' if goal.maximize else 'less'} {goal.metric}" for goal in goals]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def front_in_words(goals: Sequence[ShownGoal], trials: int) -> str:
    """`4 trials that no other one beats at more exact_accuracy and less train_flops at once`."""
    return f"{trials} trial{'' if trials == 1 else 's'} that no other one beats at {goals_in_words(goals)} at once"


def front_mapping(goals: Sequence[ShownGoal], front: Iterable[tuple[int, Sequence[float]]]) -> dict[str, Any]:
    """The front for programs; empty for a study with one goal."""
    if not goals:
        return {}
    names = [goal.metric for goal in goals]
    return {
        "goals": [{"metric": goal.metric, "goal": "maximize" if goal.maximize else "minimize"} for goal in goals],
        "front": [{"trial": number, "goals": dict(zip(names, values, strict=True))} for number, values in front],
    }
