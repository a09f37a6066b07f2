"""HRM_SWEEP_NO_SKIPS=1, which .ci/run sets: what did not run is not called proven."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
SUITE = {
    "test_one.py": (
        "import pytest\n"
        "def test_that_passes(): pass\n"
        "def test_that_skips(): pytest.skip('no such machine')\n"
        "@pytest.mark.skipif(True, reason='never here')\n"
        "def test_that_is_marked(): pass\n"
        "@pytest.mark.xfail(reason='known')\n"
        "def test_that_is_known_to_fail(): assert False\n"
    ),
    "test_two.py": "import pytest\npytest.importorskip('a_module_that_nobody_has')\ndef test_unreached(): pass\n",
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    for name, text in SUITE.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def outcome(suite: Path, no_skips: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", str(suite)]
    environment = {**os.environ, "HRM_SWEEP_NO_SKIPS": no_skips}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=suite, check=False)
    return result.returncode, result.stdout


def test_a_skip_is_a_skip_without_the_variable(suite: Path) -> None:
    code, output = outcome(suite, "0")
    assert code == 0
    assert "1 passed, 3 skipped, 1 xfailed" in output


def test_every_kind_of_skip_fails_with_its_reason_under_the_variable(suite: Path) -> None:
    code, output = outcome(suite, "1")
    assert code == 1
    assert "1 failed, 1 passed, 1 xfailed, 2 errors" in output
    for reason in ("no such machine", "never here", "a_module_that_nobody_has"):
        assert reason in output
