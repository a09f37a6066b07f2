"""Training against evaluation, and evaluation against itself: what a model keeps, and how well that is known."""

from __future__ import annotations

import math

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import falling_lr, more_augmentations, more_eval_puzzles
from hrm_sweep.diagnosis.signals import recent_mean
from hrm_sweep.diagnosis.statistics import Floats, binomial_sd, wilson
from hrm_sweep.runs.formats import Series

GAP = 0.10
SIGMAS = 3.0
COLLAPSED_FROM = 0.1
COLLAPSED_TO = 0.5
FELL_BY = 0.02
WIDE_INTERVAL = 0.10
USUAL_PUZZLES = 1000.0  # assumed where a run does not say how many it evaluated


@rule(severity=Severity.ADVICE)
def overfit_gap(run: Evidence) -> Outcome:
    """Training puzzles are solved far more often than evaluated ones.

    ## What it sees
    Exact accuracy of the last fifth of the train rows, and of the last evaluation.

    ## Why it matters
    The model remembers its puzzles. On small sets late overfitting also makes Q-learning unstable, and the run ends in
    numbers that are none.

    ## How it is decided
    It fires, as advice, when training is ahead by more than 10 points and by more than three standard deviations of the
    evaluation, and the last evaluation is no better than an earlier one. It is advice because most runs on a thousand
    puzzles without augmentation end this way.

    ## When it stays quiet
    While evaluation still rises. When evaluation is ahead: it runs all ACT steps, training stops at the halt. One
    evaluation has no trend: unknown.

    ## What to do
    Augment the puzzles (data.num_aug), raise weight_decay, or stop earlier (stop_when_solved).

    ## Reference
    sapientinc/HRM README on late overfitting; SamsungSAILMontreal/TinyRecursiveModels#19.
    """
    exact = run.evaluated("exact_accuracy").finite()
    if len(exact) < 2:
        raise MissingEvidence(f"two evaluations; found {len(exact)}")
    if run.told_by_checkpoints("exact_accuracy"):
        trained = run.evaluated("trained.exact_accuracy").last
    else:
        trained = recent_mean(run, "exact_accuracy")
    evaluated = exact.last
    noise = SIGMAS * binomial_sd(max(evaluated, 0.01), _puzzles(run, exact).item(-1))
    row = EvidenceRow.above(
        "train exact_accuracy minus evaluation", trained - evaluated, max(GAP, noise), exact.last_step
    )
    both = (
        EvidenceRow("train exact_accuracy, last fifth", trained, run.steps_done),
        EvidenceRow("eval exact_accuracy", evaluated, exact.last_step),
    )
    rises = evaluated > float(exact.value[:-1].max()) + noise / SIGMAS
    if trained - evaluated <= max(GAP, noise) or rises:
        return clear(f"Training is at {trained:.1%}, evaluation at {evaluated:.1%}.", row, *both)
    return fired(
        f"{trained:.1%} of the training puzzles are solved, and {evaluated:.1%} of the evaluated ones, no more than "
        "before.",
        row,
        *both,
        remedy=more_augmentations(run),
    )


@rule(severity=Severity.WARNING)
def late_collapse(run: Evidence) -> Outcome:
    """The model has lost much of what it could do.

    ## What it sees
    Exact accuracy of all evaluations: the best against the last.

    ## Why it matters
    The last checkpoint is then not the one to use. Late in training on small sets, accuracy can fall from its peak to
    almost nothing.

    ## How it is decided
    It fires as a warning when the best evaluation was above 10 % and the last is under half of it, beyond three
    standard deviations, and the run has ended or the evaluation before was under half of the best as well; as advice
    when the last is lower by more than two points beyond three standard deviations.

    ## When it stays quiet
    Differences within the noise of the evaluation. A single evaluation cannot fall. One deep dip of a live run is
    advice: a healthy run fell from 26 % to 4 % and stood at 33 % five epochs later. So is the end of a run that had
    come back from such a dip before: it swings. Of a run of the reference only the last checkpoints are evaluated, too
    few to know whether it swings, so there two low ones in a row are asked for.

    ## What to do
    Use best.pt. Train shorter next time (stop_when_solved), or with a learning rate that falls (lr_min_ratio 0.1).

    ## Reference
    SamsungSAILMontreal/TinyRecursiveModels#26 (8 % to 2 %); sapientinc/HRM README; arXiv 2510.04871, section 4.7.
    """
    exact = run.evaluated("exact_accuracy").finite()
    if len(exact) < 2:
        raise MissingEvidence(f"two evaluations; found {len(exact)}")
    counts = _puzzles(run, exact)
    at = int(np.argmax(exact.value))
    best, last = float(exact.value[at]), exact.last
    noise = SIGMAS * math.hypot(binomial_sd(best, counts.item(at)), binomial_sd(last, counts.item(-1)))
    row = EvidenceRow.above("fall from the best evaluation to the last", best - last, FELL_BY + noise, exact.last_step)
    both = (
        EvidenceRow("eval exact_accuracy, best", best, int(exact.step[at])),
        EvidenceRow.below("eval exact_accuracy, last", last, COLLAPSED_TO * best, exact.last_step),
    )
    if best - last <= FELL_BY + noise:
        return clear(
            f"The last evaluation ({last:.1%}) is as good as the best ({best:.1%}) within its noise.", row, *both
        )
    two_in_a_row = float(exact.value[-2]) < COLLAPSED_TO * best
    is_curve = not run.told_by_checkpoints("lm_loss")
    ends_so = run.is_ended and is_curve and not _came_back_before(exact.value[: at + 1])
    stays = two_in_a_row or ends_so
    collapsed = best >= COLLAPSED_FROM and last < COLLAPSED_TO * best and stays
    return fired(
        f"At step {exact.step[at]} the model solved {best:.1%} of the puzzles, now {last:.1%}.",
        row,
        *both,
        remedy=falling_lr(run),
        severity=Severity.WARNING if collapsed else Severity.ADVICE,
        title=None if collapsed else "The last evaluation is worse than the best",
    )


def _came_back_before(values: Floats) -> bool:
    """Whether evaluations up to the best one fell under half of what was reached before, and rose above it again."""
    reached = np.maximum.accumulate(values)
    dips = (reached >= COLLAPSED_FROM) & (values < COLLAPSED_TO * reached)
    return bool((values[-1] > reached[dips]).any())


@rule(severity=Severity.INFO)
def evaluation_noise(run: Evidence) -> Outcome:
    """Exact accuracy rests on few puzzles.

    ## What it sees
    The number of evaluated puzzles and the 95 % interval of the last exact accuracy (Wilson).

    ## Why it matters
    Two runs whose intervals overlap cannot be told apart; nor can two evaluations of one run. Between seeds the
    published recipe differs by some points more.

    ## How it is decided
    It fires, as information, when the interval is wider than 10 points.

    ## When it stays quiet
    With about 400 puzzles or more, and while nothing is solved.

    ## What to do
    Raise eval_puzzles, or give the test split more puzzles. Confirm a winner with other seeds.

    ## Reference
    Wilson 1927; sapientinc/HRM README gives +-2 points, five published runs of one recipe spread by 4.5.
    """
    exact = run.evaluated("exact_accuracy").finite()
    if not len(exact):
        raise MissingEvidence("a finite exact_accuracy in the evaluations")
    counts = run.evaluations.get("count")
    if counts is None or not len(counts):
        raise MissingEvidence("the number of evaluated puzzles (count)")
    low, high = wilson(exact.last * counts.last, counts.last)
    row = EvidenceRow.above("width of the 95 % interval of exact_accuracy", high - low, WIDE_INTERVAL, exact.last_step)
    count = EvidenceRow("eval count", counts.last, counts.last_step)
    if high - low <= WIDE_INTERVAL:
        return clear(f"Exact accuracy is {exact.last:.1%}, between {low:.1%} and {high:.1%}.", row, count)
    return fired(
        f"Exact accuracy is {exact.last:.1%}, but {counts.last:.0f} puzzles only say that it lies between {low:.1%} "
        "and "
        f"{high:.1%}.",
        row,
        count,
        remedy=more_eval_puzzles(run),
    )


def _puzzles(run: Evidence, exact: Series) -> np.ndarray:
    """How many puzzles each evaluation scored, (len(exact),)."""
    counts = run.evaluations.get("count")
    found = counts.at(exact.step) if counts is not None else np.full(len(exact), np.nan)
    return np.nan_to_num(found, nan=USUAL_PUZZLES)
