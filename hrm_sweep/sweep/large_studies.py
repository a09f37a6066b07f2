"""optuna-dashboard for studies of thousands of trials: a WSGI application around its own.

Its page asks for a whole study at once, 14 MB at 5,000 trials, which take seconds to put together and are the same as
the last time where nothing has changed: so the last answer is kept. And it draws a line for every trial in its plot of
intermediate values, which keeps a browser from showing anything for 45 s: above 500 trials it is told that there are
none, and our learning curves show some of them.
"""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from optuna.storages import BaseStorage

MOST_LINES = 500  # of the dashboard's own plot of intermediate values
KEPT_FROM_BYTES = 200_000
TRUSTED_AFTER_S = 11.0
"""The dashboard looks at the trials of a large study every 10 s at most. What it makes of a study may be that old."""

_STUDY = re.compile(r"/api/studies/(\d+)")
_THERE_ARE, _THERE_ARE_NONE = b'"has_intermediate_values": true', b'"has_intermediate_values":false'  # equally long


@dataclass(frozen=True)
class _Answer:
    state: int  # a hash of all that the study consisted of
    made_at: float
    is_up_to_date: bool  # whether it was made so long after the last change that the dashboard had seen it
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class LargeStudies:
    """The application `app` of the dashboard on `storage`, sparing server and browser. Thread-safe."""

    def __init__(self, app: Any, storage: BaseStorage) -> None:
        self._app, self._storage = app, storage
        self._kept: dict[tuple[int, str], _Answer] = {}
        self._seen: dict[int, tuple[int, float]] = {}  # of each study its state, and since when it is known
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked = _STUDY.fullmatch(environ.get("PATH_INFO", ""))
        if asked is None or environ["REQUEST_METHOD"] != "GET":
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        with self._lock:  # who asks at the same time waits, and gets what was made for the other
            found = self._found(int(asked[1]), environ)
        start_response(found.status, found.headers)
        return [found.body]

    def _found(self, study_id: int, environ: dict[str, Any]) -> _Answer:
        key = (study_id, environ.get("QUERY_STRING", ""))
        state, known_since = self._state(study_id)
        kept, now = self._kept.get(key), time.monotonic()
        if kept is not None and kept.state == state and (kept.is_up_to_date or now - kept.made_at < TRUSTED_AFTER_S):
            return kept
        made = self._make(environ, state, now, is_up_to_date=now - known_since >= TRUSTED_AFTER_S)
        made = self._spare_the_browser(study_id, made)
        for old in [one for one in self._kept if one[0] == study_id]:
            del self._kept[old]
        if len(made.body) >= KEPT_FROM_BYTES:
            self._kept[key] = made
        return made

    def _make(self, environ: dict[str, Any], state: int, now: float, *, is_up_to_date: bool) -> _Answer:
        begun: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            begun[:] = [status, headers]

        body = b"".join(self._app(environ, start))
        return _Answer(state, now, is_up_to_date, begun[0], begun[1], body)

    def _spare_the_browser(self, study_id: int, made: _Answer) -> _Answer:
        if _THERE_ARE not in made.body or self._storage.get_n_trials(study_id) <= MOST_LINES:
            return made
        body = made.body.replace(_THERE_ARE, _THERE_ARE_NONE)
        return dataclasses.replace(made, body=body)

    def _state(self, study_id: int) -> tuple[int, float]:
        """A hash that changes with the study, and since when it is known; one that is seen first is known for ever,
        for then the dashboard has not looked at the trials before either. Finished trials do not change."""
        try:
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
            system, user = self._storage.get_study_system_attrs(study_id), self._storage.get_study_user_attrs(study_id)
        except KeyError:  # no such study: the dashboard says so
            return 0, 0.0
        going_on = [repr(trial) for trial in trials if not trial.state.is_finished()]
        state = hash((len(trials), repr(going_on), repr(system), repr(user)))
        before = self._seen.get(study_id)
        if before is None:
            self._seen[study_id] = (state, -TRUSTED_AFTER_S + time.monotonic())
        elif before[0] != state:
            self._seen[study_id] = (state, time.monotonic())
        return self._seen[study_id]
