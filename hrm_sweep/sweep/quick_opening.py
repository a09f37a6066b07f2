"""Opening Optuna's database without alembic, where nothing is to be migrated: a third of a second at the start of every
command and worker.

Optuna asks alembic which version the tables have and which one it wants. Both stand in plain sight: in the table
alembic_version, and in the scripts beside Optuna's storage. Where they are equal there is nothing else to ask. Whatever
else is found, a new database or one of another version, is left to Optuna, with its own words.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import sqlalchemy
from optuna.storages._rdb import models, storage
from sqlalchemy.exc import SQLAlchemyError

_OPTUNAS = storage._VersionManager
_REVISION = re.compile(r'^(revision|down_revision) = "([^"]+)"$', re.MULTILINE)


class _QuickVersionManager(_OPTUNAS):
    """Optuna's, but that it asks nobody about tables that it can see to be current."""

    def __init__(
        self, url: str, engine: sqlalchemy.Engine, scoped_session: sqlalchemy.orm.scoped_session[sqlalchemy.orm.Session]
    ) -> None:
        self.url, self.engine, self.scoped_session = url, engine, scoped_session
        self._is_current = _is_current(engine)
        if not self._is_current:
            super().__init__(url, engine, scoped_session)

    def check_table_schema_compatibility(self) -> None:
        if not self._is_current:
            super().check_table_schema_compatibility()


@contextlib.contextmanager
def quick_version_check() -> Iterator[None]:
    """Inside, RDBStorage is made with the quick check."""
    storage._VersionManager = _QuickVersionManager  # type: ignore[misc]
    try:
        yield
    finally:
        storage._VersionManager = _OPTUNAS  # type: ignore[misc]


def _is_current(engine: sqlalchemy.Engine) -> bool:
    wanted = _wanted_version()
    if wanted is None:
        return False
    try:
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalars().all()
            known = connection.execute(sqlalchemy.select(models.VersionInfoModel.__table__.c.schema_version))
            return list(found) == [wanted] and known.scalars().all() == [models.SCHEMA_VERSION]
    except SQLAlchemyError:  # no such table yet; what it is about is Optuna's to say
        return False


@cache
def _wanted_version() -> str | None:
    """The version that no migration of this Optuna leads away from; None where that is not seen at a glance."""
    try:
        scripts = (Path(storage.__file__).parent / "alembic" / "versions").glob("*.py")
        found = [dict(_REVISION.findall(script.read_text(encoding="utf-8"))) for script in scripts]
    except OSError:
        return None
    heads = {each.get("revision") for each in found} - {each.get("down_revision") for each in found}
    return heads.pop() if len(heads) == 1 else None
