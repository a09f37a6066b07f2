"""Tries again what failed for good, because somebody has mended the reason and asks for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from optuna.trial import TrialState, create_trial

from hrm_sweep.errors import StudyError
from hrm_sweep.runs import Cause
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import FIXED, inherited, recover
from hrm_sweep.sweep.storage import study_lock
from hrm_sweep.sweep.study import Chain, Study


@dataclass(frozen=True)
class AskedFor:
    """An attempt that now waits for a worker, and the failed one that it repeats."""

    number: int
    retry_of: int
    cause: Cause | None


def try_again(study: Study, causes: Collection[Cause], numbers: Collection[int]) -> list[AskedFor]:
    """Let trials that failed for good be due once more: those of these causes, and those with these numbers.

    Each gets one attempt that waits in the study's queue, in its run directory, and from there on the number of retries
    that its next cause has. The budget does not change, for it counts trials and not attempts. A kill in between leaves
    some of them asked for, and the same call asks for the rest.

    Raises StudyError for a number that is no trial's, or whose trial did not fail for good.
    """
    with study_lock(study.storage_url, study.name):
        recover(study)
        chosen = list(_chosen(study, causes, numbers))
        found = []
        for chain in chosen:
            attrs, fixed = inherited(study, chain)
            waiting = create_trial(
                state=TrialState.WAITING,
                user_attrs={**attrs, attributes.ASKED_FOR: True},
                system_attrs={FIXED: fixed} if fixed else {},
            )
            trial_id = study.storage.create_new_trial(study.id, template_trial=waiting)
            number = study.storage.get_trial_number_from_id(trial_id)
            found.append(AskedFor(number, chain.last.number, chain.cause))
        return found


def _chosen(study: Study, causes: Collection[Cause], numbers: Collection[int]) -> Iterator[Chain]:
    all_chains = study.chains()
    known = {number: chain for chain in all_chains for number in chain.numbers}
    for number in numbers:
        chain = known.get(number)
        if chain is None:
            raise StudyError(f"{study.name}: no trial {number}; there are {len(known)}, counted from 0")
        if chain.last.state is not TrialState.FAIL:
            state = chain.last.state.name.lower()
            raise StudyError(f"{study.name}: trial {number} has not failed, it is {state}; there is nothing to retry")
        if study.is_due(chain):
            raise StudyError(f"{study.name}: trial {number} is tried again anyway; `hrm-sweep run` does it")
    wanted = {known[number].first.number for number in numbers}
    for chain in all_chains:
        failed_for_good = chain.last.state is TrialState.FAIL and not study.is_due(chain)
        if failed_for_good and (chain.first.number in wanted or chain.cause in causes):
            yield chain
