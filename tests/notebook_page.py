"""A page of docs/ as a notebook: what it says to type is run, and what it says comes out is compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SEPARATOR = "----- end of a block -----"


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, content) of every block of code."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def outputs(page: Path, folder: Path) -> list[tuple[str, str]]:
    """Run the python blocks of `page` one after another in one process; (printed, as the page has it) of each that has
    a block of text behind it."""
    pieces = blocks(page)
    code = [content for language, content in pieces if language == "python"]
    program = f"\nprint({_SEPARATOR!r})\n".join(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(_SEPARATOR + "\n")
    assert len(printed) == len(code)
    expected = []
    for (language, _), (after, content) in zip(pieces, [*pieces[1:], ("", "")], strict=True):
        if language == "python":
            expected.append(content if after == "text" else "")
    return list(zip(printed, expected, strict=True))


def but_for_numbers(text: str) -> list[list[str]]:
    """The words of each line. Numbers differ from machine to machine, and with them the width of columns."""
    return [re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", line).split() for line in text.strip().splitlines()]
