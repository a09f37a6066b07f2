"""The database of studies: the single truth of a sweep. SQLite on one machine, PostgreSQL for more.

Passwords: a storage URL may hold one. It is shown only through `shown`, and handed to workers in the environment, for a
process's arguments are readable by everyone on the machine.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, get_storage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from hrm_sweep.errors import StorageAwayError, StorageError, UsageError
from hrm_sweep.sweep.environment import STORAGE_VARIABLE
from hrm_sweep.sweep.quick_reading import QuickReadingStorage

DEFAULT_STORAGE = "sqlite:///trials/optuna.db"
_BUSY_TIMEOUT_S = 60
OUTAGE_S = 300.0  # how long a database may be away before a worker gives up

_SERVER_ARGUMENTS = {
    # By libpq's names. A peer that vanished without a word (power, network) is noticed within half a minute, here and
    # by the server, which then frees its locks; by default both would take two hours.
    "application_name": "hrm-sweep",
    "client_encoding": "utf8",  # else psycopg hands out bytes where the database was made without an encoding
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=4",
}

_held_lock: ContextVar[sqlalchemy.Connection | None] = ContextVar("held_lock", default=None)
"""The connection whose session has the advisory lock of a study."""

Result = TypeVar("Result")


def quiet_optuna() -> None:
    """Keep Optuna's log lines off the terminal; the command line calls this, libraries never configure logging."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.logging.disable_default_handler()


def chosen_storage(given: str | None) -> str:
    """The storage that is meant: the one given, that of the environment, or the default."""
    return given or os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE


def shown(url: str) -> str:
    """The storage's address without its password."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return "the storage"
    hidden = {name: "***" if _is_secret(name) else value for name, value in parsed.query.items()}
    return parsed.set(query=hidden).render_as_string(hide_password=True)


def has_password(url: str) -> bool:
    """Whether a URL holds a secret, before its host or among the options after it."""
    parsed = make_url(url)
    return parsed.password is not None or any(_is_secret(name) for name in parsed.query)


def _is_secret(option: str) -> bool:
    """`password`, `sslpassword` and the like; `passfile` names a file, which is none."""
    return any(word in option.lower() for word in ("password", "passwd", "secret", "token"))


def refuse_password(url: str) -> None:
    """Raises UsageError for a URL with a password that was given as an argument of this process."""
    try:
        given = has_password(url)
    except ArgumentError:
        return  # no URL at all, which opening it will say
    if given:
        raise UsageError(
            f"--storage {shown(url)}: holds a password, which everyone on this machine can read in its list of "
            f"processes; leave --storage out and put the URL into the environment variable {STORAGE_VARIABLE}, "
            "or the password into ~/.pgpass"
        )


def storage_option(url: str) -> list[str]:
    """The arguments that name this storage to `hrm-sweep`, none for the default. A URL with a password is left to the
    environment."""
    return [] if url == DEFAULT_STORAGE or has_password(url) else ["--storage", url]


def open_storage(url: str, *, create: bool = False) -> BaseStorage:
    """Open the database of studies. Tables, and for SQLite its folder and file, are made only with `create`.

    Raises StorageError, without the password, when it cannot be used or has another Optuna version's tables;
    StorageAwayError when its server does not answer.
    """
    parsed = _parsed(url)
    file = sqlite_file(url)
    if file is not None:
        if create:
            _make_folder(file)
        elif not file.is_file():
            raise StorageError(f"{shown(url)}: no studies there yet; start one with `hrm-sweep run`")
    try:
        storage = QuickReadingStorage(
            # Optuna wants a text, and the text is the only form in which a URL still holds its password.
            parsed.render_as_string(hide_password=False),
            engine_kwargs=_engine_options(parsed),
            skip_table_creation=not create,
        )
        if file is not None:
            _use_write_ahead_log(storage.engine)
        else:
            sqlalchemy.event.listen(storage.engine, "checkout", _require_lock)
            weakref.finalize(storage, storage.engine.dispose)  # else its connections outlive it, until they are found
    except ImportError as error:
        raise StorageError(f"{shown(url)}: the driver for this database is not installed ({error})") from None
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        kind = StorageAwayError if file is None and is_outage(error) else StorageError
        raise kind(f"{shown(url)}: cannot be used: {_reason(error, parsed)}") from None
    return get_storage(storage)


def engine_of(storage: BaseStorage) -> sqlalchemy.Engine:
    """The database below a storage of `open_storage`, which Optuna has wrapped in a cache."""
    database = getattr(storage, "_backend", storage)
    assert isinstance(database, QuickReadingStorage)
    return database.engine


def database_time(storage: BaseStorage) -> float:
    """Seconds since 1970 by the one clock that all workers share, which is the database server's. SQLite has none of
    its own, and its workers one machine."""
    engine = engine_of(storage)
    if engine.dialect.name == "sqlite":
        return time.time()
    with engine.connect() as connection:
        return float(connection.execute(sqlalchemy.text("SELECT EXTRACT(EPOCH FROM clock_timestamp())")).scalar_one())


def is_outage(error: BaseException) -> bool:
    """Whether the server did not answer, or hung up. SQLAlchemy's error may come as it is or inside one of Optuna's."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, OperationalError)


def _engine_options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _BUSY_TIMEOUT_S}}
    arguments = _SERVER_ARGUMENTS if url.get_backend_name() == "postgresql" else {}
    return {"pool_pre_ping": True, "connect_args": arguments}


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError(
            f"--storage: expected a URL such as {DEFAULT_STORAGE} or postgresql+psycopg://user@host/database; "
            "a file needs sqlite:/// before its path"
        ) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StorageError(f"{url}: a database in memory cannot be shared with workers; use {DEFAULT_STORAGE}")
    return parsed


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL, None for other databases. Raises StorageError for what is no URL."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(str(parsed.database))


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{file.parent}: cannot be made: {error.strerror}") from None


def _use_write_ahead_log(engine: sqlalchemy.Engine) -> None:
    """Readers (the table, the dashboard) and a writer then do not wait for each other. WAL stays with the file."""

    @sqlalchemy.event.listens_for(engine, "connect")
    def relax(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")  # safe with WAL: a crash loses no committed transaction

    engine.dispose()
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _reason(error: BaseException, url: URL) -> str:
    if isinstance(error, StorageInternalError):
        error = error.__cause__ or error
    text = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    secrets = [url.password, *(value for name, value in url.query.items() if _is_secret(name))]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text


@contextlib.contextmanager
def study_lock(storage_url: str, study: str) -> Iterator[None]:
    """One process at a time decides what a study does next. The lock ends with the process that holds it.

    SQLite: a file beside the database. PostgreSQL: an advisory lock of a connection of its own. Should that connection
    break, somebody else may decide from then on; so whatever this process next does with the storage inside the block
    raises StorageAwayError, and the decision has to begin anew. Raises the same when the server does not answer.
    """
    file = sqlite_file(storage_url)
    if file is not None:
        with (file.parent / f".{study}.lock").open("a") as handle:
            _wait_for_file_lock(handle.fileno())
            yield
    elif make_url(storage_url).get_backend_name() == "postgresql":
        with _advisory_lock(make_url(storage_url), study) as connection:
            before = _held_lock.set(connection)
            try:
                yield
            finally:
                _held_lock.reset(before)
    else:
        raise StorageError(
            f"{shown(storage_url)}: no exact budget on this kind of database; use SQLite on one machine, "
            "PostgreSQL beyond"
        )


@contextlib.contextmanager
def _advisory_lock(url: URL, study: str) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT", connect_args=_SERVER_ARGUMENTS
    )
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(engine.connect())
            key = zlib.crc32(f"hrm-sweep {study}".encode())
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
        except DBAPIError as error:
            raise StorageAwayError(f"{url.render_as_string(hide_password=True)}: {_reason(error, url)}") from None
        yield connection


def _require_lock(_connection: Any, _record: Any, _proxy: Any) -> None:
    """Before each use of the database inside a study_lock: is the lock still ours?

    It may not be, for Optuna repeats the creation of a trial by itself when the connection breaks. After a restart of
    the server that would create one for a decision that somebody else may have taken in the meantime, or a second one
    where the first got through and only the answer was lost.
    """
    lock = _held_lock.get()
    if lock is None:
        return
    try:
        lock.execute(sqlalchemy.text("SELECT 1"))
    except SQLAlchemyError:
        raise StorageAwayError("the connection that held the study's lock broke") from None


def _wait_for_file_lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt  # exists on Windows only

        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
            except OSError:
                continue  # it gives up after ten seconds
            return
    import fcntl  # exists everywhere else

    fcntl.flock(descriptor, fcntl.LOCK_EX)


def patiently(action: Callable[[], Result], *, outage_s: float = OUTAGE_S, pause_s: float = 1.0) -> Result:
    """Do something with the database, again while it is away. Raises StorageError after `outage_s` seconds of that.

    The action may be done twice: a connection can break between the deed and the answer.
    """
    give_up = time.monotonic() + outage_s
    while True:
        try:
            return action()
        except (DBAPIError, StorageInternalError, StorageAwayError) as error:
            if time.monotonic() >= give_up:
                cause = error.__cause__ or error
                text = str(getattr(cause, "orig", None) or cause).splitlines()[0]
                raise StorageError(f"the storage cannot be used: {text}") from None
            time.sleep(pause_s)
