"""Where the time of a short run goes: its parts, each timed where it is called."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hrm_sweep.config import load_config
from hrm_sweep.model import sliced, sliced_gradient
from hrm_sweep.model.hrm import Inner
from hrm_sweep.runs import RunDirectory
from hrm_sweep.training import learner, loop, session
from hrm_sweep.training.optimizers import AdamATan2
from hrm_sweep.training.telemetry import Interval

DATA = Path(__file__).parents[1] / "fixtures" / "sudoku-4x4"
PARTS: tuple[tuple[str, Any, tuple[str, ...], bool], ...] = (
    ("attention", sliced, ("attend",), False),
    ("attention", sliced_gradient, ("_attention_gradient",), False),
    ("MLP", sliced, ("feed",), False),
    ("MLP", sliced_gradient, ("_feed_gradient",), False),
    ("norms", sliced, ("norm",), False),
    ("norms", sliced_gradient, ("_norm_gradient",), False),
    ("second ACT pass", Inner, ("next_q_values",), True),
    ("optimizer", AdamATan2, ("step",), True),
    ("optimizer", learner, ("sign_sgd_step",), True),
    ("loss", learner, ("act_loss",), True),
    ("loader", loop, ("rows_on",), True),
    ("logging", Interval, ("add", "row"), True),
    ("logging", loop.Run, ("_emit", "_gradient_norms", "_weight_norms"), True),
    ("evaluation", loop.Run, ("_evaluate",), True),
    ("checkpoints", loop.Run, ("_save", "_save_weights"), True),
)
"""A part, where its functions are, their names, and whether what they call counts to them. A part counts only what no
other part inside it counts."""


class Clock:
    """Time by part; what is inside a part that is whole belongs to it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.open: list[tuple[str, bool]] = []
        self.since = time.perf_counter()

    def _book(self) -> None:
        now = time.perf_counter()
        part = self.open[-1][0] if self.open else "everything else"
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self.since
        self.since = now

    def timed(self, part: str, function: Any, whole: bool) -> Any:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            if self.open and self.open[-1][1]:
                return function(*arguments, **named)
            self._book()
            self.open.append((part, whole))
            try:
                return function(*arguments, **named)
            finally:
                self._book()
                self.open.pop()

        return call

    def passes(self, function: Any) -> Any:
        """`function` returns an iterator, whose steps are the loader's."""

        def call(*arguments: Any, **named: Any) -> Iterator[Any]:
            step = self.timed("loader", functools.partial(next, function(*arguments, **named), None), True)
            return iter(step, None)

        return call


def profile(threads: int | None = None) -> dict[str, float]:
    """The share of each part in the time of a run of hrm_v1_tiny on 4x4 puzzles, largest first."""
    clock = Clock()
    replaced = [(loop, "train_iteration", loop.train_iteration)]
    loop.train_iteration = clock.passes(loop.train_iteration)
    for part, owner, names, whole in PARTS:
        for name in names:
            replaced.append((owner, name, getattr(owner, name)))
            setattr(owner, name, clock.timed(part, getattr(owner, name), whole))
    try:
        with tempfile.TemporaryDirectory() as folder:
            config = load_config(
                "hrm_v1_tiny", {"data_path": str(DATA), "epochs": 8, "eval_interval": 4, "device": "cpu"}
            )
            clock.since, before = time.perf_counter(), torch.get_num_threads()
            session.run_training(config, RunDirectory(Path(folder) / "run"), threads=threads, say=lambda line: None)
            clock._book()
            torch.set_num_threads(before)
    finally:
        for owner, name, function in replaced:
            setattr(owner, name, function)
    total = sum(clock.seconds.values())
    return dict(sorted(((part, taken / total) for part, taken in clock.seconds.items()), key=lambda item: -item[1]))
