"""A run of fifty thousand rows is judged within the memory that was promised; the benchmark prints what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).with_name("diagnose_large_run.py")


def test_fifty_thousand_rows_take_less_than_300_mib(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARK), "--repeat", "1", "--json", str(figures)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    usual, large = json.loads(figures.read_text())
    assert (usual["rows"], large["rows"]) == (94, 50_000)
    assert large["peak_mib"] < 300
    assert "50,000" in printed.splitlines()[2]
