"""A running study on the terminal: a live table, or a line for each trial that starts or ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from hrm_sweep.sweep.study import Study

_DRAW_EVERY_S = 1.0
_SHARE = 0.1  # of the time, at most, goes into looking: a look at 10,000 trials takes a third of a second


@contextlib.contextmanager
def shown_study(study: Study, console: Console, began: float) -> Iterator[Callable[[], None]]:
    """Yield a function to call at every look at the study; it draws what has changed."""
    from rich.live import Live

    from hrm_sweep.report.live_table import LiveTable
    from hrm_sweep.report.terminal import plain_line
    from hrm_sweep.sweep.paces import Paces
    from hrm_sweep.sweep.view import study_view

    if console.quiet:
        yield lambda: None
        return
    if not console.is_terminal or console.is_dumb_terminal:
        # What earlier calls did was printed by them.
        states = {line.number: line.state for line in study_view(study, 0).trials if line.state != "running"}

        def print_changes() -> None:
            view = study_view(study, time.monotonic() - began)
            for line in view.trials:
                if states.get(line.number) != line.state:
                    states[line.number] = line.state
                    console.print(plain_line(line, view.metric), markup=False)

        yield _not_too_often(print_changes, 0)
        print_changes()  # what ended since the last look
        return

    paces = Paces(study)
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def draw() -> None:
            live.update(LiveTable(study_view(study, time.monotonic() - began, paces)), refresh=True)

        yield _not_too_often(draw, _DRAW_EVERY_S)


def _not_too_often(look: Callable[[], None], pause_s: float) -> Callable[[], None]:
    """`look`, left out for `pause_s` after the last time, and for so long that it takes a tenth of the time at most."""
    next_at = 0.0

    def limited() -> None:
        nonlocal next_at
        began = time.monotonic()
        if began >= next_at:
            look()
            took = time.monotonic() - began
            next_at = began + max(pause_s, took / _SHARE)

    return limited
