"""`stop_when: {terminator: true}`: Optuna's terminator, which ends a study when nothing worth a trial is left to gain.

It fits a Gaussian process to the scores of completed trials and bounds from above what the best of the space may have
over the best of them (Makarova et al. 2022, "Automatic Termination for Hyperparameter Optimization"). That bound is
held against the error of the best score. In the paper the error comes from cross-validation, which a training run does
not have; here it is the standard error of a share of puzzles: a gain below it could not be told from luck.

A look takes a fraction of a second to some seconds, scipy and torch. So a worker looks after a trial that it has told,
outside of the study's lock, and notes what it found in the study, where `enough` reads it: all workers and commands see
the same. Two workers that look at once find the same, for the seed is the study's; what rests on more trials stands.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.errors import SpaceError, StudyError
from hrm_sweep.evaluation.share import Share
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.best import puzzles_behind
from hrm_sweep.sweep.goals import is_feasible, score
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.storage import study_lock
from hrm_sweep.sweep.study import Chain, Study

_INSTALL = "needs scipy, which is not installed; install it with `pip install 'hrm-sweep[terminator]'`"

MOST_TRIALS = 1000
"""Of more only the best are looked at, for time and memory grow with the square of their number and faster. Optuna
takes the better half of them."""


@dataclass(frozen=True)
class Verdict:
    """What one look at a study found. Shares of puzzles, from 0 to 1.

    trials        completed trials that it rests on.
    regret_bound  what is left to gain, at most.
    error         standard error of the best trial's score.
    is_enough     whether Optuna's terminator would end the study.
    """

    trials: int
    regret_bound: float
    error: float
    is_enough: bool

    to_go_on: ClassVar[str] = "without stop_when.terminator it goes on"

    def __str__(self) -> str:
        than = "below" if self.is_enough else "not below"
        return (
            f"what is left to gain is estimated at most {self.regret_bound:.4f}, {than} the score's own noise "
            f"{self.error:.4f} (stop_when: terminator)"
        )


def known_verdict(study: Study) -> Verdict | None:
    """The verdict that stands in the study: that of the look at the most trials."""
    given = study.attribute(attributes.TERMINATOR)
    return Verdict(**given) if given else None


def require_terminator(space: SearchSpace, where: str) -> None:
    """Raises SpaceError where the space asks for the terminator and a package is missing that it needs."""
    if space.stop_when.terminator is not None and not _has_scipy():
        raise SpaceError(f"{where}: stop_when.terminator: {_INSTALL}, or leave it out")


@dataclass
class Lookout:
    """A worker's looks at what is left to gain. say: one line for its log."""

    study: Study
    say: Callable[[str], None]
    _cannot: bool = field(default=False, init=False)

    def look(self) -> None:
        """Look, if the study asks for it and has completed trials that nobody has looked at. What goes wrong is said,
        and costs nobody a trial; a worker without scipy says so once, and leaves it to the others."""
        if self.study.space.stop_when.terminator is None or self._cannot:
            return
        if not _has_scipy():
            self._cannot = True
            self.say(f"stop_when.terminator: {_INSTALL}; until then this worker leaves it to others to look")
            return
        try:
            verdict = look(self.study)
        except Exception as error:
            self.say(f"stop_when.terminator: could not look: {type(error).__name__}: {error}")
            return
        if verdict is not None:
            self.say(f"after {verdict.trials} completed trials {verdict}")


def look(study: Study) -> Verdict | None:
    """Ask Optuna's terminator and note what it says. None where there is nothing to look at: fewer completed trials
    than `min_trials`, none that nobody has looked at, or none that has solved a puzzle, for from zeros alone a Gaussian
    process takes all of the space to be zero.

    Trials that violate a constraint, or that lie outside of the space (a remedy), are left out.
    """
    wanted = study.space.stop_when.terminator
    scored = [(chain, value) for chain in study.chains() if (value := _judged_score(chain)) is not None]
    known = known_verdict(study)
    if wanted is None or len(scored) < wanted.min_trials or (known is not None and known.trials >= len(scored)):
        return None
    scored.sort(key=lambda one: -one[1])  # of equals the earlier first
    best = scored[0][1]
    if best == 0:
        return None
    best_first = [chain for chain, _ in scored]
    error = Share(best, _puzzles(study, best_first)).standard_error
    trials = [chain.last for chain in best_first[:MOST_TRIALS]]
    fewest, seed = min(wanted.min_trials, MOST_TRIALS), study.space.sampler.seed
    bound, is_enough = left_to_gain(trials, error, min_trials=fewest, seed=seed)
    verdict = Verdict(len(scored), bound, error, is_enough)
    _note(study, verdict)
    return verdict


def left_to_gain(trials: Sequence[FrozenTrial], error: float, *, min_trials: int, seed: int = 0) -> tuple[float, bool]:
    """Optuna's bound on what is left to gain over these completed trials, whose score is to be maximised, and whether
    its terminator takes that for less than `error`.

    Only parameters that all of the trials have count; the effect of others is noise to it. Raises ValueError where
    there is none.
    """
    from optuna.terminator import RegretBoundEvaluator, StaticErrorEvaluator, Terminator

    class RememberedBound(RegretBoundEvaluator):
        bound = math.nan

        def evaluate(self, trials: list[FrozenTrial], study_direction: StudyDirection) -> float:
            self.bound = float(super().evaluate(trials, study_direction))
            return self.bound

    with warnings.catch_warnings():
        # The range of versions in pyproject.toml ends before the one that leaves the module out.
        warnings.filterwarnings("ignore", "`optuna.terminator` module", FutureWarning)
        warnings.simplefilter("ignore", ExperimentalWarning)
        evaluator = RememberedBound(min_n_trials=min_trials, seed=seed)
        terminator = Terminator(evaluator, StaticErrorEvaluator(error), min_n_trials=min_trials)
    judged = optuna.create_study(direction="maximize")  # in memory: what is left out does not exist there
    judged.add_trials(
        optuna.create_trial(params=trial.params, distributions=trial.distributions, value=score(trial))
        for trial in trials
    )
    is_enough = terminator.should_terminate(judged)
    return evaluator.bound, bool(is_enough)


def _judged_score(chain: Chain) -> float | None:
    trial = chain.last
    if trial.state is not TrialState.COMPLETE or attributes.OVERRIDES in trial.user_attrs or not is_feasible(trial):
        return None
    return score(trial)


def _puzzles(study: Study, best_first: Sequence[Chain]) -> int:
    """How many puzzles decide, by the best trial that ran where this process can see it; trials of a study share them.

    Raises StudyError where no run directory says it.
    """
    counts = (puzzles_behind(study.run_directory(chain.first.number)) for chain in best_first)
    found = next((count for count in counts if count), None)
    if found is None:
        raise StudyError(f"no run directory in {study.folder} says on how many puzzles its run was evaluated")
    return found


def _note(study: Study, verdict: Verdict) -> None:
    with study_lock(study.storage_url, study.name):
        before = known_verdict(study)
        if before is None or before.trials < verdict.trials:
            study.optuna.set_user_attr(attributes.TERMINATOR, dataclasses.asdict(verdict))


def _has_scipy() -> bool:
    try:
        return importlib.util.find_spec("scipy") is not None
    except (ImportError, ValueError):
        return False
