"""StudyEvidence of made-up trials: what happened to a trial is a function of its parameters and of chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from hrm_sweep.diagnosis import StudyEvidence
from hrm_sweep.diagnosis.study_evidence import End, StudyParameter, StudyTrial
from hrm_sweep.runs import Cause
from hrm_sweep.runs.environment import Environment

LR = StudyParameter("lr", low=1e-5, high=1e-2, log=True, least=0)
CYCLES = StudyParameter("arch.H_cycles", low=1, high=4, whole=True, least=1)
STEPS = StudyParameter("arch.halt_max_steps", values=(2, 4, 8, 16), whole=True, least=1)
POSITIONS = StudyParameter("arch.pos_encodings", values=("rope", "learned"))
PARAMETERS = (LR, CYCLES, STEPS, POSITIONS)

Values = Mapping[str, Any]
Fate = Callable[[Values, random.Random], dict[str, Any]]


def study(fate: Fate, trials: int = 24, *, seed: int = 0, **changes: Any) -> StudyEvidence:
    """A study of randomly drawn trials; `fate` says what is special about each, as fields of StudyTrial."""
    rng = random.Random(seed)
    parameters = changes.pop("parameters", PARAMETERS)
    made = []
    for number in range(trials):
        values = {parameter.name: drawn(parameter, rng) for parameter in parameters}
        made.append(StudyTrial(**{"number": number, "values": values, "end": End.COMPLETE, **fate(values, rng)}))
    fields = {"name": "made-up", "metric": "exact_accuracy", "maximize": True, "budget": trials}
    return StudyEvidence(**{**fields, "parameters": parameters, "trials": tuple(made), **changes})


def drawn(parameter: StudyParameter, rng: random.Random) -> Any:
    if parameter.values is not None:
        return rng.choice(parameter.values)
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.whole:
        return rng.randint(int(parameter.low), int(parameter.high))
    if parameter.log:
        return parameter.low * (parameter.high / parameter.low) ** rng.random()
    return rng.uniform(parameter.low, parameter.high)


def completed(objective: float, **others: Any) -> dict[str, Any]:
    return {"end": End.COMPLETE, "objective": objective, **others}


def failed(*causes: Cause | None) -> dict[str, Any]:
    return {"end": End.FAILED, "failures": causes or (Cause.NAN,)}


def pruned(by: str = "zero_accuracy", objective: float = 0.0, **others: Any) -> dict[str, Any]:
    return {"end": End.PRUNED, "pruned_by": by, "objective": objective, **others}


def environment(**changes: Any) -> Environment:
    fields = {
        "python": "3.11.7",
        "packages": {"hrm-sweep": "0.1.0", "torch": "2.6.0"},
        "host": "here",
        "platform": "Linux",
        "commit": None,
        "device": "cpu",
        "device_name": "a processor",
        "dtype": "float32",
        "attention_backend": "math",
        "threads": 1,
    }
    return Environment(**{**fields, **changes})
