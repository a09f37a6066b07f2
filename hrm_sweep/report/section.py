"""A part of a report before it is drawn: sentences, a table, lines. Terminal, Markdown and HTML make the same of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `number` is what it is sorted by, None where its text is."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table: as many cells in each row as there are headings."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]


@dataclass(frozen=True)
class Section:
    """One part of a report. `key` is its public name in links; `lines` are shown as they are, one below the other."""

    key: str
    title: str
    sentences: Sequence[str] = ()
    grid: Grid | None = None
    lines: Sequence[str] = ()
