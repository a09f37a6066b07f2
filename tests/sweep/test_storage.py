"""The database of studies: opened, refused, locked, waited for."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError

from hrm_sweep.errors import StorageError
from hrm_sweep.sweep.storage import (
    DEFAULT_STORAGE,
    has_password,
    open_storage,
    patiently,
    shown,
    sqlite_file,
    study_lock,
)
from hrm_sweep.sweep.study import study_names

SECRET = "postgresql://sweep:s3cr3t@127.0.0.1:1/sweeps"


def test_the_default_makes_its_folder_and_a_file_that_readers_and_writers_share(folder: Path) -> None:
    open_storage(DEFAULT_STORAGE, create=True)
    with sqlite3.connect("trials/optuna.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert study_names(open_storage(DEFAULT_STORAGE)) == []


def test_looking_makes_nothing(folder: Path) -> None:
    with pytest.raises(StorageError, match="no studies there yet; start one with `hrm-sweep run`"):
        open_storage(DEFAULT_STORAGE)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("trials/optuna.db", "--storage: expected a URL such as sqlite:///trials/optuna.db"),
        ("sqlite://", "a database in memory cannot be shared with workers"),
        ("sqlite:///:memory:", "a database in memory cannot be shared with workers"),
        ("sqlite:///note.txt", "sqlite:///note.txt: cannot be used: file is not a database"),
        ("sqlite:///note.txt/a.db", "note.txt: cannot be made: "),
        ("nosuchdb://host/x", "nosuchdb://host/x: cannot be used: "),
    ],
)
def test_what_is_no_database_is_named(folder: Path, url: str, message: str) -> None:
    Path("note.txt").write_text("this is a note, and not a database, however long one looks at it\n" * 20)
    with pytest.raises(StorageError) as caught:
        open_storage(url, create=True)
    assert message in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == ["note.txt"]


def test_a_password_is_never_shown() -> None:
    assert has_password(SECRET)
    assert not has_password(DEFAULT_STORAGE)
    assert shown(SECRET) == "postgresql://sweep:***@127.0.0.1:1/sweeps"
    with pytest.raises(StorageError) as caught:
        open_storage(SECRET)
    assert "s3cr3t" not in str(caught.value)
    assert "sweep:***@127.0.0.1:1" in str(caught.value)


def test_the_file_of_a_url_is_known() -> None:
    assert sqlite_file(DEFAULT_STORAGE) == Path("trials/optuna.db")
    assert sqlite_file(SECRET) is None


def test_the_lock_of_a_study_keeps_other_processes_out_until_its_holder_is_gone(folder: Path) -> None:
    open_storage(DEFAULT_STORAGE, create=True)
    code = (
        "from hrm_sweep.sweep.storage import study_lock\n"
        f"with study_lock({DEFAULT_STORAGE!r}, 'one'):\n"
        "    print('in', flush=True); input()\n"
    )

    def other() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)

    with other() as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "in\n"
        with study_lock(DEFAULT_STORAGE, "two"):  # another study's lock is free
            pass
        with other() as second:
            assert second.stdout is not None
            first.kill()
            first.wait()
            assert second.stdout.readline() == "in\n"
            second.communicate("\n")


def test_other_databases_without_a_lock_are_refused() -> None:
    with (
        pytest.raises(StorageError, match="no exact budget on this kind of database"),
        study_lock("mysql://host/database", "one"),
    ):
        pass


def test_a_database_that_comes_back_is_waited_for() -> None:
    tries = []

    def action() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise StorageInternalError("database is locked")
        return "done"

    assert patiently(action, pause_s=0) == "done"
    assert len(tries) == 3


def test_a_database_that_stays_away_is_given_up() -> None:
    def action() -> None:
        raise StorageInternalError("the server is gone")

    with pytest.raises(StorageError, match="the storage cannot be used: the server is gone"):
        patiently(action, outage_s=0, pause_s=0)


def test_an_error_that_is_none_of_the_database_is_not_waited_for() -> None:
    def action() -> None:
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        patiently(action)
