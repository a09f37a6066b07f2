"""A run that is followed while it is written is judged as one that is read anew."""

from __future__ import annotations

from typing import Any

import numpy as np

from hrm_sweep.diagnosis import diagnose, gather_evidence
from hrm_sweep.diagnosis.live import LiveRun


def test_it_finds_at_each_moment_what_a_fresh_reader_finds(healthy: Any) -> None:
    metrics = healthy.path / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("")
    live = LiveRun(healthy.path)
    for part in np.array_split(np.arange(len(lines)), 4):
        with metrics.open("a") as handle:
            handle.writelines(lines[line] for line in part)
        fresh = diagnose(gather_evidence(healthy.path)).findings
        followed = diagnose(live.evidence()).findings
        assert followed == fresh


def test_a_line_that_is_torn_is_read_when_it_is_whole(healthy: Any) -> None:
    metrics = healthy.path / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(whole[:-40])
    live = LiveRun(healthy.path)
    before = len(live.evidence().rows) + len(live.evidence().evaluations)
    metrics.write_text(whole)
    assert len(live.evidence().rows) + len(live.evidence().evaluations) == before + 1


def test_a_folder_in_which_nothing_is_written_yet_has_no_rows(tmp_path: Any) -> None:
    assert len(LiveRun(tmp_path).evidence().rows) == 0
