"""Progress of one run: a bar in a terminal, plain lines elsewhere; the lines also go to the run's log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hrm_sweep.config.schedule import RunLength
from hrm_sweep.report.pace import Pace
from hrm_sweep.runs import MetricRow, RunDirectory

_PLAIN_LINE_EVERY_S = 10.0


def duration(seconds: float) -> str:
    """Seconds for people: 48 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class View:
    """Shows rows and lines of one run."""

    def __init__(self, log: Path, length: RunLength, console: Console) -> None:
        self._log = log
        self._length = length
        self._console = console
        self._exact: float | None = None
        self._pace = Pace(length.intervals * length.eval_interval, length.eval_interval)
        self._last_line = -_PLAIN_LINE_EVERY_S
        self._progress: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal and not console.quiet:
            self._progress = Progress(
                TextColumn("{task.fields[epoch]}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}"),
                console=console,
                transient=True,
            )
            self._task = self._progress.add_task("", total=length.trained_steps, epoch="", facts="")

    def show(self, row: MetricRow) -> None:
        """A row was written."""
        self._pace.add(row)
        if row.kind == "eval":
            self._exact = row.get("exact_accuracy")
            self.say(self._evaluation(row))
            return
        if self._progress is not None:
            self._progress.update(
                self._task, completed=row.step, epoch=f"epoch {row.epoch:.0f}", facts=self._facts(row)
            )
        elif time.monotonic() - self._last_line >= _PLAIN_LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._console.print(f"step {row.step}/{self._length.trained_steps}  {self._facts(row)}", highlight=False)

    def say(self, line: str) -> None:
        """Print a line and keep it in the run's log."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        if self._log.parent.is_dir():
            with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as log:
                log.write(line + "\n")

    def _evaluation(self, row: MetricRow) -> str:
        exact, cells, count = row.get("exact_accuracy"), row.get("accuracy"), row.get("count")
        if exact is None or cells is None or not count:
            return f"epoch {row.epoch:g}: the test set is empty, nothing was evaluated"
        when = f"epoch {row.epoch:g}, step {row.step}"
        return f"{when}: {exact:.1%} of {count:.0f} puzzles solved, {cells:.1%} of cells right"

    def _facts(self, row: MetricRow) -> str:
        parts = [f"loss {row.values['loss']:.3f}"]
        if self._exact is not None:
            parts.append(f"exact {self._exact:.1%}")
        if (steps := row.get("act_steps")) is not None:
            parts.append(f"ACT {steps:.1f}")
        if (left := self._pace.left()) is not None:
            parts.append(f"{left} left")
        return "  ".join(parts)

    def __enter__(self) -> View:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()


@contextlib.contextmanager
def show_progress(directory: RunDirectory, length: RunLength, console: Console) -> Iterator[View]:
    """A View on `console` for the run in `directory`."""
    with View(directory.log, length, console) as view:
        yield view
