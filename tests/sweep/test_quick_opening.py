"""A database that is current opens without alembic; any other is left to Optuna."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb import storage
from small_studies import STORAGE, MakeStudy

from hrm_sweep.errors import StorageError
from hrm_sweep.sweep.quick_opening import _OPTUNAS, _wanted_version
from hrm_sweep.sweep.storage import open_storage, sqlite_file

OPEN = f"""
import sys
from hrm_sweep.sweep.study import open_study
print(open_study({STORAGE!r}, "small").name, *sorted(sys.modules))
"""


def change(statement: str) -> None:
    file = sqlite_file(STORAGE)
    assert file is not None
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def test_the_wanted_version_is_the_one_that_optuna_wants(make_study: MakeStudy) -> None:
    make_study()
    assert _wanted_version() == RDBStorage(STORAGE, skip_table_creation=True).get_head_version()
    assert storage._VersionManager is _OPTUNAS  # what others make is made as ever


def test_a_current_database_opens_without_alembic(make_study: MakeStudy) -> None:
    make_study()
    printed = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, check=True).stdout.split()
    assert printed[0] == "small"
    assert not [module for module in printed if module.split(".")[0] in ("alembic", "mako", "pygments")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = 'v3.0.0.d'",
        "UPDATE alembic_version SET version_num = 'v99.0.0.a'",
    ],
)
def test_tables_of_another_version_are_refused_in_optunas_words(make_study: MakeStudy, statement: str) -> None:
    make_study()
    change(statement)
    with pytest.raises(StorageError, match=r"cannot be used: The runtime optuna version .* is no longer compatible"):
        open_storage(STORAGE)


def test_a_database_of_before_alembic_is_stamped_as_optuna_does(make_study: MakeStudy) -> None:
    study = make_study()
    change("DELETE FROM alembic_version")
    assert [each.study_name for each in open_storage(STORAGE).get_all_studies()] == [study.name]
    file = sqlite_file(STORAGE)
    assert file is not None
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(_wanted_version(),)]
