"""Commands that one would type next, for whatever ends by naming them: (command, a word on why)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hrm_sweep.cli.studies import study_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hrm_sweep.diagnosis import StudyDiagnosis, StudyEvidence
    from hrm_sweep.sweep.study import Chain, Study

_FIND_FAULTS = ("zero_accuracy", "diagnosis")
"""Pruners that end what does not learn; the others end what is behind other trials, and may be in good health."""

_ASK_FOR_A_SPACE = ("failing_region", "fruitless_region", "best_at_edge", "sampler_blind")
"""Rules whose findings may ask for another search space."""


def diagnose_step(study: Study) -> Iterator[tuple[str, str]]:
    """The trial that is most worth a diagnosis: one whose own names a fault before one whose does not, one that did not
    learn before one that failed or ended otherwise, the last of equals. Nothing where no trial is in bad health, or no
    run directory of such a one is here: a configuration that is refused never gets one."""
    ill = [
        (rank, chain) for chain in study.chains() if study.has_ended(chain) and (rank := _illness(chain)) is not None
    ]
    for (_, _, why), chain in sorted(ill, key=lambda one: (one[0][:2], one[1].first.number), reverse=True):
        directory = study.run_directory(chain.first.number)
        if directory.is_run():
            yield shlex.join(["hrm-sweep", "diagnose", directory.path.as_posix()]), why
            return


def _illness(chain: Chain) -> tuple[bool, int, str] | None:
    """Whether the diagnosis names a fault, how bad the end was, and that in words; None for a trial in good health."""
    from hrm_sweep.diagnosis.summary import names_a_fault
    from hrm_sweep.sweep import attributes
    from hrm_sweep.sweep.audit import pruner_of

    attrs, state = chain.last.user_attrs, chain.last.state.name
    is_sick = attributes.VERDICT in attrs and names_a_fault(str(attrs[attributes.VERDICT]))
    if state == "PRUNED" and pruner_of(attrs) in _FIND_FAULTS:
        return is_sick, 2, "why this one did not learn"
    if state == "FAIL":
        return is_sick, 1, "why this one failed"
    return (True, 0, "what is wrong with this one") if is_sick else None


def confirm_step(study: Study) -> Iterator[tuple[str, str]]:
    """What tells whether the best trial is good or was lucky, while nobody has asked."""
    from hrm_sweep.sweep.confirm.kept import known_confirmation
    from hrm_sweep.sweep.holdout import best_trial

    if study.space.confirm is None and known_confirmation(study) is None and best_trial(study) is not None:
        yield study_command(study, "confirm", study.name), "is the best one good, or was it lucky?"


def space_step(
    study: Study, evidence: StudyEvidence, diagnosis: StudyDiagnosis, file: str
) -> Iterator[tuple[str, str]]:
    """What writes the search space that the findings ask for, where one would be written."""
    from hrm_sweep.diagnosis import Verdict
    from hrm_sweep.errors import HrmSweepError
    from hrm_sweep.sweep.space_proposal import propose_space

    if study.space.confirm is not None:
        return
    if not any(each.rule in _ASK_FOR_A_SPACE and each.verdict is Verdict.FIRED for each in diagnosis.findings):
        return
    try:
        is_another = bool(propose_space(study, evidence, diagnosis).changes)
    except HrmSweepError:  # its puzzles are gone, for example
        return
    if is_another:
        command = study_command(study, "diagnose", "--study", study.name, "--write-space", file)
        yield command, "the search space that the findings ask for"
