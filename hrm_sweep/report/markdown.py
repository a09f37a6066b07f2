"""Markdown as the dashboard renders it: GitHub's, with HTML and formulas, so that text from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"[\\`*\[\]<>|$~&]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|^[#+-]|\n")


def plain(text: str) -> str:
    """Text that is shown as it is, on one line."""
    return _SPECIAL.sub(lambda found: " " if found[0] == "\n" else "\\" + found[0], text.strip())


def code(text: str) -> str:
    """Text between backticks, a pipe included that would end a table's cell."""
    return "`" + text.replace("`", "'").replace("\n", " ").replace("|", "\\|") + "`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int = 1) -> str:
    """A table of cells that are Markdown; columns from `numbers_from` on stand to the right."""
    rules = [":--" if place < numbers_from else "--:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rules, *rows])
