"""Whether the trials of a study can be compared: what they ran on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hrm_sweep.diagnosis.evidence import MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.study_evidence import StudyEvidence
from hrm_sweep.runs.environment import Environment

_DECISIVE: Mapping[str, Callable[[Environment], str | None]] = {
    "torch": lambda ran: ran.packages.get("torch"),
    "hrm-sweep": lambda ran: ran.packages.get("hrm-sweep"),
    "device": lambda ran: ran.device.partition(":")[0],  # cuda:0 and cuda:1 of one machine are the same
    "dtype": lambda ran: ran.dtype,
    "attention backend": lambda ran: ran.attention_backend,
}
_MINOR: Mapping[str, Callable[[Environment], str | None]] = {
    "device name": lambda ran: ran.device_name,
    "commit": lambda ran: ran.commit,
}
# What a study varies on purpose is no drift, and takes along what depends on it.
_FOLLOWS = {
    "device": ("device", "device name", "dtype", "attention backend"),
    "arch.forward_dtype": ("dtype", "attention backend"),
}


@rule(severity=Severity.WARNING)
def environment_drift(study: StudyEvidence) -> Outcome:
    """Trials of one study ran in different environments.

    ## What it sees
    environment.json of each trial: the versions of torch and of hrm-sweep, the kind of device, dtype and attention
    backend; besides, the name of the device and the commit of a checkout.

    ## Why it matters
    A study compares hyperparameters. Where half of the trials ran with another attention kernel, precision or version,
    it compares these as well, and the sampler takes one for the other. Another attention kernel alone has turned a
    model that solves puzzles into one that solves none.

    ## How it is decided
    It fires when trials differ in any of the first five, and as advice when they differ in name of the device or commit
    only.

    ## When it stays quiet
    About what the study varies on purpose (device, arch.forward_dtype), and about the index of a GPU. With fewer than
    two trials whose environment is known: unknown. Retries overwrite environment.json: the last attempt of a trial
    counts.

    ## What to do
    Run the smaller group again in the environment of the larger one; a new study is cleaner than a mended one. Pin
    versions where several machines work on one study.

    ## Reference
    sapientinc/HRM#82 (flash attention 2 against 3); sapientinc/HRM#54 and ml-explore/mlx#3585 (attention axes swapped).
    """
    known = {trial.number: trial.environment for trial in study.trials if trial.environment is not None}
    if len(known) < 2:
        raise MissingEvidence(f"environment.json of two trials; found {len(known)}")
    varied = {field for parameter in study.parameters for field in _FOLLOWS.get(parameter.name, ())}
    decisive = _differences(known, {name: read for name, read in _DECISIVE.items() if name not in varied})
    minor = _differences(known, {name: read for name, read in _MINOR.items() if name not in varied})
    if not decisive and not minor:
        return clear(f"All {len(known)} trials whose environment is known ran in the same one.")
    rows = [
        EvidenceRow(f"{name}: {value or 'not known'}, {_some(numbers)}", len(numbers))
        for name, groups in (*decisive.items(), *minor.items())
        for value, numbers in groups.items()
    ]
    return fired(
        f"Trials differ in {', '.join((*decisive, *minor))}, so a difference between them may not be one of their "
        "hyperparameters.",
        *rows,
        severity=None if decisive else Severity.ADVICE,
    )


def _differences(
    known: Mapping[int, Environment], fields: Mapping[str, Callable[[Environment], str | None]]
) -> dict[str, dict[str | None, list[int]]]:
    """{field: {value: trials}} of the fields with more than one value, the commonest value first."""
    found = {}
    for name, read in fields.items():
        groups: dict[str | None, list[int]] = {}
        for number, environment in known.items():
            groups.setdefault(read(environment), []).append(number)
        if len(groups) > 1:
            found[name] = dict(sorted(groups.items(), key=lambda item: -len(item[1])))
    return found


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"trial{'' if len(numbers) == 1 else 's'} {shown}"
