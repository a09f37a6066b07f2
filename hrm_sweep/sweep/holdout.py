"""The final number of a study: its best trial on puzzles that no choice was made by. DESIGN, selection and honesty."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from hrm_sweep.config import load_config
from hrm_sweep.errors import StudyError
from hrm_sweep.sweep import attributes, child
from hrm_sweep.sweep.goals import front
from hrm_sweep.sweep.quick_reading import best_trial_id
from hrm_sweep.sweep.study import Study


@dataclass(frozen=True)
class Holdout:
    """Exact accuracy of trial `trial`'s best checkpoint on `n` puzzles that selection never saw."""

    trial: int
    exact_accuracy: float
    n: int


def best_trial(study: Study) -> FrozenTrial | None:
    """The completed trial with the best value of the main goal, of equals the best by the other goals, then the first;
    None when none completed that keeps to the constraints."""
    objective = study.space.objective
    if objective.beside or study.space.constraints:
        return next(iter(front(objective, study.trials())), None)
    best = best_trial_id(study.storage, study.id, maximize=objective.is_maximized)
    return None if best is None else study.storage.get_trial(best)


def known_holdout(study: Study, trial: int) -> Holdout | None:
    """What was measured before, if it was this trial."""
    given = study.attribute(attributes.HOLDOUT)
    return Holdout(**given) if given and given["trial"] == trial else None


def measure_holdout(study: Study) -> Holdout | None:
    """Evaluate the best trial on the unseen puzzles, in a process of its own (this one never imports torch), and keep
    the number in the study. None when no trial completed, or when there is no unseen puzzle.

    Raises StudyError when the evaluation fails, for example because the checkpoint was cleaned away.
    """
    best = best_trial(study)
    if best is None:
        return None
    known = known_holdout(study, best.number)
    if known is not None:
        return known
    directory = study.run_directory(study.first_attempt_of(best))
    if not directory.best_checkpoint.is_file():
        raise StudyError(f"{directory.best_checkpoint}: not there, so the best trial cannot be measured again")
    config = load_config(directory.config)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child.send_holdout, args=(theirs, config, directory.best_checkpoint), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        process.join()
        raise StudyError(f"{directory.path}: the evaluation ended with exit code {process.exitcode}") from None
    process.join()
    if isinstance(answer, str):
        raise StudyError(f"{directory.path}: could not be evaluated: {answer}")
    exact_accuracy, n = answer
    if exact_accuracy is None:
        return None
    found = Holdout(best.number, exact_accuracy, n)
    study.optuna.set_user_attr(attributes.HOLDOUT, {"trial": found.trial, "exact_accuracy": exact_accuracy, "n": n})
    return found
