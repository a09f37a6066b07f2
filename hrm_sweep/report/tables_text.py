"""Tables in a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from hrm_sweep.report.section import Grid


def terminal_table(grid: Grid) -> Table:
    """The grid; columns of numbers stand to the right, and a cell that is too long goes on in the next line."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for number, heading in enumerate(grid.headings):
        numeric = any(row[number].number is not None for row in grid.rows)
        shown.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in grid.rows:
        shown.add_row(*(Text(cell.text) for cell in row))
    return shown
