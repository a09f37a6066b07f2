"""System attributes of a study, several in one transaction: what the dashboard shows is whole at every moment.

Optuna's own calls write one at a time, so a page that is read in between would get half of the old note and half of the
new one, or the new figures beside the old note.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import sqlalchemy
from optuna.storages._rdb import models

from hrm_sweep.sweep.storage import engine_of
from hrm_sweep.sweep.study import Study

Value = str | int | list[str]

_TABLE = models.StudySystemAttributeModel.__table__


def system_attributes(study: Study, like: str) -> dict[str, Value]:
    """Those whose name matches an SQL pattern."""
    wanted = sqlalchemy.select(_TABLE.c.key, _TABLE.c.value_json).where(
        _TABLE.c.study_id == study.id, _TABLE.c.key.like(like)
    )
    with engine_of(study.storage).connect() as connection:
        return {key: json.loads(value) for key, value in connection.execute(wanted)}


def replace_system_attributes(study: Study, values: Mapping[str, Value], *, like: Iterable[str] = ()) -> None:
    """Set attributes, and remove others whose names match the patterns `like`; a reader sees all of it or nothing."""
    study_id = study.id
    named = _TABLE.c.key.in_(list(values))
    gone = sqlalchemy.or_(named, *(_TABLE.c.key.like(pattern) for pattern in like))
    rows = [{"study_id": study_id, "key": key, "value_json": json.dumps(value)} for key, value in values.items()]
    with engine_of(study.storage).begin() as connection:
        connection.execute(sqlalchemy.delete(_TABLE).where(_TABLE.c.study_id == study_id, gone))
        if rows:
            connection.execute(sqlalchemy.insert(_TABLE), rows)
