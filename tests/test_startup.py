"""Nothing heavy is imported before a verb has something to do: help has to come at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.main import get_command

from hrm_sweep.cli.app import app

HEAVY = {"torch", "optuna", "optuna_dashboard", "pandas", "numpy", "pydantic", "sqlalchemy", "yaml", "huggingface_hub"}
# The pinned Typer converts the arguments of a verb with pydantic, whatever we do; what counts is that ours does not.
LOADED_BY_TYPER = {"pydantic"}

# Runs the entry point as the installed script does, in a process of its own, and tells what it imported.
CHILD = """
import json, sys
from hrm_sweep.cli import main
sys.argv = ["hrm-sweep", *sys.argv[1:]]
code = 0
try:
    main()
except SystemExit as end:
    code = end.code or 0
print("imported", json.dumps([code, sorted(sys.modules)]))
"""


def all_verbs() -> Iterator[tuple[str, ...]]:
    """Every verb, hidden ones too, as its words: (), ("train",), ("data", "sudoku"), ..."""
    waiting = [((), get_command(app))]
    while waiting:
        words, command = waiting.pop()
        yield words
        waiting += [((*words, name), inner) for name, inner in getattr(command, "commands", {}).items()]


@pytest.mark.parametrize("words", sorted(all_verbs()), ids=lambda words: " ".join(words) or "hrm-sweep")
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", CHILD, *words, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    help_text, _, report = result.stdout.rpartition("imported")
    code, modules = json.loads(report)
    assert code == 0
    assert "Usage:" in help_text
    assert not (HEAVY - LOADED_BY_TYPER if words else HEAVY) & set(modules)
    assert "markdown_it" not in modules  # of rich's Markdown, which Typer imports beside what it draws with
    ours = {name for name in modules if name.startswith("hrm_sweep.") and not name.startswith("hrm_sweep.cli")}
    assert ours <= {"hrm_sweep.errors"}


def test_the_package_itself_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", "import sys, hrm_sweep, hrm_sweep.errors; print(*sys.modules)"]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "hrm_sweep.errors" in modules
    assert not HEAVY & set(modules)


def test_help_leaves_rich_whole() -> None:
    """What help does without is there for whoever wants it."""
    code = (
        "from hrm_sweep.cli.help import import_typers_drawing; import_typers_drawing();"
        "from rich.markdown import Markdown; from rich.traceback import Traceback; from rich.console import Console;"
        "Console().print(Markdown('# A heading')); print(Traceback.__module__)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "A heading" in printed
    assert "rich.traceback" in printed
