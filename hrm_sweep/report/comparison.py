"""Runs side by side, in the terminal and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from hrm_sweep.diagnosis.comparison import ComparedRun, Comparison
from hrm_sweep.report.figures_html import Figure, figures, line_sample
from hrm_sweep.report.html import Html, element, page
from hrm_sweep.report.section import Cell, Grid
from hrm_sweep.report.svg import Chart, Line, line_chart
from hrm_sweep.report.tables_html import table
from hrm_sweep.report.tables_text import terminal_table

_STYLES = 7  # colours of the style sheet; beyond them lines are dashed
SCHEMA_VERSION = 1

_CHARTS = (
    # column, of the evaluations, title, unit, percent
    ("exact_accuracy", True, "Puzzles solved", "share, evaluation", True),
    ("accuracy", True, "Cells right", "share, evaluation", True),
    ("lm_loss", True, "Loss over the cells", "nats, evaluation", False),
    ("lm_loss", False, "Loss over the cells, training", "nats", False),
    ("act_steps", False, "ACT steps at halting, training", "mean", False),
)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Who they are, how good they are, what can be said of that, and what differs."""
    for number, run in enumerate(comparison.runs, start=1):
        console.print(Text(f"{number}  {run.path}"), soft_wrap=True)
    for title, grid in (("Measured", _measured(comparison)), ("Settings that differ", _settings(comparison))):
        console.print(Text(f"\n{title}", style="bold"))
        if grid.rows:
            console.print(Padding(terminal_table(grid), (0, 0, 0, 2), expand=False))
        else:
            console.print("  none")
        if title == "Measured":
            for sentence in comparison.sentences:
                console.print(Padding(Text(sentence), (0, 0, 0, 2), expand=False))


def _measured(comparison: Comparison) -> Grid:
    headings = ("run", "steps", "epochs", "solved", "95 % interval", "puzzles", "best", "cells")
    return Grid(headings, [tuple(_row(number, run)) for number, run in enumerate(comparison.runs, start=1)])


def _row(number: int, run: ComparedRun) -> Iterator[Cell]:
    yield Cell(str(number), number)
    steps = run.evidence.steps_done
    yield Cell(f"{steps:,}", steps)
    epochs = None if run.epochs_per_step is None else steps * run.epochs_per_step
    yield Cell("" if epochs is None else f"{epochs:.4g}", epochs)
    if run.exact is None:
        yield from (Cell("not measured"), Cell(""), Cell(""))
    else:
        low, high = run.exact.interval
        yield Cell(f"{run.exact.share:.1%}", run.exact.share)
        yield Cell(f"{low:.1%} to {high:.1%}", low)
        yield Cell(f"{run.exact.n:,}", run.exact.n)
    for share in (run.best_exact, run.cells):
        yield Cell("" if share is None else f"{share:.1%}", share)


def _settings(comparison: Comparison) -> Grid:
    headings = ("key", *(f"run {number}" for number in range(1, len(comparison.runs) + 1)))
    rows = [
        (
            Cell(one.key),
            *(Cell("?" if run.config is None else _spelled(value)) for run, value in _paired(comparison, one.values)),
        )
        for one in comparison.differences
    ]
    return Grid(headings, rows)


def _paired(comparison: Comparison, values: tuple[Any, ...]) -> list[tuple[ComparedRun, Any]]:
    return list(zip(comparison.runs, values, strict=True))


def _spelled(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# The page -------------------------------------------------------------------------------------------------------------


def comparison_page(comparison: Comparison) -> Html:
    """One self-contained page: curves over each other, scores, and the settings that differ."""
    runs = comparison.runs
    title = f"{len(runs)} runs compared"
    names = element(
        "ol",
        (element("li", line_sample(_look(number)), str(run.path), class_="path") for number, run in enumerate(runs)),
        class_="runs",
    )
    settings = _settings(comparison)
    body = element(
        "main",
        element("header", element("h1", title), names),
        _section("measured", "Measured", table(_measured(comparison)), _sentences(comparison)),
        _section(
            "curves",
            "Curves",
            element("p", "Over epochs, so that batches of any size compare."),
            figures(_charts(comparison)),
        ),
        _section(
            "settings",
            "Settings that differ",
            table(settings) if settings.rows else element("p", "None: their configurations are the same."),
        ),
        element("footer", "Made by ", element("code", "hrm-sweep compare"), "."),
    )
    return page(f"{title} · hrm-sweep", body, styles=["study_report.css"], scripts=["sorting.js"])


def _section(key: str, title: str, *content: Html | None) -> Html:
    return element("section", element("h2", title), *content, class_="part", id=key, aria_label=title)


def _sentences(comparison: Comparison) -> Html:
    return element("div", (element("p", sentence) for sentence in comparison.sentences))


def _charts(comparison: Comparison) -> list[Figure]:
    drawn = []
    for column, evaluated, title, unit, percent in _CHARTS:
        lines = list(_lines(comparison, column, evaluated=evaluated))
        if not lines:
            continue
        x_high = max(float(line.x.max()) for line in lines)
        key = f"{column}-{'evaluated' if evaluated else 'trained'}"
        chart = Chart(title, unit, "epochs", x_high, lines, percent=percent, y_range=(0.0, 1.0) if percent else None)
        drawn.append(Figure(key, title, unit, line_chart(chart, key), tuple((line.look, line.name) for line in lines)))
    return drawn


def _lines(comparison: Comparison, column: str, *, evaluated: bool) -> Iterator[Line]:
    for number, run in enumerate(comparison.runs):
        series = run.curve(column, evaluated=evaluated)
        if series is None:
            continue
        epochs = run.epochs(series)
        if np.isfinite(epochs).all():
            yield Line(f"run {number + 1}", epochs, series.value, number % _STYLES, number >= _STYLES)


def _look(number: int) -> str:
    return f"line s{number % _STYLES}" + (" dashed" if number >= _STYLES else "")


# JSON -----------------------------------------------------------------------------------------------------------------


def comparison_json(comparison: Comparison) -> str:
    runs = [
        {
            "run": str(run.path),
            "steps": run.evidence.steps_done,
            "exact_accuracy": None if run.exact is None else run.exact.to_mapping(),
            "best_exact_accuracy": run.best_exact,
            "accuracy": run.cells,
            "puzzles": None if run.puzzles is None else run.puzzles.digest,
        }
        for run in comparison.runs
    ]
    differences = {one.key: list(one.values) for one in comparison.differences}
    content = {
        "schema_version": SCHEMA_VERSION,
        "runs": runs,
        "differences": differences,
        "sentences": list(comparison.sentences),
    }
    return json.dumps(content, indent=1, allow_nan=False)
