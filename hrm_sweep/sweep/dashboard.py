"""optuna-dashboard on the storage of studies, served by this process.

It can write (rename and delete studies, tell trials) and has no login, so it listens on loopback unless told otherwise.
"""

from __future__ import annotations

import errno
import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage

from hrm_sweep.errors import StorageError
from hrm_sweep.sweep.dashboard_storage import DashboardStorage
from hrm_sweep.sweep.large_studies import LargeStudies
from hrm_sweep.sweep.storage import open_storage
from hrm_sweep.sweep.study import ARTIFACTS, open_study
from hrm_sweep.sweep.study_page import keep_study_page

LOOPBACK = "127.0.0.1"
FIRST_PORT = 8080
_PORTS_TRIED = 20


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is the base class's
        """Requests are nobody's business on the terminal."""


@contextmanager
def serve_dashboard(
    storage_url: str, study: str | None = None, *, host: str = LOOPBACK, port: int | None = None
) -> Iterator[str]:
    """Serve until the block ends; yields the address, which answers from then on.

    study  whose page the address names; None for the list of all.
    port   None takes the first free one from 8080 on.

    Raises StorageError when the storage cannot be opened or the port is taken, StudyError for an unknown study.
    """
    storage, page = _opened(storage_url, study)
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    app = LargeStudies(optuna_dashboard.wsgi(DashboardStorage.of(storage), FileSystemArtifactStore(ARTIFACTS)), storage)
    server = _listen(app, host, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="dashboard", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/dashboard{page}"
    finally:
        server.shutdown()
        server.server_close()


def _opened(storage_url: str, study: str | None) -> tuple[BaseStorage, str]:
    """The storage and the page to name. Figures and note of the study are brought up to date, which nobody does who
    only adds trials from outside; a database that cannot be written is shown as it is."""
    if study is None:
        return open_storage(storage_url), ""
    opened = open_study(storage_url, study)
    keep_study_page(opened, lambda line: None)
    return opened.storage, f"/studies/{opened.id}"


def _listen(app: Any, host: str, port: int | None) -> WSGIServer:
    ports = range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED) if port is None else [port]
    for candidate in ports:
        try:
            return make_server(host, candidate, app, server_class=_Server, handler_class=_Quiet)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StorageError(f"{host}:{candidate}: cannot listen there: {error.strerror}") from None
    taken = f"port {port} is" if port is not None else f"ports {FIRST_PORT} to {FIRST_PORT + _PORTS_TRIED - 1} are"
    raise StorageError(f"{host}: {taken} taken; name a free one with --port N (0: any)")
