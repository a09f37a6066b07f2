"""Tab-completion as a shell asks for it: what is offered, what it costs, and that it never breaks a prompt."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hrm_sweep.config import preset_names, space_names

HEAVY = {"torch", "optuna", "pandas", "numpy", "sqlalchemy", "yaml"}

# The entry point as the installed script runs it; what it imported goes to standard error.
CHILD = """
import json, sys
from hrm_sweep.cli import main
sys.argv = ["hrm-sweep"]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def offered(line: str, *, storage: str = "") -> list[str]:
    """What bash is offered at the end of `line`, in the current folder."""
    words = line.split(" ")
    asked = {"_HRM_SWEEP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    environment = {**os.environ, **asked, "HRM_SWEEP_STORAGE": storage}
    result = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, env=environment, check=False)
    *errors, modules = result.stderr.splitlines()
    assert errors == []
    assert not HEAVY & set(json.loads(modules))
    return [word for word in result.stdout.splitlines() if word]


def make_database(file: Path, *names: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER, study_name TEXT)")
        connection.executemany("INSERT INTO studies VALUES (1, ?)", [(name,) for name in names])


def make_run(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("{}")


def test_presets_spaces_and_files_are_offered_for_the_first_word(folder: Path) -> None:
    (folder / "my space.yaml").write_text("")
    assert offered("hrm-sweep train hrm") == [name for name in preset_names() if name.startswith("hrm")]
    assert offered("hrm-sweep run ") == sorted([*space_names(), "my space.yaml"])
    assert offered("hrm-sweep run quickstart ") == []


def test_studies_are_offered_wherever_one_is_named(folder: Path) -> None:
    make_database(folder / "trials" / "optuna.db", "mine", "minor", "yours")
    for line in ("status m", "run --study m", "diagnose --study m"):
        assert offered(f"hrm-sweep {line}") == ["mine", "minor"]


def test_studies_of_another_database_and_of_none(folder: Path) -> None:
    make_database(folder / "other.db", "elsewhere")
    assert offered("hrm-sweep status ", storage="sqlite:///other.db") == ["elsewhere"]
    assert offered("hrm-sweep run --storage sqlite:///other.db --study ") == ["elsewhere"]
    (folder / "damaged.db").write_bytes(b"no database at all")
    for storage in ("", "sqlite:///damaged.db", "postgresql://host/db"):
        assert offered("hrm-sweep status ", storage=storage) == []
    assert sorted(path.name for path in folder.iterdir()) == ["damaged.db", "other.db"]  # none was created


def test_run_directories_are_offered_level_by_level(folder: Path) -> None:
    make_run(folder / "trials" / "mine" / "0000")
    make_run(folder / "trials" / "mine" / "0001")
    assert offered("hrm-sweep diagnose ") == ["trials/mine/0000", "trials/mine/0001"]
    make_run(folder / "trials" / "yours" / "0000")
    assert offered("hrm-sweep fix ") == ["trials/mine/", "trials/yours/"]
    assert offered("hrm-sweep diagnose trials/y") == ["trials/yours/0000"]
    assert offered("hrm-sweep diagnose nowhere/at/all") == []


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_completion_can_be_installed(folder: Path) -> None:
    # Which shell it is, Typer reads off the parents of the process: none of them has to be one here.
    detection = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    environment = {**os.environ, "HOME": str(folder), "SHELL": "/bin/bash", **detection}
    program = (
        "import sys; from hrm_sweep.cli import main; sys.argv = ['hrm-sweep', '--show-completion', 'bash']; main()"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert "_HRM_SWEEP_COMPLETE=complete_bash" in shown.stdout
