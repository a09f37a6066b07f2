"""The figures of a study that the dashboard shows, as plotly's JSON, which its page draws: plotly itself is not needed.

The dashboard reads all attributes of a study at once, figures among them, so these stay below 60 kB each whatever the
size of the study: of many trials some are drawn, the best among them, and the figure says how many are left out.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hrm_sweep.report.failure_map import failure_map
from hrm_sweep.report.terminal import TO_BE_RETRIED

DRAWN_CURVES, POINTS_OF_A_CURVE, DRAWN_POINTS = 150, 20, 600
_BEST_KEPT = 10

OUTCOMES = {
    "complete": "#2b83c4",
    "pruned": "#e07b1f",
    "failed": "#b5489c",
    TO_BE_RETRIED: "#8a929c",
    "running": "#8a929c",
}
"""Colours that can be told apart by those who see no red or green, on white and on black."""

Figure = dict[str, Any]
Item = TypeVar("Item")


@dataclass(frozen=True)
class TrialPoint:
    """A trial as figures show it, retries counted as one.

    outcome    complete, pruned, failed, to be retried or running.
    reason     the pruner or the cause of failure; None for others.
    values     its parameters.
    curve      (epoch, value) of every evaluation, by epoch.
    best       the value that it counts by, best evaluation of one that did not complete; None without any.
    flops      of its training; act_steps  mean at halting, at its end; None where not known.
    is_feasible  whether it keeps to the constraints of the study.
    """

    number: int
    outcome: str
    reason: str | None
    values: Mapping[str, Any]
    curve: Sequence[tuple[int, float]]
    best: float | None
    flops: float | None = None
    act_steps: float | None = None
    is_feasible: bool = True


@dataclass(frozen=True)
class StudyPoints:
    """All trials of a study, and what is measured of them."""

    metric: str
    maximize: bool
    parameters: Sequence[str]
    trials: Sequence[TrialPoint]

    def worth(self, trial: TrialPoint) -> float:
        """More is better; below everything for a trial without a value."""
        if trial.best is None:
            return -math.inf
        return trial.best if self.maximize else -trial.best


def study_figures(study: StudyPoints) -> dict[str, str]:
    """Every figure that has something to show, as JSON, by the name under which the dashboard lists it."""
    drawn = {
        "learning-curves": _learning_curves(study),
        "accuracy-and-compute": _against(
            study, "flops", "operations of the training (FLOP)", "and what it costs", log=True, front=True
        ),
        "accuracy-and-act-steps": _against(
            study, "act_steps", "mean ACT steps at halting, at the end of training", "and how long the model thinks"
        ),
        "where-trials-fail": failure_map([(t.outcome, t.reason, t.values) for t in study.trials], study.parameters),
    }
    return {name: json.dumps(figure, separators=(",", ":")) for name, figure in drawn.items() if figure is not None}


def _learning_curves(study: StudyPoints) -> Figure | None:
    there = [trial for trial in study.trials if trial.curve]
    if not there:
        return None
    drawn = _chosen(study, there, DRAWN_CURVES)
    data = []
    for outcome, colour in OUTCOMES.items():
        along: list[int | None] = []
        up: list[float | None] = []
        names: list[str | None] = []
        trials = [trial for trial in drawn if trial.outcome == outcome]
        for trial in trials:
            for epoch, value in _thinned(trial.curve):
                along.append(epoch)
                up.append(_short(value))
                names.append(str(trial.number))
            along.append(None)  # lifts the pen: one trace an outcome, however many trials
            up.append(None)
            names.append(None)
        if trials:
            line = {"color": colour, "width": 1.5}
            data.append(_trace(along, up, names, outcome, mode="lines+markers", line=line, marker={"size": 5}))
    title = f"{study.metric} of every trial{_left_out(drawn, there)}"
    return {"data": data, "layout": _layout(title, "epoch", study)}


def _against(
    study: StudyPoints, quantity: str, axis: str, words: str, *, log: bool = False, front: bool = False
) -> Figure | None:
    """The value of each trial over another of its quantities."""
    x: Callable[[TrialPoint], float] = lambda trial: float(getattr(trial, quantity))  # noqa: E731
    there = [trial for trial in study.trials if trial.best is not None and getattr(trial, quantity) is not None]
    if not there:
        return None
    pareto = _pareto(study, there, x) if front else []
    drawn = _chosen(study, there, DRAWN_POINTS, always=pareto)
    data = []
    if front:
        line = {"color": "#8a929c", "width": 1.5, "dash": "dot", "shape": "hv"}
        data.append(_points(pareto, x, "best at its cost", mode="lines", line=line))
    for outcome, colour in OUTCOMES.items():
        trials = [trial for trial in drawn if trial.outcome == outcome]
        if trials:
            data.append(
                _points(trials, x, outcome, mode="markers", marker={"size": 7, "color": colour, "opacity": 0.8})
            )
    layout = _layout(f"{study.metric} {words}{_left_out(drawn, there)}", axis, study)
    if log:
        layout["xaxis"] |= {"type": "log", "exponentformat": "SI"}
    return {"data": data, "layout": layout}


def _points(trials: Sequence[TrialPoint], x: Callable[[TrialPoint], float], name: str, **look: Any) -> Figure:
    up = [None if trial.best is None else _short(trial.best) for trial in trials]
    return _trace([_short(x(trial)) for trial in trials], up, [str(trial.number) for trial in trials], name, **look)


def _trace(
    x: Sequence[float | None], y: Sequence[float | None], trials: Sequence[str | None], name: str, **look: Any
) -> Figure:
    hover = "trial %{text}: %{y:.4g} at %{x:.4g}"
    return {"type": "scatter", "x": x, "y": y, "text": trials, "name": name, "hovertemplate": hover, **look}


def _layout(title: str, x_title: str, study: StudyPoints) -> Figure:
    axis = {"gridcolor": "rgba(128,136,146,0.25)", "zerolinecolor": "rgba(128,136,146,0.4)"}
    shares = {"tickformat": ".0%", "rangemode": "tozero"} if study.metric.endswith("accuracy") else {}
    return {
        "title": {"text": title, "font": {"size": 15}},
        "font": {"color": "#78828e"},  # read on white and on black
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"title": {"text": x_title}, **axis},
        "yaxis": {"title": {"text": study.metric}, **axis, **shares},
        "margin": {"l": 70, "r": 20, "t": 70, "b": 60},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
    }


# What is left out -----------------------------------------------------------------------------------------------------


def _chosen(
    study: StudyPoints, trials: Sequence[TrialPoint], most: int, *, always: Iterable[TrialPoint] = ()
) -> list[TrialPoint]:
    """At most about `most` trials, by number: those to be shown `always`, the best, and of each outcome its share."""
    if len(trials) <= most:
        return list(trials)
    kept = {trial.number for trial in always}
    kept |= {trial.number for trial in sorted(trials, key=study.worth, reverse=True)[:_BEST_KEPT]}
    counts = Counter(trial.outcome for trial in trials)
    for outcome, count in counts.items():
        share = max(1, round(most * count / len(trials)))
        kept |= {trial.number for trial in spread([one for one in trials if one.outcome == outcome], share)}
    return [trial for trial in trials if trial.number in kept]


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[-1]]
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _thinned(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    return spread([(epoch, value) for epoch, value in curve if math.isfinite(value)], POINTS_OF_A_CURVE)


def _left_out(drawn: Sequence[TrialPoint], there: Sequence[TrialPoint]) -> str:
    if len(drawn) == len(there):
        return ""
    words = f"{len(drawn):,} of {len(there):,} trials are drawn: the best, and of each outcome some, evenly by number"
    return f"<br><sub>{words}</sub>"


def _pareto(study: StudyPoints, trials: Sequence[TrialPoint], x: Callable[[TrialPoint], float]) -> list[TrialPoint]:
    """The trials that are better than all that cost no more, of those that keep to the constraints."""
    front: list[TrialPoint] = []
    for trial in sorted((one for one in trials if one.is_feasible), key=lambda one: (x(one), -study.worth(one))):
        if not front or study.worth(trial) > study.worth(front[-1]):
            front.append(trial)
    return front


def _short(value: float) -> float:
    return float(f"{value:.4g}")
