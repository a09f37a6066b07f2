"""unseen.json comes back as it was written, and a damaged one is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm_sweep.runs.unseen import Unseen, read_unseen, write_unseen

FOUND = Unseen({"exact_accuracy": 2 / 3, "loss": 1.5}, (3, 9), (4,), "0123abcd")


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    write_unseen(tmp_path / "unseen.json", FOUND)
    assert read_unseen(tmp_path / "unseen.json") == FOUND
    assert FOUND.puzzles == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 99}', '{"values": {}, "solved": 3}', '"text"'])
def test_what_is_damaged_or_of_a_later_version_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "unseen.json").write_text(content)
    assert read_unseen(tmp_path / "unseen.json") is None
    assert read_unseen(tmp_path / "missing.json") is None
