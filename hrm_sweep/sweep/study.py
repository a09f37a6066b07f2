"""A study: one name in the storage, one search space, its trials, and the chains that retries make of them."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.errors import SpaceError, StorageError, StudyError
from hrm_sweep.runs import Cause, RunDirectory
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.deciding import EVAL_PUZZLES, leaves_open
from hrm_sweep.sweep.failures import retries_of
from hrm_sweep.sweep.space import SearchSpace, require_name, space_from_mapping
from hrm_sweep.sweep.storage import database_time, open_storage, sqlite_file, study_lock

TRIALS = Path("trials")
"""Where studies and run directories land, in the current folder. Contract 2."""

ARTIFACTS = TRIALS / "artifacts"

ENDED = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
STATES = {**ENDED, TrialState.RUNNING: "running", TrialState.WAITING: "waiting"}
"""What people are told of Optuna's states."""


@dataclass(frozen=True)
class Study:
    """An open study. Its storage_url may hold a password, so it is not part of what `repr` shows."""

    name: str
    storage_url: str = field(repr=False)
    space: SearchSpace
    optuna: optuna.Study
    storage: BaseStorage
    _grouped: GroupedTrials = field(default_factory=lambda: GroupedTrials(), init=False, repr=False, compare=False)

    def trials(self) -> list[FrozenTrial]:
        """All trials as they stand, by number. They are shared with Optuna's cache: look, do not touch."""
        return self.optuna.get_trials(deepcopy=False)

    def chains(self) -> list[Chain]:
        """All chains as they stand, by the number of their first attempt."""
        return self._grouped.look_at(self.trials())

    @property
    def id(self) -> int:
        return self.storage.get_study_id_from_name(self.name)

    def time(self) -> float:
        """Seconds since 1970 by the clock of the database, which is the same for all hosts."""
        return database_time(self.storage)

    def attribute(self, name: str) -> Any:
        return self.optuna.user_attrs.get(name)

    @property
    def folder(self) -> Path:
        """Where its run directories lie."""
        return TRIALS / self.name

    def run_directory(self, number: int) -> RunDirectory:
        """Where the first attempt with this number runs."""
        return RunDirectory(self.folder / f"{number:04d}")

    def first_attempt_of(self, trial: FrozenTrial) -> int:
        """The number of the attempt that `trial` is a retry of, directly or not; its own if it is none."""
        while (before := trial.user_attrs.get(attributes.RETRY_OF)) is not None and before < trial.number:
            found = self.storage.get_trial_id_from_study_id_trial_number(self.id, before)
            trial = self.storage.get_trial(found)
        return trial.number

    def is_due(self, chain: Chain) -> bool:
        """Whether the last attempt failed in a way that calls for another one, or another one was asked for."""
        if chain.last.state is TrialState.WAITING:
            return chain.is_given_out
        if chain.last.state is not TrialState.FAIL:
            return False
        cause = chain.cause
        if cause is None:
            return False
        failures = sum(cause_of_trial(attempt) is cause for attempt in chain.since_asked_for)
        return failures <= retries_of(cause, self.space.retry)

    def has_ended(self, chain: Chain) -> bool:
        """Whether the chain will not be tried again, unless somebody asks for it."""
        return chain.last.state.is_finished() and not self.is_due(chain)


@dataclass(frozen=True)
class Chain:
    """A trial and its retries. The budget counts chains."""

    attempts: tuple[FrozenTrial, ...]

    @property
    def first(self) -> FrozenTrial:
        return self.attempts[0]

    @property
    def last(self) -> FrozenTrial:
        return self.attempts[-1]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(attempt.number for attempt in self.attempts)

    @property
    def is_given_out(self) -> bool:
        """Whether it was ever started; a chain that begins in the queue was not."""
        return self.first.state is not TrialState.WAITING

    @property
    def since_asked_for(self) -> tuple[FrozenTrial, ...]:
        """The attempts whose failures count: from the last one on that somebody asked for."""
        asked = [place for place, one in enumerate(self.attempts) if one.user_attrs.get(attributes.ASKED_FOR)]
        return self.attempts[asked[-1] :] if asked else self.attempts

    @property
    def cause(self) -> Cause | None:
        """Why the last attempt failed."""
        return cause_of_trial(self.last)


def cause_of_trial(trial: FrozenTrial) -> Cause | None:
    """The cause of a failed trial; None for one that another program failed without giving any of ours."""
    given = trial.user_attrs.get(attributes.CAUSE)
    return Cause(given) if given in set(Cause) else None


def chains(trials: Sequence[FrozenTrial]) -> list[Chain]:
    """All trials of a study, by number, grouped into chains by the number of the first attempt."""
    return GroupedTrials().look_at(trials)


class GroupedTrials:
    """The chains of a study from one look to the next. Workers look at every claim, and a study may have 10,000 trials:
    only those that are new, or were not finished at the last look, are looked at again."""

    def __init__(self) -> None:
        self._chains: list[Chain] = []
        self._place: dict[int, int] = {}  # where in the list a trial's chain is, by the trial's number
        self._unfinished: list[int] = []
        self._lock = threading.Lock()

    def look_at(self, trials: Sequence[FrozenTrial]) -> list[Chain]:
        """Group the trials 0, 1, 2, ... of a study."""
        with self._lock:
            news = [trials[number] for number in self._unfinished] + list(trials[len(self._place) :])
            for trial in news:
                place = self._place.get(trial.number)
                if place is not None:
                    attempts = self._chains[place].attempts
                    self._chains[place] = Chain(tuple(trial if one.number == trial.number else one for one in attempts))
                    continue
                place = self._place.get(trial.user_attrs.get(attributes.RETRY_OF, -1))
                if place is None:
                    place = len(self._chains)
                    self._chains.append(Chain((trial,)))
                else:
                    self._chains[place] = Chain((*self._chains[place].attempts, trial))
                self._place[trial.number] = place
            self._unfinished = [trial.number for trial in news if not trial.state.is_finished()]
            return list(self._chains)


def open_study(storage_url: str, name: str) -> Study:
    """Open a study that exists. Raises StorageError, or StudyError naming those that do.

    The database may come from elsewhere: a study whose name is no name for a folder would write outside of trials/.
    """
    storage = open_storage(storage_url)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise StudyError(no_such_study(storage_url, name)) from None
    content = study.user_attrs.get(attributes.SPACE)
    if content is None:
        raise StudyError(f"{name}: not a study of hrm-sweep (it has no search space); choose another name with --study")
    try:
        require_name(name, "its name")
        space = space_from_mapping(content, f"study {name}")
    except SpaceError as error:
        raise StudyError(f"{name}: cannot be continued by this version: {error}") from None
    return Study(name, storage_url, space, study, storage)


def no_such_study(storage_url: str, name: str) -> str:
    """What to say of a study that is not in this storage, or of a storage that is not there."""
    try:
        names = study_names(open_storage(storage_url))
    except StorageError as error:
        return f"{name}: no study of this name: {error}"
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(names) or 'none yet'}"
    return f"{name}: no study of this name{hint}"


def study_names(storage: BaseStorage) -> list[str]:
    return sorted(study.study_name for study in storage.get_all_studies())


def _has_study(storage: BaseStorage, name: str) -> bool:
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        return False
    return True


def known_space(storage_url: str, name: str) -> SearchSpace | None:
    """The search space of a study, None when there is no such study, or no database yet."""
    file = sqlite_file(storage_url)
    if file is not None and not file.is_file():
        return None
    return open_study(storage_url, name).space if _has_study(open_storage(storage_url), name) else None


def require_storage(storage_url: str) -> None:
    """Raises StorageError when the database cannot be used. Where it is a file that does not exist, none is made."""
    file = sqlite_file(storage_url)
    if file is None or file.is_file():
        open_storage(storage_url, create=file is None)


def create_or_continue(
    storage_url: str, name: str, space: SearchSpace, *, seed: int | None = None, eval_puzzles: int | None = None
) -> Study:
    """Start the study `name`, or continue it with the budget, resources, retries and remedies of `space`.

    seed          of the sampler and, with its number, of each trial; None keeps that of a study that exists.
    eval_puzzles  how many test puzzles decide, where the space leaves it open; a study that exists keeps its number.

    Raises StudyError, showing the difference, when the study was started with another space or seed.
    """
    storage = open_storage(storage_url, create=True)
    if seed is not None:
        space = space.model_copy(update={"sampler": space.sampler.model_copy(update={"seed": seed})})
    space = space.model_copy(update={"name": name}).frozen()
    is_open = leaves_open(space)
    with study_lock(storage_url, name):
        before = open_study(storage_url, name).space if _has_study(storage, name) else None
        if is_open:
            known = eval_puzzles if before is None else before.overrides.get(EVAL_PUZZLES)
            space = space if known is None else space.with_overrides({EVAL_PUZZLES: known})
        if before is not None:
            _refuse_other_space(name, before, space)
            if seed is not None and seed != before.sampler.seed:
                raise StudyError(
                    f"{name}: was started with --seed {before.sampler.seed}, not {seed}; leave --seed out to continue, "
                    "or start another study with --study NAME"
                )
            space = space.model_copy(update={"sampler": before.sampler})
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=[goal.goal for goal in space.objective.goals],
            load_if_exists=True,
        )
        study.set_user_attr(attributes.SPACE, space.model_dump(mode="json"))
    return Study(name, storage_url, space, study, storage)


def _refuse_other_space(name: str, before: SearchSpace, now: SearchSpace) -> None:
    difference = list(_differences(before.identity(), now.identity()))
    if difference:
        raise StudyError(
            f"{name}: was started with another search space, so its trials would not be comparable:\n"
            + "\n".join(f"  {line}" for line in difference)
            + "\ngo back to the first one, or start another study with --study NAME"
        )


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            inner = f"{key}.{name}" if key else str(name)
            if name not in now:
                yield f"{inner}: was {before[name]}, now absent"
            elif name not in before:
                yield f"{inner}: was absent, now {now[name]}"
            else:
                yield from _differences(before[name], now[name], inner)
    elif before != now:
        yield f"{key}: was {before}, now {now}"
