"""Line charts as inline SVG. Numbers in, markup out: nothing here knows what a run is.

Colours come from the page's style sheet by class (s0, s1, ... for lines and areas), so that one drawing serves light,
dark and paper. No coordinate is ever anything but a finite number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrm_sweep.report.html import Html, element, joined
from hrm_sweep.report.scales import Floats, Scale, fitted, linear, spelled

WIDTH, HEIGHT = 420, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 412, 22, 184
POINTS = 400  # of a line that are drawn; a page holds a dozen charts
_DOTS_UP_TO = 16  # a line of so few points shows each


@dataclass(frozen=True)
class Line:
    """A curve. x, y: (N,), in any order; what is not finite is a gap. style: which colour of the style sheet."""

    name: str
    x: Floats
    y: Floats
    style: int = 0
    dashed: bool = False

    @property
    def look(self) -> str:
        """Classes of the style sheet."""
        return f"line s{self.style}" + (" dashed" if self.dashed else "")


@dataclass(frozen=True)
class Area:
    """What lies between two curves: x, low, high (N,). `style` is that of the line it belongs to."""

    x: Floats
    low: Floats
    high: Floats
    style: int = 0


@dataclass(frozen=True)
class Silhouette:
    """A shape without a scale: x (N,), level (N,) from 0, the bottom of the chart, to 1, its top."""

    x: Floats
    level: Floats


@dataclass(frozen=True)
class Note:
    """Something to point at: a step, a value, a threshold, or several of them.

    label  a few characters, for example the number of a finding; `kind` is a class of the style sheet.
    text   what it is, for those who point at it or cannot see.
    """

    label: str
    kind: str
    text: str
    x: float | None = None
    y: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Chart:
    """A chart with a horizontal axis from 0 to `x_high`.

    log      whether the vertical axis is logarithmic; None decides by the values.
    y_range  the vertical axis, where it is given by what is measured (a share goes from 0 to 1).
    percent  whether the values are shares, to be written as percentages.
    borders  where one part of what is drawn ends and the next begins, and what to say of it.
    """

    title: str
    unit: str
    x_label: str
    x_high: float
    lines: Sequence[Line]
    areas: Sequence[Area] = ()
    silhouette: Silhouette | None = None
    notes: Sequence[Note] = ()
    log: bool | None = None
    y_range: tuple[float, float] | None = None
    percent: bool = False
    borders: Sequence[tuple[float, str]] = ()


def line_chart(chart: Chart, identifier: str) -> Html:
    """The chart as an SVG element; `identifier` is unique on the page."""
    x = linear(0.0, chart.x_high, LEFT, RIGHT)
    y = vertical_scale(chart, BOTTOM, TOP)
    return drawing(
        identifier,
        chart.title,
        _described(chart),
        _silhouette(chart.silhouette, x),
        (_area(area, x, y) for area in chart.areas),
        axes(x, y, chart.x_label, percent=chart.percent),
        (_border(at, text, x) for at, text in chart.borders if 0 <= at <= x.high),
        (_line(line, x, y) for line in reversed(chart.lines)),  # the first line is on top
        _gaps(chart.lines, x),
        _notes(chart, x, y),
    )


def drawing(identifier: str, title: str, description: str, *content: Html | Iterator[Html] | None) -> Html:
    """An SVG element with a name and a description for those who cannot see it."""
    return element(
        "svg",
        element("title", title, id=f"{identifier}-title"),
        element("desc", description, id=f"{identifier}-desc"),
        *content,
        role="img",
        aria_labelledby=f"{identifier}-title {identifier}-desc",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
    )


def axes(x: Scale, y: Scale, x_label: str, *, percent: bool = False, whole: bool = False) -> Html:
    """Grid lines, the numbers beside them, and what the horizontal axis counts. `whole`: the vertical one counts."""
    marks = [element("path", d=f"M{LEFT} {BOTTOM}H{RIGHT}", class_="axis")]
    for tick in y.ticks(5):
        if whole and tick != round(tick):
            continue
        at = float(y(tick))
        text = f"{100 * tick:.3g}%" if percent else spelled(tick)
        marks.append(element("path", d=f"M{LEFT} {at:g}H{RIGHT}", class_="grid"))
        marks.append(element("text", text, x=LEFT - 6, y=f"{at + 3.5:g}", class_="tick y"))
    for tick in x.ticks(5):
        at = float(x(tick))
        marks.append(element("path", d=f"M{at:g} {BOTTOM}v4", class_="axis"))
        marks.append(element("text", spelled(tick), x=f"{at:g}", y=BOTTOM + 15, class_="tick x"))
    marks.append(element("text", x_label, x=RIGHT, y=HEIGHT - 2, class_="tick y"))
    return element("g", marks, aria_hidden="true")


def thinned(x: Floats, y: Floats, points: int = POINTS) -> tuple[Floats, Floats]:
    """At most `points` of a curve, in order of x: the lowest and the highest finite value of each block of
    neighbours, so that no extreme is lost. A block without any finite value stays a gap: one NaN."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], np.where(np.isfinite(y), y, np.nan)[order]
    if len(x) <= points:
        return x, y
    size = -(-len(x) // (points // 2))
    blocks = np.full((-(-len(x) // size), size), np.nan)
    blocks.ravel()[: len(y)] = y
    first = size * np.arange(len(blocks))
    lowest = first + np.argmin(np.where(np.isnan(blocks), np.inf, blocks), axis=1)
    highest = first + np.argmax(np.where(np.isnan(blocks), -np.inf, blocks), axis=1)
    kept = np.unique(np.concatenate([lowest, highest]))
    return x[kept], y[kept]


def path_data(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> str:
    """Places on the page as a path; NaN in y lifts the pen. A point that stands alone becomes a dot."""
    parts: list[str] = []
    finite = np.isfinite(y)
    for segment in np.split(np.arange(len(y)), np.flatnonzero(np.diff(finite)) + 1):
        if len(segment) and finite[segment[0]]:
            places = [f"{a:g} {b:g}" for a, b in zip(x[segment], y[segment], strict=True)]
            parts.append("M" + "L".join(places) + ("h0" if len(places) == 1 else ""))
    return "".join(parts)


def _placed(values: Floats, scale: Scale) -> Floats:
    """Places of the finite values, NaN for the others."""
    places = np.full(len(values), np.nan)
    finite = np.isfinite(values)
    places[finite] = scale(values[finite])
    return places


def vertical_scale(chart: Chart, begin: float, end: float) -> Scale:
    """The vertical axis of a chart, from `begin` to `end` on the page."""
    if chart.y_range is not None:
        return linear(*chart.y_range, begin, end)
    visible = [line.y[line.x <= chart.x_high] for line in chart.lines]
    for area in chart.areas:
        shown = area.x <= chart.x_high
        visible += [area.low[shown], area.high[shown]]
    visible += [
        np.array([note.threshold for note in chart.notes if note.threshold is not None], dtype=np.float64),
        np.array([note.y for note in chart.notes if note.y is not None], dtype=np.float64),
    ]
    return fitted(np.concatenate([np.zeros(0), *visible]), begin, end, log=chart.log)


def _line(line: Line, x: Scale, y: Scale) -> Html:
    along, values = thinned(line.x, line.y)
    across, up = _placed(along, x), _placed(values, y)
    drawn = element("path", d=path_data(across, up), class_=line.look)
    if len(line.x) > _DOTS_UP_TO:
        return drawn
    dots = (
        element(
            "circle",
            element("title", f"{line.name}: {spelled(float(value))} at {spelled(float(at))}"),
            cx=f"{a:g}",
            cy=f"{b:g}",
            r="2.6",
            class_=f"dot s{line.style}",
        )
        for a, b, at, value in zip(across, up, along, values, strict=True)
        if np.isfinite(b)
    )
    return joined(drawn, dots)


def _border(at: float, text: str, x: Scale) -> Html:
    return element("path", element("title", text), d=f"M{float(x(at)):g} {TOP}V{BOTTOM}", class_="border")


def _area(area: Area, x: Scale, y: Scale) -> Html:
    inside = (area.x <= x.high) & np.isfinite(area.low) & np.isfinite(area.high)
    across, low, high = area.x[inside], area.low[inside], area.high[inside]
    if not len(across):
        return joined()
    there = [f"{a:g} {b:g}" for a, b in zip(x(across), y(high), strict=True)]
    back = [f"{a:g} {b:g}" for a, b in zip(x(across[::-1]), y(low[::-1]), strict=True)]
    return element("path", d="M" + "L".join(there + back) + "z", class_=f"area s{area.style}")


def _silhouette(shape: Silhouette | None, x: Scale) -> Html | None:
    if shape is None:
        return None
    inside = shape.x <= x.high
    across, level = x(shape.x[inside]), np.round(BOTTOM - shape.level[inside] * (BOTTOM - TOP), 1)
    if not len(across):
        return None
    top = "L".join(f"{a:g} {b:g}" for a, b in zip(across, level, strict=True))
    return element("path", d=f"M{across[0]:g} {BOTTOM}L{top}V{BOTTOM}z", class_="silhouette")


def _gaps(lines: Sequence[Line], x: Scale) -> Iterator[Html]:
    """A cross on the axis where a line first stops being a number."""
    for line in lines:
        bad = ~np.isfinite(line.y) & (line.x <= x.high)
        if bad.any():
            first = float(line.x[bad].min())
            at = float(x(first))
            text = f"{line.name} is NaN or infinite at {spelled(first)}, {int(bad.sum())} value(s) in all"
            yield element(
                "path", element("title", text), d=f"M{at - 4:g} {BOTTOM - 4}l8 8m0 -8l-8 8", class_=f"gap s{line.style}"
            )


def _notes(chart: Chart, x: Scale, y: Scale) -> Iterator[Html]:
    """Thresholds as lines across, steps as lines down with their label on top, values as rings."""
    labels: dict[float, list[Note]] = {}
    for note in chart.notes:
        parts: list[Html] = [element("title", note.text)]
        if note.threshold is not None and y.low <= note.threshold <= y.high:
            level = float(y(note.threshold))
            parts.append(element("path", d=f"M{LEFT} {level:g}H{RIGHT}", class_="threshold"))
            text = f"{100 * note.threshold:.3g}%" if chart.percent else spelled(note.threshold)
            parts.append(element("text", text, x=LEFT + 3, y=f"{level - 3:g}", class_="value"))
        if note.x is not None and 0 <= note.x <= x.high:
            at = float(x(note.x))
            parts.append(element("path", d=f"M{at:g} {TOP}V{BOTTOM}", class_="step"))
            labels.setdefault(at, []).append(note)
            if note.y is not None and y.low <= note.y <= y.high:
                parts.append(element("circle", cx=f"{at:g}", cy=f"{float(y(note.y)):g}", r="4.5", class_="ring"))
        yield element("g", parts, class_=f"note {note.kind}")
    yield from note_labels(labels)


def note_labels(labels: dict[float, list[Note]]) -> Iterator[Html]:
    """The labels of notes above the place they point at; each label once, side by side where places are close."""
    taken = -np.inf
    for at, notes in sorted(labels.items()):
        for note in {note.label: note for note in notes}.values():
            width = 7.0 + 6.5 * len(note.label)
            centre = min(max(at, taken + width / 2 + 1), RIGHT - width / 2 + 8)
            taken = centre + width / 2
            yield element(
                "g",
                element("rect", x=f"{centre - width / 2:.1f}", y=TOP - 18, width=f"{width:g}", height=14, rx=7),
                element("text", note.label, x=f"{centre:.1f}", y=TOP - 7.5),
                class_=f"badge {note.kind}",
            )


def _described(chart: Chart) -> str:
    """The chart in words: where each line begins and ends, and between which values it lies."""
    sentences = []
    for line in chart.lines:
        finite = np.isfinite(line.y)
        if not finite.any():
            sentences.append(f"{line.name}: no finite value")
            continue
        order = np.argsort(line.x[finite], kind="stable")
        y = line.y[finite][order]
        sentences.append(
            f"{line.name}: from {spelled(float(y[0]))} to {spelled(float(y[-1]))}, "
            f"lowest {spelled(float(y.min()))}, highest {spelled(float(y.max()))}"
        )
    sentences += [text for _, text in chart.borders] + [note.text for note in chart.notes]
    unit = f" in {chart.unit}" if chart.unit else ""
    return f"{chart.title}{unit} over {chart.x_label}. " + "; ".join(sentences) + "."
