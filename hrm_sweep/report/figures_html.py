"""Figures of a page: a caption, the drawing, and a legend with a sample of each mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hrm_sweep.report.html import Html, element


@dataclass(frozen=True)
class Figure:
    """A figure ready for the page. legend: (classes of a mark, line or area, what it stands for)."""

    key: str
    title: str
    unit: str
    drawing: Html
    legend: tuple[tuple[str, str], ...] = ()


def figures(drawn: Sequence[Figure]) -> Html | None:
    """Several figures, as many beside each other as fit."""
    return element("div", (_figure(figure) for figure in drawn), class_="charts") if drawn else None


def _figure(figure: Figure) -> Html:
    legend = [element("li", _key(style), text) for style, text in figure.legend]
    return element(
        "figure",
        element("figcaption", element("strong", figure.title), " ", element("span", figure.unit, class_="unit")),
        figure.drawing,
        element("ul", legend, class_="legend") if legend else None,
        class_="chart",
        id=f"{figure.key}-figure",
    )


def line_sample(look: str) -> Html:
    """A sample of a line, for a list of names."""
    return _key(look)


def _key(style: str) -> Html:
    kind, *more = style.split()
    if kind in ("line", "curve", "whisker"):
        shape = element("path", d="M1 6H19", class_=style)
    elif kind in ("stack", "region"):
        shape = element("rect", x=2, y=1, width=16, height=10, class_=style)
    elif more[0] == "leader":
        shape = element("circle", cx=10, cy=6, r=4.5, class_=style)
    elif more[0] == "complete":
        shape = element("circle", cx=10, cy=6, r=4, class_=style)
    elif more[0] == "pruned":
        shape = element("path", d="M6 3h8l-4 7z", class_=style)
    elif more[-1] in ("failed", "retried"):  # `to be retried` is drawn as retried
        shape = element("path", d="M7 3l6 6m0 -6l-6 6", class_=f"mark cross {more[-1]}")
    else:
        shape = element("path", d="M7 3h6v6h-6z", class_=style)
    return element("svg", shape, viewBox="0 0 20 12", class_="key", aria_hidden="true")
