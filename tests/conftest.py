"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two test processes on two cores: one thread each, before torch is imported anywhere.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
# Runs that tests start may take two threads all the same. By default these wait for each other by spinning, which makes
# a step of a tiny model 40 times slower where something else wants the cores (measured with tests/benchmarks).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a name that breaks careless code."""
    path = tmp_path / "a folder with 'quotes' and spaces"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture(scope="session")
def sudoku_4x4() -> Path:
    """A data folder of 1000 + 200 4x4 sudoku with 7 blanks, as the reference's tools write it."""
    return FIXTURES / "sudoku-4x4"


NO_SKIPS = os.environ.get("HRM_SWEEP_NO_SKIPS") == "1"

# A busy machine is no failure. In .ci/run every run draws the same examples, elsewhere new ones are tried.
settings.register_profile(
    "hrm-sweep", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=NO_SKIPS, print_blob=True
)
settings.load_profile("hrm-sweep")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Under HRM_SWEEP_NO_SKIPS=1, as in .ci/run, a skip is a failure: what did not run proves nothing."""
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped, which HRM_SWEEP_NO_SKIPS=1 forbids: {reason}"
