"""A line to a PostgreSQL server that breaks at the one moment at which nobody can tell what was done."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class LossyLine:
    """A line to a server, from a port of its own, that can break between a commit and its confirmation."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._armed = threading.Event()
        self.cuts = 0

    def cut_at_the_next_birth(self) -> None:
        """Break every connection once a transaction that inserts a trial was committed, before the answer is heard."""
        self._armed.set()

    def __enter__(self) -> LossyLine:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends the accept
        self._hang_up()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                self._sockets.append(ours)
                theirs = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets.append(theirs)
                muted = threading.Event()
                self._start(self._forward, ours, theirs, muted)
                self._start(self._back, theirs, ours, muted)

    def _forward(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        inserts = False
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                inserts = inserts or b"INSERT INTO trials" in data
                if b"COMMIT" in data:
                    if inserts and self._armed.is_set():
                        self._armed.clear()
                        muted.set()
                    inserts = False
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _back(self, server: socket.socket, client: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if muted.is_set():
                    self.cuts += 1
                    self._hang_up()
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def _hang_up(self) -> None:
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
