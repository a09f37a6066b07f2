"""A fix in words: what is changed and why, and the run before and after it, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from hrm_sweep.diagnosis.figures import Figures, Share
from hrm_sweep.diagnosis.prescription import Change, Prescription
from hrm_sweep.report.progress import duration


def change_lines(changes: Sequence[Change]) -> list[str]:
    """`lr: 1e-06 -> 0.001 (lr_out_of_range)`, a line a key."""
    return [f"{change.key}: {_value(change.before)} -> {_value(change.after)} ({change.because})" for change in changes]


def left_out_lines(prescription: Prescription) -> list[str]:
    return [f"{finding.rule}: left out, {reason}" for finding, reason in prescription.left_out]


def file_comment(command: str, verdict: str, source: str, changes: Sequence[Change], left: Sequence[str]) -> str:
    """The block at the top of a patched configuration."""
    lines = [f"Written by `{command}`.", verdict, f"Changed from {source}:"]
    lines += [f"  {line}" for line in [*change_lines(changes), *left]]
    return "".join(f"# {line}\n" for line in lines)


def comparison(before: Figures, after: Figures, changes: Sequence[Change]) -> Table:
    """Before and after, side by side in 80 columns."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", width=80)
    table.add_column("", width=14)
    table.add_column("before", ratio=1, overflow="fold")
    table.add_column("after", ratio=1, overflow="fold")
    for name, *cells in _rows(before, after, changes):
        table.add_row(name, *(escape(cell) for cell in cells))
    return table


def _rows(before: Figures, after: Figures, changes: Sequence[Change]) -> Iterator[tuple[str, str, str]]:
    yield "verdict", before.verdict, after.verdict
    yield "puzzles solved", _share(before.exact), _share(after.exact)
    yield "cells right", _share(before.cells), _share(after.cells)
    yield "steps", str(before.steps), str(after.steps)
    yield "time", _time(before.seconds), _time(after.seconds)
    yield "leading", before.leading or "none", after.leading or "none"
    for change in changes:
        yield change.key, _value(change.before), _value(change.after)


def _share(found: Share | None) -> str:
    if found is None:
        return "not evaluated"
    low, high = found.interval
    return f"{found.share:.1%} of n = {found.n}\n{low:.1%} to {high:.1%}"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


def _value(value: object) -> str:
    if value is None:
        return "null"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
