"""Every name of a file or folder that we make is one that Windows accepts too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.cli.train import _new_folder
from hrm_sweep.config import preset_names, space_names
from hrm_sweep.errors import SpaceError
from hrm_sweep.runs import RunDirectory
from hrm_sweep.sweep.space import require_name
from hrm_sweep.sweep.study import ARTIFACTS

ROOT = Path(__file__).resolve().parents[1]
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def is_accepted(name: str) -> bool:
    """The rules of Win32 for one component of a path."""
    return (
        0 < len(name) <= 255
        and not re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
        and name[-1] not in " ."
        and name.split(".")[0].lower() not in DEVICES
    )


def names_of_a_run() -> set[str]:
    """Names of all files of a run directory: every property that is a path, and those that are numbered."""
    run = RunDirectory(Path("run"))
    properties = [name for name, one in vars(RunDirectory).items() if isinstance(one, property)]
    return {getattr(run, name).name for name in properties} | {run.step_weights(10**9).name}


def test_files_of_a_run_and_folders_of_ours() -> None:
    names = names_of_a_run() | set(ARTIFACTS.parts) | set(_new_folder("my preset.yaml").parts)
    assert len(names) > 12
    assert [name for name in names if not is_accepted(name)] == []


def test_what_is_shipped() -> None:
    shipped = {part for folder in ("hrm_sweep", "search_spaces", "docs", "tests") for path in (ROOT / folder).rglob("*")
               for part in path.relative_to(ROOT).parts if "__pycache__" not in path.parts}  # fmt: skip
    assert [name for name in shipped if not is_accepted(name)] == []
    assert all(map(is_accepted, [*preset_names(), *space_names()]))


@given(name=st.one_of(st.text(max_size=110), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)))
def test_every_name_that_a_study_may_have(name: str) -> None:
    try:
        require_name(name, "name")
    except SpaceError:
        return
    assert is_accepted(name)
    assert is_accepted(f".{name}.lock")


@pytest.mark.parametrize("name", ["con", "NUL", "aux.1", "com1", "LPT9.x", "mine.", "a b", "a:b", "runs"])
def test_names_that_a_study_may_not_have(name: str) -> None:
    with pytest.raises(SpaceError, match="cannot be the name of a"):
        require_name(name, "name")
