"""A server on the loopback that speaks as much of the Hugging Face hub's protocol as fetching a file needs."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0" * 40


@contextlib.contextmanager
def hub_serving(repository: str, folder: Path, *, break_off: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Serve the files of `folder` as the data set `repository`. Yields the endpoint, and the requests it has seen.

    `break_off`: file contents end in the middle, as when a connection is lost.
    """
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            seen.append(f"{self.command} {self.path}")
            prefix = f"/datasets/{repository}/resolve/main/"
            file = folder / self.path.removeprefix(prefix)
            if not self.path.startswith(prefix):
                self.refuse(401, "RepoNotFound")
            elif not file.is_file():
                self.refuse(404, "EntryNotFound")
            else:
                data = file.read_bytes()
                self.send_response(200)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if body:
                    self.wfile.write(data[: len(data) // 2] if break_off else data)

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet: the tests look at `seen`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
