"""TensorBoard: event files in the folder `tensorboard` of the run directory. No TensorFlow is needed, and no torch."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from hrm_sweep.runs.trackers.base import TrackedRun

FOLDER = "tensorboard"


class _EventFiles:
    """A file for each training; TensorBoard reads all files of a folder as one run."""

    id = FOLDER

    def __init__(self, run: TrackedRun) -> None:
        self._writer = EventFileWriter(str(run.directory / FOLDER))

    def log(self, values: Mapping[str, float], step: int) -> None:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
        self._writer.flush()  # a row that a kill took away would be missing for ever

    def close(self, *, failed: bool) -> None:
        self._writer.close()


def open_tracker(run: TrackedRun) -> _EventFiles:
    return _EventFiles(run)
