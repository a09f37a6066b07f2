"""Writes what a command prints, colours and all, as an SVG: the pictures of the README come from here.

    python docs/picture.py docs/images/diagnose.svg 100 hrm-sweep diagnose trials/quickstart/0001

The arguments are the file, the width in columns, and the command.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def picture(file: Path, columns: int, command: list[str]) -> None:
    """Run `command` as in a terminal of `columns` columns and write its output to `file`."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(columns), "TERM": "xterm-256color"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    console = Console(record=True, width=columns, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {shlex.join(command)}\n{done.stdout.decode()}".rstrip()))
    console.save_svg(str(file), title="hrm-sweep")


if __name__ == "__main__":
    picture(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
