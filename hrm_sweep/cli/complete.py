"""What the shell offers on Tab. Answers from file names and one look into the database, without loading anything heavy.

A shell asks while somebody types: so nothing here raises, prints or creates a file, whatever it finds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

_PACKAGE = Path(__file__).resolve().parents[1]
_MOST = 200  # offers at a time; a study may have ten thousand run directories
_CONFIGS = ("config.yaml", "all_config.yaml")  # what makes a folder a run, ours or of the reference


def spaces(context: typer.Context, incomplete: str) -> list[str]:
    """Shipped search spaces and YAML files, for the first word of `run`."""
    if _has_words(context):
        return []
    shipped = [_PACKAGE / "search_spaces", _PACKAGE.parent / "search_spaces"]
    names = [path.stem for folder in shipped for path in _glob(folder, "*.yaml")]
    return _offered([*names, *_yaml_files(incomplete)], incomplete)


def presets(context: typer.Context, incomplete: str) -> list[str]:
    """Presets, YAML files and run directories, for the first word of `train`."""
    if _has_words(context):
        return []
    names = [path.stem for path in _glob(_PACKAGE / "config" / "presets", "*.yaml")]
    return _offered([*names, *_yaml_files(incomplete), *_runs(incomplete)], incomplete)


def plannable(context: typer.Context, incomplete: str) -> list[str]:
    """Search spaces and whatever can be trained, for the first word of `plan`."""
    return sorted({*spaces(context, incomplete), *presets(context, incomplete)})[:_MOST]


def run_directories(incomplete: str) -> list[str]:
    """Folders that are runs, and those on the way to them."""
    return _offered(_runs(incomplete or ("trials/" if Path("trials").is_dir() else "")), incomplete)


def studies(context: typer.Context, incomplete: str) -> list[str]:
    """Names of studies in the SQLite database that the command would use. A server is not asked: it may take long."""
    storage = context.params.get("storage") or os.environ.get("HRM_SWEEP_STORAGE") or "sqlite:///trials/optuna.db"
    kind, _, file = str(storage).partition(":///")
    return _offered(_names_in(file), incomplete) if kind.split("+")[0] == "sqlite" else []


def _has_words(context: typer.Context) -> bool:
    return bool(context.params.get("arguments"))


def _names_in(file: str) -> list[str]:
    import sqlite3  # not for every verb

    with contextlib.suppress(sqlite3.Error, OSError, ValueError):
        address = f"{Path(file).resolve().as_uri()}?mode=ro"  # without it, a look would create the file
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=0.2)) as connection:
            return [str(name) for (name,) in connection.execute("SELECT study_name FROM studies")]
    return []


def _runs(incomplete: str) -> Iterator[str]:
    """What lies one level below what was typed. Where that is a single folder, what lies in it too: a shell that is
    offered one word takes it for complete and adds a space."""
    found = list(_folders(incomplete))
    while len(found) == 1 and found[0].endswith("/"):
        below = list(_folders(found[0]))
        if not below:
            break
        found = below
    yield from found


def _folders(incomplete: str) -> Iterator[str]:
    parent = incomplete.rpartition("/")[0]
    start = "/" if incomplete.startswith("/") and not parent else parent
    last = incomplete.rpartition("/")[2]
    with contextlib.suppress(OSError, ValueError), os.scandir(start or ".") as entries:
        for entry in entries:
            hidden = entry.name.startswith(".") and not last.startswith(".")
            if hidden or not entry.name.startswith(last) or not entry.is_dir():
                continue
            path = f"{start.rstrip('/')}/{entry.name}" if start else entry.name
            yield path if any(Path(path, name).is_file() for name in _CONFIGS) else f"{path}/"


def _yaml_files(incomplete: str) -> Iterator[str]:
    folder = incomplete.rpartition("/")[0]
    for path in [*_glob(Path(folder or "."), "*.yaml"), *_glob(Path(folder or "."), "*.yml")]:
        yield path.as_posix()


def _glob(folder: Path, pattern: str) -> list[Path]:
    with contextlib.suppress(OSError, ValueError):
        return sorted(folder.glob(pattern))
    return []


def _offered(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})[:_MOST]
