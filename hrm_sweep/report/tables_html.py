"""Tables that a reader sorts by their headings: `sorting.js` makes buttons of these."""

from __future__ import annotations

from hrm_sweep.report.html import Html, element
from hrm_sweep.report.section import Grid


def table(grid: Grid, *, tall: bool = False) -> Html:
    """The table, in a box that scrolls sideways; a `tall` one scrolls downwards as well."""
    numeric = [any(row[column].number is not None for row in grid.rows) for column in range(len(grid.headings))]
    head = (
        element("th", heading, scope="col", class_="num" if number else None)
        for heading, number in zip(grid.headings, numeric, strict=True)
    )
    body = (
        element(
            "tr",
            (
                element(
                    "td",
                    element("span", cell.text, class_=f"state {cell.text}") if heading == "state" else cell.text,
                    class_="num" if number else "text" if heading == "said" else None,
                    data_value=None if cell.number is None else repr(float(cell.number)),
                )
                for cell, heading, number in zip(row, grid.headings, numeric, strict=True)
            ),
        )
        for row in grid.rows
    )
    content = element("table", element("thead", element("tr", head)), element("tbody", body), class_="sortable")
    if not tall:
        return element("div", content, class_="scroll")
    return element("div", content, class_="scroll tall", tabindex=0, role="region", aria_label="Table of trials")
