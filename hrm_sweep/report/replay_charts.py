"""Compute saved against winners lost: one mark a pruner, as a figure of a page and as a picture."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from hrm_sweep.errors import StudyError
from hrm_sweep.report import png
from hrm_sweep.report.figures_html import Figure, figures
from hrm_sweep.report.html import Html, element, joined, page
from hrm_sweep.report.pruner_replay import PrunerReplays
from hrm_sweep.report.scales import Scale, linear
from hrm_sweep.report.svg import BOTTOM, LEFT, RIGHT, TOP, axes, drawing
from hrm_sweep.report.tables_html import table

TITLE, UNIT = "Compute saved against winners lost", "share of the best quarter lost, with its 95 % interval"
X_LABEL = "% of training saved"
_ZERO_RULE = re.compile(r"zero_accuracy at \d+")
_WIDTH, _HEIGHT, _HEAD, _LINE = 760, 360, 56, 18  # of the picture and its plot, in pixels


@dataclass(frozen=True)
class Mark:
    """Pruners that fall on one place. rows: their numbers in the table. x: percent saved; y, low, high: shares lost."""

    rows: tuple[int, ...]
    x: float
    y: float
    low: float
    high: float

    @property
    def label(self) -> str:
        return ", ".join(map(str, self.rows))


def marks(replays: PrunerReplays) -> list[Mark]:
    """The pruners of which it can be told what they lose, from left to right."""
    places: dict[tuple[int, int], list[Mark]] = defaultdict(list)
    for row, replay in enumerate(replays.replays, start=1):
        lost = replays.lost(replays.top_quarter(replay))
        if lost is not None:
            low, high = lost.interval
            mark = Mark((row,), 100 * replay.saved, lost.share, low, high)
            places[round(mark.x), round(100 * mark.y)].append(mark)
    joint = [
        Mark(tuple(row for one in there for row in one.rows), there[0].x, there[0].y, there[0].low, there[0].high)
        for there in places.values()
    ]
    return sorted(joint, key=lambda mark: mark.x)


def zero_rule(replays: PrunerReplays, all_marks: Sequence[Mark]) -> list[Mark]:
    """The marks of the zero rule at its epochs, the latest epoch first: what moving it costs and brings."""
    rows = [row for row, one in enumerate(replays.replays, start=1) if _ZERO_RULE.fullmatch(one.name)]
    found = [mark for mark in all_marks if any(row in mark.rows for row in rows)]
    return found if len(found) > 1 else []


# The page -------------------------------------------------------------------------------------------------------------


def replays_page(replays: PrunerReplays) -> Html:
    """One self-contained page."""
    chart = trade_off(replays)
    body = element(
        "main",
        element(
            "header",
            element("p", f"study {replays.study}", class_="path"),
            element("h1", "What pruners would have saved, and lost"),
        ),
        figures([chart]) if chart is not None else element("p", "All trials ended alike, so there is no winner."),
        element("section", table(replays.grid), class_="part", aria_label="Pruners"),
        (element("p", sentence) for sentence in replays.sentences),
        element("footer", "Made by ", element("code", f"hrm-sweep audit {replays.study} --html FILE"), "."),
    )
    return page(f"{replays.study}, pruners · hrm-sweep", body, styles=["study_report.css"], scripts=["sorting.js"])


def trade_off(replays: PrunerReplays) -> Figure | None:
    """A mark for each pruner; None where there is no winner to lose."""
    shown = marks(replays)
    if not shown:
        return None
    x, y = _scales(shown, (LEFT, RIGHT - 10, BOTTOM, TOP))
    path = "L".join(f"{float(x(one.x)):g} {float(y(one.y)):g}" for one in zero_rule(replays, shown))
    described = "; ".join(
        f"{', '.join(replays.replays[row - 1].name for row in one.rows)}: saves {one.x:.0f} %, loses {one.y:.0%} "
        f"({one.low:.0%} to {one.high:.0%})"
        for one in shown
    )
    picture = drawing(
        "trade-off",
        TITLE,
        f"{described}.",
        axes(x, y, X_LABEL, percent=True),
        element("path", d=f"M{path}", class_="line s1") if path else None,
        (_mark(one, x, y, up) for one, up in zip(shown, label_heights(shown, x, y), strict=True)),
    )
    legend = [("whisker", "95 % interval")]
    legend += [("line s1", "the zero rule, from a later epoch to an earlier one")] if path else []
    return Figure("trade-off", TITLE, UNIT, picture, tuple(legend))


def _mark(mark: Mark, x: Scale, y: Scale, label_at: float) -> Html:
    across, low, high = float(x(mark.x)), float(y(mark.low)), float(y(mark.high))
    ends = f"M{across - 3:g} {low:g}h6M{across - 3:g} {high:g}h6"
    return joined(
        element("path", d=f"M{across:g} {low:g}V{high:g}{ends}", class_="whisker"),
        element("circle", cx=f"{across:g}", cy=f"{float(y(mark.y)):g}", r=4, class_="point"),
        element("text", mark.label, x=f"{across + 7:g}", y=f"{label_at + 3:g}", class_="label left"),
    )


def label_heights(shown: Sequence[Mark], x: Scale, y: Scale) -> list[float]:
    """Where the middle of each mark's label stands, to its right: above its place, and above any label in its way."""
    placed: list[tuple[float, float, float]] = []  # begin, end, height
    for mark in shown:
        begin = float(x(mark.x)) + 7
        end, height = begin + 7.0 * len(mark.label), float(y(mark.y)) - 8
        while any(begin < other[1] and other[0] < end and abs(height - other[2]) < 12 for other in placed):
            height -= 12
        placed.append((begin, end, height))
    return [height for _, _, height in placed]


def _scales(shown: Sequence[Mark], box: tuple[float, float, float, float]) -> tuple[Scale, Scale]:
    """box: left, right, bottom, top."""
    left, right, bottom, top = box
    most = max(mark.x for mark in shown)
    return linear(0.0, min(100.0, max(10.0, most * 1.15)), left, right), linear(0.0, 1.0, bottom, top)


# The picture ----------------------------------------------------------------------------------------------------------


def replays_png(replays: PrunerReplays) -> bytes:
    """The figure as a PNG file, with the pruners' names below. Raises StudyError where there is no winner to lose."""
    shown = marks(replays)
    if not shown:
        raise StudyError(f"{replays.study}: all trials ended alike, so there is no winner to lose, and nothing to draw")
    height = _HEIGHT + _LINE * len(replays.replays) + 12
    image = png.canvas(_WIDTH, height)
    draw = ImageDraw.Draw(image)
    left, right, top, bottom = 58, _WIDTH - 24, _HEAD, _HEIGHT - 44
    x, y = _scales(shown, (left, right, bottom, top))
    png.text(draw, (left, 18), f"{TITLE}: study {replays.study}", png.INK, size=14, anchor="lm")
    png.text(draw, (left, 38), UNIT, png.SOFT, size=11, anchor="lm")
    for tick in y.ticks(5):
        level = float(y(tick))
        png.stroke(draw, [(left, level), (right, level)], png.GRID, 1)
        png.text(draw, (left - 7, level), f"{tick:.0%}", png.SOFT, size=10, anchor="rm")
    png.stroke(draw, [(left, bottom), (right, bottom)], png.SOFT, 1)
    for tick in x.ticks(6):
        at = float(x(tick))
        png.stroke(draw, [(at, bottom), (at, bottom + 4)], png.SOFT, 1)
        png.text(draw, (at, bottom + 12), f"{tick:.0f}", png.SOFT, size=10, anchor="mm")
    png.text(draw, (right, bottom + 28), X_LABEL, png.SOFT, size=10, anchor="rm")
    line = [(float(x(one.x)), float(y(one.y))) for one in zero_rule(replays, shown)]
    if line:
        png.stroke(draw, line, png.PALETTE[1], 2)
        png.stroke(draw, [(right - 210, 38), (right - 196, 38)], png.PALETTE[1], 3)
        png.text(draw, (right - 190, 38), "the zero rule, from late to early", png.SOFT, size=11, anchor="lm")
    for one, label_at in zip(shown, label_heights(shown, x, y), strict=True):
        across, low, high = float(x(one.x)), float(y(one.low)), float(y(one.high))
        png.stroke(draw, [(across, low), (across, high)], png.PALETTE[0], 1.5)
        for end in (low, high):
            png.stroke(draw, [(across - 3, end), (across + 3, end)], png.PALETTE[0], 1.5)
        png.dot(draw, (across, float(y(one.y))), png.PALETTE[0], 4)
        png.text(draw, (across + 8, label_at), one.label, png.INK, size=11, anchor="lm")
    for row, replay in enumerate(replays.replays, start=1):
        at = _HEIGHT + _LINE * (row - 1)
        unknown = "" if any(row in one.rows for one in shown) else ": cannot tell"
        png.text(draw, (left, at), f"{row}  {replay.name}{unknown}", png.INK, size=11, anchor="lm")
    written = io.BytesIO()
    png.finished(image).save(written, format="PNG", optimize=True)
    return written.getvalue()
