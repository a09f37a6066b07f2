"""The charts of a run as one PNG, for places that show pictures but no SVG. Drawn at twice the size and scaled down.

Pillow rather than matplotlib, which takes 1.6 s to load in every worker and 0.3 s a picture (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hrm_sweep.report.scales import Floats, Scale, linear, spelled
from hrm_sweep.report.svg import Area, Chart, Line, thinned, vertical_scale

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

WIDTH, HEIGHT, HEAD = 470, 250, 34  # of a panel, and of the words above all of them, in pixels of the picture
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 48, 38  # room around the plot of a panel
_SCALE = 2  # pixels drawn for a pixel of the picture

# The light colours of style.css.
PALETTE: tuple[Colour, ...] = (
    (0, 103, 165),
    (209, 80, 12),
    (10, 138, 98),
    (163, 71, 155),
    (138, 109, 0),
    (90, 103, 114),
    (194, 24, 91),
)
PAPER, INK, SOFT, GRID, ERROR = (255, 255, 255), (27, 31, 36), (91, 100, 112), (231, 234, 238), (193, 39, 45)


def picture(title: str, charts: Sequence[Chart]) -> Image.Image:
    """The charts in two columns under a title, RGB."""
    columns = min(2, max(1, len(charts)))
    rows = -(-len(charts) // columns)
    size = (columns * WIDTH, HEAD + rows * HEIGHT)
    image = canvas(*size)
    draw = ImageDraw.Draw(image)
    text(draw, (12, HEAD // 2), _shortened(title, 14, size[0] - 24), INK, size=14, anchor="lm")
    for number, chart in enumerate(charts):
        _panel(draw, chart, plot_box(number, columns))
    return finished(image)


def canvas(width: int, height: int) -> Image.Image:
    """An empty picture of so many pixels, to be drawn on at twice the size with the strokes below."""
    return Image.new("RGB", (width * _SCALE, height * _SCALE), PAPER)


def finished(image: Image.Image) -> Image.Image:
    """A canvas that has been drawn on, at its own size."""
    return image.reduce(_SCALE)


def plot_box(number: int, columns: int = 2) -> Box:
    """(left, top, right, bottom) of the plot of a panel, in pixels of the picture."""
    left, top = (number % columns) * WIDTH, HEAD + (number // columns) * HEIGHT
    return left + _LEFT, top + _TOP, left + WIDTH - _RIGHT, top + HEIGHT - _BOTTOM


def _panel(draw: ImageDraw.ImageDraw, chart: Chart, box: Box) -> None:
    left, top, right, bottom = box
    x = linear(0.0, chart.x_high, left, right)
    y = vertical_scale(chart, bottom, top)
    heading = chart.title + (f", {chart.unit}" if chart.unit else "")
    text(draw, (left, top - 32), heading, INK, size=12, anchor="lm")
    _legend(draw, chart, left, top - 13)
    for area in chart.areas:
        _area(draw, area, x, y)
    _axes(draw, chart, box, x, y)
    for at, _ in chart.borders:
        if 0 <= at <= x.high:
            stroke(draw, [(float(x(at)), top), (float(x(at)), bottom)], SOFT, 1)
    for line in reversed(chart.lines):  # the first line is on top
        _line(draw, line, x, y, bottom)


def _legend(draw: ImageDraw.ImageDraw, chart: Chart, at: float, height: float) -> None:
    for line in chart.lines:
        colour = _colour(line.style)
        stroke(draw, [(at, height), (at + 14, height)], colour, 3)
        text(draw, (at + 19, height), line.name, SOFT, size=11, anchor="lm")
        at += 19 + _font(11).getlength(line.name) / _SCALE + 14
    if chart.areas:
        text(draw, (at, height), "shaded: healthy runs", SOFT, size=11, anchor="lm")


def _axes(draw: ImageDraw.ImageDraw, chart: Chart, box: Box, x: Scale, y: Scale) -> None:
    left, _, right, bottom = box
    for tick in y.ticks(5):
        level = float(y(tick))
        stroke(draw, [(left, level), (right, level)], GRID, 1)
        words = f"{100 * tick:.3g}%" if chart.percent else spelled(tick)
        text(draw, (left - 7, level), words, SOFT, size=10, anchor="rm")
    stroke(draw, [(left, bottom), (right, bottom)], SOFT, 1)
    for tick in x.ticks(5):
        at = float(x(tick))
        stroke(draw, [(at, bottom), (at, bottom + 4)], SOFT, 1)
        text(draw, (at, bottom + 12), spelled(tick), SOFT, size=10, anchor="mm")
    text(draw, (right, bottom + 27), chart.x_label, SOFT, size=10, anchor="rm")


def _line(draw: ImageDraw.ImageDraw, line: Line, x: Scale, y: Scale, bottom: float) -> None:
    colour = _colour(line.style)
    along, values = thinned(line.x, line.y)
    inside = along <= x.high
    along, values = along[inside], values[inside]
    for across, up in _segments(along, values, x, y):
        points = list(zip(across.tolist(), up.tolist(), strict=True))
        if len(points) > 1:
            stroke(draw, points, colour, 2)
        if len(along) <= 16:  # few points are shown each
            for point in points:
                dot(draw, point, colour, 2.6)
        elif len(points) == 1:
            dot(draw, points[0], colour, 1.5)
    lost = along[~np.isfinite(values)]
    if len(lost):
        at = float(x(float(lost.min())))
        stroke(draw, [(at - 4, bottom - 4), (at + 4, bottom + 4)], ERROR, 2)
        stroke(draw, [(at - 4, bottom + 4), (at + 4, bottom - 4)], ERROR, 2)


def _segments(
    along: Floats, values: Floats, x: Scale, y: Scale
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """What lies between gaps, as places in the picture."""
    finite = np.isfinite(values)
    for segment in np.split(np.arange(len(values)), np.flatnonzero(np.diff(finite)) + 1):
        if len(segment) and finite[segment[0]]:
            yield x(along[segment]), y(values[segment])


def _area(draw: ImageDraw.ImageDraw, area: Area, x: Scale, y: Scale) -> None:
    inside = (area.x <= x.high) & np.isfinite(area.low) & np.isfinite(area.high)
    if inside.sum() < 2:
        return
    across = x(area.x[inside]).tolist()
    there = zip(across, y(area.high[inside]).tolist(), strict=True)
    back = zip(across[::-1], y(area.low[inside])[::-1].tolist(), strict=True)
    pale = tuple(round(255 - 0.16 * (255 - channel)) for channel in _colour(area.style))
    draw.polygon(_scaled([*there, *back]), fill=(pale[0], pale[1], pale[2]))


# Strokes, in pixels of the picture ------------------------------------------------------------------------------------


def _colour(style: int) -> Colour:
    return PALETTE[style % len(PALETTE)]


def _scaled(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(_SCALE * across, _SCALE * up) for across, up in points]


def stroke(draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
    draw.line(_scaled(points), fill=colour, width=round(_SCALE * width), joint="curve")


def dot(draw: ImageDraw.ImageDraw, point: tuple[float, float], colour: Colour, radius: float) -> None:
    (across, up), size = _scaled([point])[0], _SCALE * radius
    draw.ellipse((across - size, up - size, across + size, up + size), fill=colour)


def text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, colour: Colour, *, size: int, anchor: str
) -> None:
    draw.text(_scaled([at])[0], words, fill=colour, font=_font(size), anchor=anchor)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that a picture looks the same everywhere."""
    return ImageFont.load_default(_SCALE * size)


def _shortened(words: str, size: int, room: float) -> str:
    if _font(size).getlength(words) / _SCALE <= room:
        return words
    while words and _font(size).getlength(words + " ...") / _SCALE > room:
        words = words[:-1]
    return words.rstrip(" ,;:") + " ..."
