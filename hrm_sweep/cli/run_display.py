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


@contextlib.contextmanager
def shown_study(study: Study, console: Console, began: float) -> Iterator[Callable[[], None]]:
    """Yield a function to call at every look at the study; it draws what has changed."""
    from rich.live import Live

    from hrm_sweep.report.terminal import live_table, plain_line
    from hrm_sweep.sweep.view import study_view

    if not console.is_terminal:
        # What earlier calls did was printed by them.
        states = {line.number: line.state for line in study_view(study, 0).trials if line.state != "running"}

        def print_changes() -> None:
            view = study_view(study, time.monotonic() - began)
            for line in view.trials:
                if states.get(line.number) != line.state:
                    states[line.number] = line.state
                    console.print(plain_line(line, view.metric), markup=False)

        yield print_changes
        return

    with Live(console=console, auto_refresh=False, transient=True) as live:
        drawn_at = 0.0

        def draw() -> None:
            nonlocal drawn_at
            if time.monotonic() - drawn_at >= _DRAW_EVERY_S:
                drawn_at = time.monotonic()
                live.update(live_table(study_view(study, drawn_at - began), console.height - 6), refresh=True)

        yield draw
