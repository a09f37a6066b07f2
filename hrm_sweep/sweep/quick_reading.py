"""Optuna's database storage, with a first listing of a large study that takes a quarter of the time, and the best trial
without any listing.

Optuna makes an object of SQLAlchemy's for every row, some 25 for a trial of ours: 10 s of CPU for 10,000 trials
(docs/performance.md), at the start of each worker. Here the same rows are read as plain tuples. Everything else, also
every later listing, which reads only what is new, is Optuna's; `tests/sweep/test_quick_reading.py` holds the trials
that are read here to those that Optuna reads.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

_Value = models.TrialValueModel
_Intermediate = models.TrialIntermediateValueModel


class QuickReadingStorage(RDBStorage):
    """RDBStorage whose full listing of a study goes past the object layer."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is not None or trial_id_greater_than >= 0:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        # One transaction, so that a trial's attributes are not older than its state.
        with self.engine.connect() as connection, connection.begin():
            return list(_trials(connection, study_id))

    def best_trial_id(self, study_id: int, *, maximize: bool) -> int | None:
        """The completed trial with the best value, the first of equals; None when none completed."""
        trial, value = models.TrialModel.__table__.c, _Value.__table__.c
        infinite = sqlalchemy.case(
            (value.value_type == _Value.TrialValueType.INF_POS, 1),
            (value.value_type == _Value.TrialValueType.INF_NEG, -1),
            else_=0,
        )
        worth = (infinite.desc(), value.value.desc()) if maximize else (infinite, value.value)
        query = (
            sqlalchemy.select(trial.trial_id)
            .join(_Value.__table__, value.trial_id == trial.trial_id)
            .where(trial.study_id == study_id, trial.state == TrialState.COMPLETE, value.objective == 0)
            .order_by(*worth, trial.number)
            .limit(1)
        )
        with self.engine.connect() as connection:
            found: int | None = connection.execute(query).scalar()
        return found


def best_trial_id(storage: BaseStorage, study_id: int, *, maximize: bool) -> int | None:
    """As `QuickReadingStorage.best_trial_id`, of a storage that Optuna has put its cache around."""
    backend = getattr(storage, "_backend", storage)
    assert isinstance(backend, QuickReadingStorage)
    return backend.best_trial_id(study_id, maximize=maximize)


def _trials(connection: sqlalchemy.Connection, study_id: int) -> Iterator[FrozenTrial]:
    trial = models.TrialModel.__table__.c
    columns = (trial.trial_id, trial.number, trial.state, trial.datetime_start, trial.datetime_complete)
    heads = connection.execute(
        sqlalchemy.select(*columns).where(trial.study_id == study_id).order_by(trial.trial_id)
    ).fetchall()

    def rows(model: Any, *names: str) -> dict[int, list[Any]]:
        """The rows of a table by trial, each as a tuple that begins with the trial's id, in the order of writing."""
        table = model.__table__
        (key,) = table.primary_key.columns
        wanted = sqlalchemy.select(table.c.trial_id, *(table.c[name] for name in names))
        wanted = wanted.join(models.TrialModel.__table__, table.c.trial_id == trial.trial_id)
        found: dict[int, list[Any]] = defaultdict(list)
        for row in connection.execute(wanted.where(trial.study_id == study_id).order_by(key)):
            found[row[0]].append(row)
        return found

    values = rows(_Value, "objective", "value", "value_type")
    params = rows(models.TrialParamModel, "param_name", "param_value", "distribution_json")
    user_attrs = rows(models.TrialUserAttributeModel, "key", "value_json")
    system_attrs = rows(models.TrialSystemAttributeModel, "key", "value_json")
    intermediate = rows(_Intermediate, "step", "intermediate_value", "intermediate_value_type")
    for trial_id, number, state, started, completed in heads:
        given = sorted(values.get(trial_id, ()), key=lambda row: row[1])
        forms = {name: _distribution(form) for _, name, _, form in params.get(trial_id, ())}
        yield FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=[_Value.stored_repr_to_value(value, kind) for _, _, value, kind in given] or None,
            datetime_start=_local(started),
            datetime_complete=_local(completed),
            params={name: forms[name].to_external_repr(value) for _, name, value, _ in params.get(trial_id, ())},
            distributions=forms,
            user_attrs={key: json.loads(value) for _, key, value in user_attrs.get(trial_id, ())},
            system_attrs={key: json.loads(value) for _, key, value in system_attrs.get(trial_id, ())},
            intermediate_values={
                step: _Intermediate.stored_repr_to_intermediate_value(value, kind)
                for _, step, value, kind in intermediate.get(trial_id, ())
            },
            trial_id=trial_id,
        )


@lru_cache(maxsize=1024)
def _distribution(form: str) -> BaseDistribution:
    return json_to_distribution(form)


def _local(stored: datetime | None) -> datetime | None:
    """The database keeps naive UTC, Optuna's trials have naive local time."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
