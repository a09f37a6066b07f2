"""Where trials fail: of each range of each parameter, what became of the trials in it. As a figure of plotly's."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hrm_sweep.report.scales import spelled
from hrm_sweep.report.terminal import TO_BE_RETRIED

_RANGES = 4  # of a parameter that takes many values
_PARAMETERS, _REASONS = 8, 8  # that are shown
_CHARACTERS = 28

Ended = tuple[str, str | None, Mapping[str, Any]]  # outcome, reason, parameters


def failure_map(trials: Sequence[Ended], parameters: Sequence[str]) -> dict[str, Any] | None:
    """A table of colours: a row for each range of a parameter, a column for each reason. None when nothing failed."""
    ended = [trial for trial in trials if trial[0] not in ("running", TO_BE_RETRIED)]
    reasons = Counter(_reason(trial) for trial in ended if trial[0] != "complete")
    if not reasons:
        return None
    columns = [reason for reason, _ in reasons.most_common(_REASONS)]
    rows: list[tuple[str, list[Ended]]] = []
    for name in parameters[:_PARAMETERS]:
        rows += _ranges(name, [trial for trial in ended if name in trial[2]])
    shares, words = [], []
    for _, inside in rows:
        counts = Counter(_reason(trial) for trial in inside)
        shares.append([round(counts[column] / len(inside), 3) for column in columns])
        words.append([f"{counts[column]} of {len(inside)}" for column in columns])
    left_out = len(parameters) > _PARAMETERS or len(reasons) > _REASONS
    said = f"<br><sub>the first {_PARAMETERS} parameters, the {_REASONS} commonest reasons</sub>" if left_out else ""
    heat = {
        "type": "heatmap",
        "x": columns,
        "y": [label for label, _ in rows],
        "z": shares,
        "text": words,
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}<br>%{x}: %{text}<extra></extra>",
        "colorscale": [[0, "rgba(224,123,31,0.03)"], [1, "rgba(224,123,31,0.95)"]],
        "zmin": 0,
        "zmax": 1,
        "xgap": 2,
        "ygap": 2,
        "colorbar": {"title": {"text": "share"}, "tickformat": ".0%", "thickness": 12},
    }
    layout = {
        "title": {"text": f"where trials were pruned or failed, by parameter{said}", "font": {"size": 15}},
        "font": {"color": "#78828e"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"side": "top", "showgrid": False, "tickangle": 0},
        "yaxis": {"autorange": "reversed", "automargin": True, "showgrid": False},
        "margin": {"l": 40, "r": 20, "t": 100, "b": 20},
        "height": 160 + 26 * len(rows),
    }
    return {"data": [heat], "layout": layout}


def _reason(trial: Ended) -> str:
    outcome, reason, _ = trial
    words = outcome if reason is None else f"{outcome}: {reason}"
    return words if len(words) <= _CHARACTERS else words[: _CHARACTERS - 3] + "..."


def _ranges(name: str, trials: Sequence[Ended]) -> list[tuple[str, list[Ended]]]:
    """The values of a parameter as rows, in order; of many numbers four ranges with as many trials in each."""
    values = [trial[2][name] for trial in trials]
    short = name.rsplit(".", 1)[-1]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    different = sorted(set(values)) if numbers else sorted(set(values), key=str)
    if not numbers or len(different) <= _RANGES + 2:
        shown = different[: 2 * _RANGES]
        return [(f"{short} {_value(value)}", [one for one in trials if one[2][name] == value]) for value in shown]
    ordered = sorted(trials, key=lambda trial: (trial[2][name], trial[0]))
    borders = [ordered[math.ceil(part * len(ordered) / _RANGES)][2][name] for part in range(1, _RANGES)]
    ends = [different[0], *borders, different[-1]]
    rows = []
    for place, (low, high) in enumerate(itertools.pairwise(ends)):
        is_last = place == len(ends) - 2
        inside = [one for one in trials if low <= one[2][name] and (one[2][name] < high or is_last)]
        if inside:
            rows.append((f"{short} {_value(low)} to {_value(high)}", inside))
    return rows


def _value(value: Any) -> str:
    return spelled(float(value)) if isinstance(value, float) else str(value)
