"""Large studies, written into the database in bulk: what would take a sweep of days takes a second."""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import distribution_to_json

from hrm_sweep.runs import Owner
from hrm_sweep.sweep.notes import NOTED_TRIALS
from hrm_sweep.sweep.parameters import draw
from hrm_sweep.sweep.storage import sqlite_file
from hrm_sweep.sweep.study import Study

_EVALUATIONS = 10
_SENTENCE = "In all its steps the run cannot move its weights. "
_FORM = "%Y-%m-%d %H:%M:%S.%f"


def fill(study: Study, trials: int, *, ended: datetime | None = None) -> None:
    """Give a study so many more finished trials, one a minute up to `ended` (now): of ten, eight complete, one pruned,
    one failed of `nan`. Each has ten evaluations and every attribute that ours have; as many have notes as may have."""
    ended = ended or datetime.now(UTC).replace(tzinfo=None)
    owner = dataclasses.asdict(Owner("another-host", 1, "1"))
    names = list(study.space.parameters)
    scratch = optuna.create_study().ask()
    for name, one in study.space.parameters.items():
        draw(scratch, name, one)
    forms = {name: distribution_to_json(form) for name, form in scratch.distributions.items()}
    file = sqlite_file(study.storage_url)
    assert file is not None
    with closing(sqlite3.connect(file, timeout=60)) as connection, connection:

        def insert(table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

        (first,) = connection.execute("SELECT coalesce(max(trial_id), 0) + 1 FROM trials").fetchone()
        (there,) = connection.execute("SELECT count(*) FROM trials WHERE study_id = ?", (study.id,)).fetchone()
        noted = connection.execute(
            "SELECT count(*) FROM study_system_attributes WHERE study_id = ? AND key LIKE 'dashboard:%:note_ver'",
            (study.id,),
        ).fetchone()[0]
        states = [
            "PRUNED" if number % 10 == 4 else "FAIL" if number % 10 == 9 else "COMPLETE" for number in range(trials)
        ]
        ends = [ended - timedelta(minutes=trials - 1 - number) for number in range(trials)]
        insert(
            "trials",
            "trial_id, number, study_id, state, datetime_start, datetime_complete",
            [
                (
                    first + n,
                    there + n,
                    study.id,
                    states[n],
                    (ends[n] - timedelta(minutes=4)).strftime(_FORM),
                    ends[n].strftime(_FORM),
                )
                for n in range(trials)
            ],
        )
        insert(
            "trial_params",
            "trial_id, param_name, param_value, distribution_json",
            [(first + n, name, _internal(forms[name], n), forms[name]) for n in range(trials) for name in names],
        )
        values = [0.5 + 0.5 * math.sin(n) for n in range(trials)]
        insert(
            "trial_values",
            "trial_id, objective, value, value_type",
            [(first + n, 0, values[n], "FINITE") for n in range(trials) if states[n] == "COMPLETE"],
        )
        insert(
            "trial_intermediate_values",
            "trial_id, step, intermediate_value, intermediate_value_type",
            [
                (first + n, k, values[n] * k / _EVALUATIONS, "FINITE")
                for n in range(trials)
                for k in range(1, _EVALUATIONS + 1)
            ],
        )
        attributes: list[tuple[Any, ...]] = []
        for n in range(trials):
            run_dir = study.run_directory(there + n).path.as_posix()
            own: dict[str, Any] = {"owner": owner, "alive_at": 0, "seed": n, "run_dir": run_dir, "verdict": "healthy"}
            own |= {"parameters": 57_794, "train_flops": 2e11 * (1 + n % 7), "seconds": 60.0, "peak_bytes": 3e8}
            own["act_steps"] = 1.0 + n % 16
            if states[n] == "PRUNED":
                own["pruned_by"] = "zero_accuracy at epoch 20: no puzzle solved"
            if states[n] == "FAIL":
                own |= {"cause": "nan", "message": "non-finite at optimizer step 22"}
            attributes += [(first + n, key, json.dumps(value)) for key, value in own.items()]
        insert("trial_user_attributes", "trial_id, key, value_json", attributes)
        files = [
            (
                first + n,
                f"artifacts:{n}-{k}",
                json.dumps(json.dumps({"artifact_id": f"{n}-{k}", "filename": name, "mimetype": "text/plain"})),
            )
            for n in range(trials)
            for k, name in enumerate(("config.yaml", "diagnosis.json", "log.txt"))
        ]
        insert("trial_system_attributes", "trial_id, key, value_json", files)
        telling = [n for n in range(trials) if states[n] != "COMPLETE"]
        notes = [
            (study.id, f"dashboard:{first + n}:{key}", json.dumps(value))
            for n in telling[: max(0, NOTED_TRIALS - noted)]
            for key, value in (("note_ver", 1), ("note_str:0", f"**Sick**: trial {there + n}\n\n" + 20 * _SENTENCE))
        ]
        if notes:
            insert("study_system_attributes", "study_id, key, value_json", notes)


def _internal(form: str, number: int) -> float:
    """A value of a distribution as the database keeps it, another one for each trial."""
    kind = json.loads(form)
    options = kind["attributes"]
    if kind["name"] == "CategoricalDistribution":
        return float(number % len(options["choices"]))
    low, high = options["low"], options["high"]
    share = (number * 0.618034) % 1
    if kind["name"] == "IntDistribution":
        return float(low + round(share * (high - low)))
    return float(low * (high / low) ** share if options.get("log") else low + share * (high - low))
