"""Who may start which trial: an exact budget over any number of workers, restarts and kills.

Every decision is taken under the study's lock, from the database alone. A trial is born RUNNING in one transaction,
with its owner and everything that a recovery needs, so there is no moment at which a kill leaves a trial that nobody
can account for. A trial that is RUNNING although its owner is gone is failed as killed at the next decision.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.runs import Cause, Owner, RunDirectory, read_status
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.conditions import all_hold
from hrm_sweep.sweep.confirm.runs import NextRun, next_run, runs_left
from hrm_sweep.sweep.enough import Enough, enough
from hrm_sweep.sweep.parameters import draw
from hrm_sweep.sweep.reachable import every_combination
from hrm_sweep.sweep.remedies import Remedy, comparable, due_remedies, is_remedy, values_of
from hrm_sweep.sweep.samplers import BruteForce, Exhaustive
from hrm_sweep.sweep.stopping import Stop, requested_stop
from hrm_sweep.sweep.storage import OUTAGE_S, study_lock
from hrm_sweep.sweep.streak import Streak, too_many_failures
from hrm_sweep.sweep.study import Chain, Study, cause_of_trial

_KEPT_BY_A_RETRY = (
    attributes.SEED,
    attributes.REPLICATE_OF,
    attributes.REMEDY_OF,
    attributes.REMEDY_RULE,
    attributes.OVERRIDES,
    attributes.CANDIDATE,
    attributes.AUDITED,
)
FIXED = "fixed_params"  # Optuna's own name for what enqueue_trial gives a trial
ALIVE_EVERY_S = 60.0
"""How often a worker says that it lives, which is all that other hosts can know of it."""

SILENCE_S = OUTAGE_S + 2 * ALIVE_EVERY_S
"""After how long a silence a worker of another host is taken for dead. Longer than a database may be away: when it is
back, nobody has been able to say anything."""

_ORPHAN_GRACE_S = 3.0  # a child ends within 2 s of its worker's death


@dataclass(frozen=True)
class Claim:
    """The right, and the duty, to run one trial.

    values     the parameters that exist for it, and what a remedy changes besides.
    seed       of the run; a retry has that of the first attempt.
    directory  of the run; a retry has that of the first attempt, and continues there.
    retry_of   number of the attempt before, None for the first.
    memory_failures  how many of the attempts before ran out of memory.
    """

    trial: optuna.Trial
    values: Mapping[str, Any]
    seed: int
    directory: RunDirectory
    retry_of: int | None
    memory_failures: int = 0

    @property
    def number(self) -> int:
        return self.trial.number


class Nothing(Enum):
    """Why there is nothing to run."""

    FOR_NOW = "the budget is given out, but a running trial may still come back as a retry"
    FOR_GOOD = "the budget is reached, every combination was tried, or the study has stopped getting better"
    STOPPED = "somebody asked the study to stop"
    HOPELESS = "too many trials in a row failed for one cause"


@dataclass(frozen=True)
class Account:
    """Where a study stands against its budget.

    given_out   chains that were started.
    ended       chains that will not be tried again.
    due         chains whose last attempt failed and will be repeated.
    running     chains with an owner that is alive, as far as can be known.
    lost        chains whose owner is gone, for `recover` to fail.
    left        chains that may still be started.
    stop        how somebody asked the study to stop, if anybody did.
    streak      failures in a row that are too many, if they are.
    enough      why no further trial is started although the budget has room, if that is so.
    """

    given_out: int
    ended: int
    due: int
    running: int
    lost: int
    left: int
    stop: Stop | None = None
    streak: Streak | None = None
    enough: Enough | None = None

    @property
    def is_reached(self) -> bool:
        return self.left == self.due == self.running == self.lost == 0


def account(study: Study) -> Account:
    """Count; changes nothing."""
    all_chains = study.chains()
    given_out = [chain for chain in all_chains if chain.is_given_out]
    due = sum(study.is_due(chain) for chain in all_chains)
    running = sum(_owner_may_live(study, chain.last) for chain in given_out)
    lost = sum(_is_lost(study, chain.last) for chain in given_out)
    left, reason = max(0, study.space.budget.trials - len(given_out)), enough(study, all_chains)
    if reason is not None:
        left = 0
    elif study.space.confirm is not None:
        left = min(left, runs_left(study, study.space.confirm, all_chains))
    elif left and len(given_out) == len(all_chains) and _is_exhausted(study, all_chains):
        left = min(left, len(due_remedies(study, all_chains)))
    ended = sum(study.has_ended(chain) for chain in given_out)
    streak = too_many_failures(study, all_chains)
    return Account(len(given_out), ended, due, running, lost, left, requested_stop(study), streak, reason)


def claim(study: Study, owner: Owner, *, again: bool = False) -> Claim | Nothing:
    """Take the next trial: what a dead worker left and other retries that are due or were asked for; then one that
    somebody else put in the study's queue; then what is left of `first`, a remedy that is due, or a draw; in a
    confirmation, the next run of the race. None while the study is to stop or is without hope.

    again   the claim before this one broke off because the database was away. What it had begun, if anything, is
            RUNNING and belongs to this owner, who does not know of it: that comes first.
    """
    with study_lock(study.storage_url, study.name):
        recover(study)
        if requested_stop(study) is not None:
            return Nothing.STOPPED
        all_chains = study.chains()
        if too_many_failures(study, all_chains) is not None:
            return Nothing.HOPELESS
        for chain in all_chains:
            if again and chain.last.state is TrialState.RUNNING and owner_of(chain.last) == owner:
                return _take_up(study, chain, all_chains)
        for chain in all_chains:
            if study.is_due(chain):
                return _begin_retry(study, owner, chain)
        given_out = [chain for chain in all_chains if chain.is_given_out]
        if len(given_out) < study.space.budget.trials and study.space.confirm is not None:
            run = next_run(study, study.space.confirm, all_chains)
            if run is not None:
                return _begin_run(study, owner, run, all_chains)
        elif len(given_out) < study.space.budget.trials and enough(study, all_chains) is None:
            queued = [chain.last for chain in all_chains if not chain.is_given_out]
            if queued:
                return _adopt(study, owner, queued[0], all_chains)
            remedies = due_remedies(study, all_chains)
            if remedies and _next_of_first(study, all_chains) is None:
                return _begin_remedy(study, owner, remedies[0], all_chains)
            if not _is_exhausted(study, all_chains):
                return _begin_new(study, owner, all_chains)
        return Nothing.FOR_NOW if any(_owner_may_live(study, chain.last) for chain in given_out) else Nothing.FOR_GOOD


def recover(study: Study) -> list[int]:
    """Fail, as killed, every trial whose worker is gone; returns their numbers.

    On this host that is seen at once; a worker of another host is taken for dead after seven minutes of silence. (A
    container that was started again has another host name, too.) A child of a dead worker ends by itself; one that does
    not is killed here, so that a retry finds its run directory free. Trials of other programs, which have no owner,
    are left alone.
    """
    recovered = []
    for chain in study.chains():
        trial = chain.last
        if not _is_lost(study, trial):
            continue
        owner = owner_of(trial)
        assert owner is not None
        _end_orphan(study.run_directory(chain.first.number))
        try:
            study.storage.set_trial_user_attr(trial._trial_id, attributes.CAUSE, str(Cause.KILLED))
            study.storage.set_trial_user_attr(trial._trial_id, attributes.MESSAGE, f"its worker ({owner.pid}) died")
        except UpdateFinishedTrialError:
            continue  # its last act was to tell it
        study.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        recovered.append(trial.number)
    return recovered


def owner_of(trial: FrozenTrial) -> Owner | None:
    given = trial.user_attrs.get(attributes.OWNER)
    return Owner(**given) if given else None


def _owner_may_live(study: Study, trial: FrozenTrial) -> bool:
    """Whether a trial is running and may still be told by its worker."""
    if trial.state is not TrialState.RUNNING:
        return False
    owner = owner_of(trial)
    if owner is None:
        return False
    if owner.on_this_host():
        return owner.is_alive()
    return study.time() - float(trial.user_attrs.get(attributes.ALIVE_AT, 0)) < SILENCE_S


def _is_lost(study: Study, trial: FrozenTrial) -> bool:
    """Whether a trial is running for a worker that is gone."""
    return trial.state is TrialState.RUNNING and owner_of(trial) is not None and not _owner_may_live(study, trial)


def _end_orphan(directory: RunDirectory) -> None:
    status = read_status(directory.status)
    if status is None or status.ended_at is not None or not status.owner.on_this_host():
        return
    give_up = time.monotonic() + _ORPHAN_GRACE_S
    while status.owner.is_alive() and time.monotonic() < give_up:
        time.sleep(0.05)
    if status.owner.is_alive():
        os.kill(status.owner.pid, signal.SIGKILL)


def _begin_retry(study: Study, owner: Owner, chain: Chain) -> Claim:
    """One more attempt: the one that was asked for and waits, or a new one."""
    asked_for = chain.last
    if asked_for.state is TrialState.WAITING:
        attrs = asked_for.user_attrs
        trial = _taken_from_queue(study, asked_for, _signature(study, owner))
    else:
        attrs, fixed = inherited(study, chain)
        trial = _born(study, owner, fixed, attrs)
    return _next_attempt(study, trial, chain, attrs)


def _next_attempt(study: Study, trial: optuna.Trial, chain: Chain, attrs: Mapping[str, Any]) -> Claim:
    values = _draw_all(study, trial)
    directory = study.run_directory(chain.first.number)
    memory_failures = sum(cause_of_trial(attempt) is Cause.OOM for attempt in chain.attempts)
    return Claim(trial, values, attrs[attributes.SEED], directory, attrs[attributes.RETRY_OF], memory_failures)


def inherited(study: Study, chain: Chain) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the next attempt of a chain has from those before: its user attributes, and the values of its parameters."""
    before = chain.last
    attrs = {name: value for name, value in before.user_attrs.items() if name in _KEPT_BY_A_RETRY}
    attrs = {**_attributes_of_new(study, chain.first.number), **attrs, attributes.RETRY_OF: before.number}
    return attrs, {**_fixed(before), **before.params}


def _take_up(study: Study, chain: Chain, all_chains: list[Chain]) -> Claim:
    """Go on where a claim broke off after its trial was born. What it has drawn stays drawn."""
    begun = chain.last
    trial = _handle(study, begun._trial_id, begun.number)
    if begun is chain.first:
        return _first_attempt(study, trial, all_chains)
    return _next_attempt(study, trial, chain, begun.user_attrs)


def _begin_new(study: Study, owner: Owner, all_chains: list[Chain]) -> Claim:
    """Start one more chain: the next point of `first`, the next combination of an exhaustive sampler, or a draw."""
    fixed = _next_of_first(study, all_chains)
    if fixed is None and isinstance(study.space.sampler, Exhaustive):
        fixed = _next_combination(study, all_chains)
    number = len(study.trials())  # under the lock, so this is the number it will get
    trial = _born(study, owner, fixed or {}, _attributes_of_new(study, number))
    return _first_attempt(study, trial, all_chains)


def _begin_remedy(study: Study, owner: Owner, remedy: Remedy, all_chains: list[Chain]) -> Claim:
    number = len(study.trials())  # under the lock, so this is the number it will get
    trial = _born(study, owner, remedy.parameters, {**_attributes_of_new(study, number), **remedy.attributes})
    return _first_attempt(study, trial, all_chains)


def _begin_run(study: Study, owner: Owner, run: NextRun, all_chains: list[Chain]) -> Claim:
    number = len(study.trials())  # under the lock, so this is the number it will get
    attrs = {**_attributes_of_new(study, number), **run.attributes}
    return _first_attempt(study, _born(study, owner, run.parameters, attrs), all_chains)


def _adopt(study: Study, owner: Owner, queued: FrozenTrial, all_chains: list[Chain]) -> Claim:
    """Run a trial that was put in the queue with Optuna's own tools. Until it is RUNNING anyone may adopt it."""
    attrs = {**_signature(study, owner), **_attributes_of_new(study, queued.number)}
    return _first_attempt(study, _taken_from_queue(study, queued, attrs), all_chains)


def _taken_from_queue(study: Study, queued: FrozenTrial, attrs: Mapping[str, Any]) -> optuna.Trial:
    for name, value in attrs.items():
        study.storage.set_trial_user_attr(queued._trial_id, name, value)
    study.storage.set_trial_state_values(queued._trial_id, TrialState.RUNNING)
    return _handle(study, queued._trial_id, queued.number)


def _attributes_of_new(study: Study, number: int) -> dict[str, Any]:
    seed = int(study.space.overrides.get("seed", study.space.sampler.seed)) + number
    return {attributes.SEED: seed, attributes.RUN_DIR: study.run_directory(number).path.as_posix()}


def _first_attempt(study: Study, trial: optuna.Trial, all_chains: list[Chain]) -> Claim:
    values = _draw_all(study, trial)
    equal = _finished_with(all_chains, values)
    if equal is not None:
        trial.set_user_attr(attributes.REPLICATE_OF, equal)
    return Claim(trial, values, trial.user_attrs[attributes.SEED], study.run_directory(trial.number), None)


def _born(study: Study, owner: Owner, fixed: Mapping[str, Any], attrs: Mapping[str, Any]) -> optuna.Trial:
    """A new RUNNING trial with everything that a recovery needs, written in one transaction.

    This stands in for `enqueue_trial` and `ask`, between which a kill would leave a trial without an owner.
    """
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        user_attrs={**_signature(study, owner), **attrs},
        system_attrs={FIXED: dict(fixed)} if fixed else {},
    )
    trial_id = study.storage.create_new_trial(study.id, template_trial=template)
    return _handle(study, trial_id, study.storage.get_trial_number_from_id(trial_id))


def _signature(study: Study, owner: Owner) -> dict[str, Any]:
    return {attributes.OWNER: dataclasses.asdict(owner), attributes.ALIVE_AT: study.time()}


def _handle(study: Study, trial_id: int, number: int) -> optuna.Trial:
    study.optuna.sampler = study.space.sampler.build(number)
    return optuna.Trial(comparable(study), trial_id)


def _fixed(trial: FrozenTrial) -> dict[str, Any]:
    """The values that a trial was born with, whether or not it lived to draw them."""
    return dict(trial.system_attrs.get(FIXED, {}))


def _draw_all(study: Study, trial: optuna.Trial) -> dict[str, Any]:
    """Draw every parameter that exists for this trial and that no override gives, those first that others depend on."""
    values: dict[str, Any] = dict(trial.user_attrs.get(attributes.OVERRIDES, {}))
    for name in study.space.order():
        parameter = study.space.parameters[name]
        if name not in values and all_hold(parameter.conditions(), values):
            values[name] = draw(trial, name, parameter)
    return values


def _is_exhausted(study: Study, all_chains: list[Chain]) -> bool:
    """Whether an exhaustive sampler has nothing left; other samplers never run out."""
    if _next_of_first(study, all_chains) is not None or not isinstance(study.space.sampler, Exhaustive):
        return False
    return _next_combination(study, all_chains) is None


def _next_of_first(study: Study, all_chains: list[Chain]) -> Mapping[str, Any] | None:
    """The point of `first` that comes next; None when all were given out. A remedy takes the place of none of them."""
    begun = sum(not is_remedy(chain) for chain in all_chains)
    return study.space.first[begun] if begun < len(study.space.first) else None


def _next_combination(study: Study, all_chains: list[Chain]) -> dict[str, Any] | None:
    """The first combination, in the sampler's order, that no chain has."""
    tried = {_key({**_fixed(chain.last), **chain.last.params}) for chain in all_chains}
    combinations = every_combination(study.space)
    if isinstance(study.space.sampler, BruteForce):
        shuffled = list(combinations)
        Random(study.space.sampler.seed).shuffle(shuffled)
        combinations = iter(shuffled)
    return next((one for one in combinations if _key(one) not in tried), None)


def _finished_with(all_chains: list[Chain], values: Mapping[str, Any]) -> int | None:
    """The first finished trial with these values."""
    finished = (chain.last for chain in all_chains if chain.last.state.is_finished())
    return next((trial.number for trial in finished if values_of(trial) == values), None)


def _key(values: Mapping[str, Any]) -> str:
    return repr(sorted(values.items()))
