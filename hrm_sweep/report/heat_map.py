"""A heat map as inline SVG: how a distribution moves over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrm_sweep.report.html import Html, element
from hrm_sweep.report.scales import Floats, linear
from hrm_sweep.report.svg import BOTTOM, LEFT, RIGHT, TOP, Note, axes, drawing, note_labels

COLUMNS = 72
LEVELS = 9  # shades, classes h1 to h9 of the style sheet


@dataclass(frozen=True)
class HeatMap:
    """Shares by column and row.

    left, right  (C,) where each column begins and ends.
    share        (C, R) share of row 1, 2, ..., R in each column; a column sums to 1, or to 0 where nothing was counted.
    """

    title: str
    x_label: str
    x_high: float
    left: Floats
    right: Floats
    share: Floats
    description: str
    notes: Sequence[Note] = ()


def binned(step: Floats, counts: Floats, columns: int = COLUMNS) -> tuple[Floats, Floats, Floats]:
    """(left, right, share) of at most `columns` columns, from counts (N, R) of intervals that end at step (N,)."""
    order = np.argsort(step, kind="stable")
    groups = [group for group in np.array_split(order, min(columns, len(order))) if len(group)]
    right = np.array([step[group[-1]] for group in groups], dtype=np.float64)
    left = np.concatenate([[0.0], right[:-1]]) if len(right) else right
    total = np.array([counts[group].sum(axis=0) for group in groups], dtype=np.float64).reshape(len(groups), -1)
    return left, right, total / np.maximum(total.sum(axis=1, keepdims=True), 1)


def heat_map(chart: HeatMap, identifier: str) -> Html:
    rows = chart.share.shape[1]
    x, y = linear(0.0, chart.x_high, LEFT, RIGHT), linear(0.5, rows + 0.5, BOTTOM, TOP)
    shade = np.ceil(chart.share * LEVELS - 1e-9).astype(int).clip(0, LEVELS)
    left, right = x(chart.left), x(chart.right)
    edges = [float(y(row + 0.5)) for row in range(rows + 1)]
    cells: list[str] = [""] * (LEVELS + 1)
    for row in range(rows):
        for begin, end, level in _stretches(shade[:, row], left, right):
            cells[level] += f"M{begin:g} {edges[row + 1]:g}H{end:g}V{edges[row]:g}H{begin:g}z"
    return drawing(
        identifier,
        chart.title,
        chart.description,
        (element("path", d=data, class_=f"cell h{level}") for level, data in enumerate(cells) if level and data),
        axes(x, y, chart.x_label, whole=True),
        _notes(chart, chart.x_high),
    )


def _stretches(shade: np.ndarray, left: Floats, right: Floats) -> Iterator[tuple[float, float, int]]:
    """Neighbouring columns of one shade, drawn as one."""
    column = 0
    while column < len(shade):
        end = column
        while end + 1 < len(shade) and shade[end + 1] == shade[column] and left[end + 1] == right[end]:
            end += 1
        if shade[column] and right[end] > left[column]:
            yield float(left[column]), float(right[end]), int(shade[column])
        column = end + 1


def _notes(chart: HeatMap, x_high: float) -> Iterator[Html]:
    x = linear(0.0, x_high, LEFT, RIGHT)
    labels: dict[float, list[Note]] = {}
    for note in chart.notes:
        if note.x is not None and 0 <= note.x <= x_high:
            at = float(x(note.x))
            labels.setdefault(at, []).append(note)
            line = element("path", d=f"M{at:g} {TOP}V{BOTTOM}", class_="step")
            yield element("g", element("title", note.text), line, class_=f"note {note.kind}")
    yield from note_labels(labels)
