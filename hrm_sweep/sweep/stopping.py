"""Asks a study to stop, from anywhere: a note in the storage that workers on every machine read."""

from __future__ import annotations

import contextlib
import time
from enum import StrEnum

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from hrm_sweep.errors import StorageAwayError
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.study import Study

_READ_EVERY_S = 5.0


class Stop(StrEnum):
    """How a study is to stop."""

    DRAIN = "drain"  # running trials go on to their end, no other is started
    NOW = "now"  # running trials write a checkpoint and are handed back


def request_stop(study: Study, how: Stop | None) -> None:
    """Ask the study to stop, or with None let it go on. It stays asked until the next `run`."""
    study.optuna.set_user_attr(attributes.STOP, None if how is None else str(how))


def requested_stop(study: Study) -> Stop | None:
    given = study.attribute(attributes.STOP)
    return Stop(given) if given in set(Stop) else None


class StopListener:
    """What was asked of a study, read every five seconds at most, however often a worker wants to know."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._read_at = -_READ_EVERY_S
        self._last: Stop | None = None

    def heard(self) -> Stop | None:
        now = time.monotonic()
        if now - self._read_at >= _READ_EVERY_S:
            self._read_at = now
            # While the storage is away, what was heard last still holds.
            with contextlib.suppress(SQLAlchemyError, StorageInternalError, StorageAwayError):
                self._last = requested_stop(self._study)
        return self._last
