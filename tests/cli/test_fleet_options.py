"""`hrm-sweep run` with an engine beyond this machine: options that do not fit are refused before anything is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--workers", "4"],
            "--workers is for --engine ray or slurm, not local; trials at once",
        ),
        (["--time", "4h"], "--time is for --engine slurm, not local"),
        (["--address", "auto"], "--address is for --engine ray, not local"),
        (["--engine", "debug", "--partition", "gpu"], "--partition is for --engine slurm, not debug"),
        (["--engine", "dask"], "--engine: expected debug, local, ray, slurm, found 'dask'"),
        (["--artifacts", "runs"], "--artifacts: expected a URL such as s3://bucket/folder"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(folder: Path, words: list[str], message: str) -> None:
    command = [sys.executable, "-m", "hrm_sweep", "run", "quickstart", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_whose_extra_is_not_installed_says_what_to_install(folder: Path, engine: str, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"sys.argv = ['hrm-sweep', 'run', 'quickstart', '--engine', {engine!r}]\n"
        "from hrm_sweep.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"pip install 'hrm-sweep[{engine}]'" in done.stderr
    assert "Traceback" not in done.stderr
