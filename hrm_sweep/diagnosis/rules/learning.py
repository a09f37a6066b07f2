"""Learning: zero exact accuracy is where every healthy run begins, and where a dead one stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import falling_lr, longer
from hrm_sweep.diagnosis.signals import FIRST_THIRD, JUDGED_SHARE, is_mature, last_fifth, progress_row
from hrm_sweep.diagnosis.statistics import binomial_sd, slope_interval, tail, weighted_mean
from hrm_sweep.runs.formats import Curves, Series

ABOVE_COPYING = 0.02  # docs/thresholds.md, zero_exact_dead
BELOW_COPYING_LOSS = 0.95
BELOW_FIRST_LOSS = 0.85
LEARNED_FROM_FIRST_LOSS = 0.3  # docs/thresholds.md, zero_exact_dead
MIN_STEPS_AFTER_WARMUP = 200
MIN_SCORED_PUZZLES = 50
NEVER_DECREASED = 0.9
PLATEAU_SHARE = 0.3
PLATEAU_TARGET = 0.9
PLATEAU_RUNS = 10
MIN_PLATEAU_ROWS = 10


@dataclass(frozen=True)
class CellSigns:
    """What the cells say while no puzzle is solved. `learns` when any sign is on the good side of its threshold.

    rows  cell accuracy and loss, each against what a model gets that copies the given cells and guesses the others;
          without the data, loss and accuracy against those at the start.
    """

    learns: bool
    rows: tuple[EvidenceRow, ...]


@rule(severity=Severity.INFO)
def zero_exact_learning(run: Evidence) -> Outcome:
    """No puzzle is solved yet, but the cells say that the model learns.

    ## What it sees
    Exact accuracy of all evaluations (and of the train rows), cell accuracy, and the loss over the cells, against a
    model that copies the given cells and guesses the others.

    ## Why it matters
    Exact accuracy is 0 for the first quarter to third of every healthy run: all cells of a puzzle must be right at
    once. Killing at 0 % kills healthy runs. The published sudoku run solved nothing visible until about step 5000 of
    26,041, which is epoch 4000.

    ## How it is decided
    It fires, as information, when no evaluated puzzle was solved and at least one sign of learning is there: cell
    accuracy 2 points (and two standard deviations) above copying and guessing, a loss 5 % below that of copying and
    guessing, or training puzzles that are solved.

    ## When it stays quiet
    As soon as one evaluated puzzle is solved. With no sign of learning, see `zero_exact_dead`.

    ## What to do
    Train longer. Judge by cells and loss until the first puzzles are solved.

    ## Reference
    sapientinc/HRM#12 (curve of a run that reached 57 %); "Validation accuracy > 0% after 20 epochs" in the note
    Training Recommendations for HRM.
    """
    solved = _best_exact(run)
    if solved.value:
        return clear("Puzzles are solved.", solved)
    signs = _cell_signs(run)
    if not signs.learns:
        return clear("No puzzle is solved, and the cells show no learning either.", solved, *signs.rows)
    return fired(
        f"None of the evaluated puzzles is solved at step {run.measured_step}, but the cells are better than copying "
        "and "
        "guessing. This is what healthy runs look like before they solve their first puzzles: not a fault.",
        solved,
        *signs.rows,
        remedy=longer(run) if run.is_ended else None,
    )


@rule(severity=Severity.ERROR)
def zero_exact_dead(run: Evidence) -> Outcome:
    """No puzzle is solved and nothing is being learned.

    ## What it sees
    The same as `zero_exact_learning`, past the first third of the run and its warm-up.

    ## Why it matters
    A run that is no better than copying the given cells and guessing the others, with most of its time gone, will not
    come back by itself. Ending it frees the machine.

    ## How it is decided
    It fires when the run is past its first third and at least 200 steps past its warm-up, no puzzle was ever solved in
    training or evaluation, at least 50 puzzles were scored, and there is no sign of learning: cell accuracy within
    2 points (and two standard deviations) of copying and guessing, and a loss not 5 % below it.

    ## When it stays quiet
    In the first third of a run, inside the warm-up and shortly after it, and wherever a cell shows learning. A flat
    stretch alone is no sign: the published run was flat for half of its length, far above guessing.

    ## What to do
    A cause usually fires beside it: look there first (data, learning rate, warm-up, a frozen part, attention). With no
    other finding, try the learning rate of a recipe that is known to work at this size.

    ## Reference
    docs/thresholds.md; sapientinc/HRM#74 (a port at 0 % and chance).
    """
    solved = _best_exact(run)
    if solved.value:
        return clear("Puzzles are solved.", solved)
    signs = _cell_signs(run)
    if signs.learns:
        return clear("No puzzle is solved yet, but the cells show learning.", solved, *signs.rows)
    config = run.config
    progress = EvidenceRow.above("share of the planned steps done", run.progress, FIRST_THIRD, run.measured_step)
    after_warmup = run.measured_step - config.lr_warmup_steps
    if run.progress <= FIRST_THIRD and not (run.is_ended and run.progress >= 1):
        return clear("Too early: in their first third healthy runs look the same.", solved, progress, *signs.rows)
    if after_warmup < MIN_STEPS_AFTER_WARMUP:
        raise MissingEvidence(
            f"{MIN_STEPS_AFTER_WARMUP} steps after the warm-up; the run is at step {run.measured_step} and warms up "
            "for "
            f"{config.lr_warmup_steps}"
        )
    scored = _scored_puzzles(run)
    if scored < MIN_SCORED_PUZZLES:
        raise MissingEvidence(f"{MIN_SCORED_PUZZLES} scored puzzles; found {scored:g}")
    return fired(
        f"At step {run.measured_step}, {run.progress:.0%} of the run, no puzzle was ever solved, and the cells are no "
        "better than copying what is given and guessing the rest.",
        solved,
        progress,
        *signs.rows,
    )


def _best_exact(run: Evidence) -> EvidenceRow:
    """The best exact accuracy of all evaluations; of the train rows as long as there is no evaluation."""
    found = [(name, curves.get("exact_accuracy")) for name, curves in (("eval", run.evaluations), ("train", run.rows))]
    known = [(name, series.finite()) for name, series in found if series is not None and len(series.finite())]
    if not known:
        run.evaluated("exact_accuracy")  # raises, and says why there is none
        raise MissingEvidence("a finite exact_accuracy in the evaluations or the train rows")
    name, series = known[0]
    if name == "eval" and not series.value.any() and len(known) > 1 and run.measured_step > 2 * series.last_step:
        name, series = known[1]  # the evaluations are stale: the train rows are twice as far
    at = int(np.argmax(series.value))
    return EvidenceRow(f"{name} exact_accuracy, best so far", float(series.value[at]), int(series.step[at]))


def _cell_signs(run: Evidence) -> CellSigns:
    """Raises MissingEvidence when neither rows nor evaluations tell about cells."""
    name, curves = ("eval", run.evaluations) if run.evaluations.get("accuracy") is not None else ("train", run.rows)
    recent = {key: _recent(curves, key) for key in ("accuracy", "lm_loss")}
    if recent["accuracy"] is None and recent["lm_loss"] is None:
        run.train("lm_loss")  # raises, and says why there is none
    if run.data is not None and not run.data.test.is_empty:
        signs = _against_copying(run, name, curves, recent)
    else:
        signs = _against_the_start(run)
    trained = run.evaluations.get("trained.exact_accuracy") or run.rows.get("exact_accuracy")
    if trained is not None and len(trained.finite()):
        last = tail(trained.finite(), JUDGED_SHARE, least=3)
        row = EvidenceRow.below("train exact_accuracy", weighted_mean(last, run.rows.get("count")), 0.0, last.last_step)
        return CellSigns(signs.learns or bool(row.value), (*signs.rows, row))
    return signs


def _against_copying(run: Evidence, name: str, curves: Curves, recent: dict[str, Series | None]) -> CellSigns:
    facts = run.facts.test if name == "eval" else run.facts.train
    rows, learns = [], False
    accuracy, loss = recent["accuracy"], recent["lm_loss"]
    if accuracy is not None:
        counts = curves.get("count")
        cells = (counts.after(accuracy.step[0] - 1).value.sum() if counts is not None else 100) * run.facts.seq_len
        line = facts.copying_accuracy + max(ABOVE_COPYING, 2 * binomial_sd(facts.copying_accuracy, float(cells)))
        found = weighted_mean(accuracy, counts)
        rows.append(
            EvidenceRow.below(f"{name} accuracy (cells), against copying and guessing", found, line, accuracy.last_step)
        )
        learns |= found > line
    if loss is not None:
        line = BELOW_COPYING_LOSS * facts.copying_loss
        found = float(np.median(loss.value))
        rows.append(EvidenceRow.above(f"{name} lm_loss, against copying and guessing", found, line, loss.last_step))
        learns |= found < line
    return CellSigns(learns, tuple(rows))


def _against_the_start(run: Evidence) -> CellSigns:
    """Without the puzzles, a run can only be compared with its own first rows: a loss that stays there says that
    nothing was learned, one far below it that something was, and one between is what copying may give."""
    loss = run.train("lm_loss").finite()
    if len(loss) < 2:
        raise MissingEvidence(f"two train rows with lm_loss, or the puzzles ({run.data_problem})")
    end = float(np.median(tail(loss, JUDGED_SHARE, least=3).value))
    line = BELOW_FIRST_LOSS * float(loss.value[0])
    learned = LEARNED_FROM_FIRST_LOSS * float(loss.value[0])
    if learned <= end < line:
        raise MissingEvidence(f"the puzzles, to know what copying and guessing give: {run.data_problem}")
    row = EvidenceRow.above("train lm_loss, against its first value", end, learned, loss.last_step)
    return CellSigns(end < learned, (row,))


def _recent(curves: Curves, name: str) -> Series | None:
    """The last evaluation, or the last fifth of the train rows."""
    series = curves.get(name)
    if series is None or not len(series.finite()):
        return None
    return tail(series.finite(), 0.0 if len(curves) < 20 else JUDGED_SHARE)


def _scored_puzzles(run: Evidence) -> float:
    """Puzzles whose solution was looked at, in evaluations and in training."""
    counts = [curves.get("count") for curves in (run.evaluations, run.rows)]
    return sum(float(np.nansum(series.value)) for series in counts if series is not None)


@rule(severity=Severity.WARNING)
def loss_not_decreasing(run: Evidence) -> Outcome:
    """The loss never went down.

    ## What it sees
    `lm_loss` of the last fifth of the train rows, against the first row.

    ## Why it matters
    Nothing is learned at all: not even which symbols occur, which any run learns in its first hundred steps.

    ## How it is decided
    It fires past the first third, at least 200 steps after the warm-up, when the median of the last fifth is above 90 %
    of the first row's loss. Healthy runs of the smallest preset are at a third of it by then.

    ## When it stays quiet
    A plateau *below* the start is `plateau`, and healthy in the middle of a run. The loss need not fall consistently:
    the published run was flat for half of its length.

    ## What to do
    Look at what fires beside it. With nothing beside it: learning rate, labels, attention, in this order.

    ## Reference
    "Loss decreasing consistently" in the note Training Recommendations for HRM; published curve: sapientinc/HRM#12.
    """
    by_checkpoints = run.told_by_checkpoints("lm_loss")
    if by_checkpoints:
        loss, start = run.evaluated("trained.lm_loss").finite(), run.facts.uniform_loss
    else:
        loss = run.train("lm_loss").finite()
        start = float(loss.value[0]) if len(loss) else 0.0
        start = max(start, run.data.uniform_loss) if run.data is not None else start
    if len(loss) < (1 if by_checkpoints else 2):
        raise MissingEvidence(f"two train rows with lm_loss; found {len(loss)}")
    line = NEVER_DECREASED * start
    now = loss.last if by_checkpoints else float(np.median(last_fifth(loss).value))
    row = EvidenceRow.above("lm_loss, median of the last fifth", now, line, loss.last_step)
    if now <= line:
        return clear(f"The loss went down from {start:.3g} to {now:.3g}.", row)
    if not is_mature(run) or run.measured_step - run.config.lr_warmup_steps < MIN_STEPS_AFTER_WARMUP:
        return clear("The loss has not gone down yet; it is too early to mind.", row, progress_row(run))
    return fired(f"The loss stands at {now:.3g}, and began at {start:.3g}.", row, progress_row(run))


@rule(severity=Severity.ADVICE)
def plateau(run: Evidence) -> Outcome:
    """The run ended on a plateau below its target.

    ## What it sees
    `lm_loss` of the last 30 % of the train rows: a robust slope (Theil-Sen) with its 95 % interval.

    ## Why it matters
    When nothing moves any more, training longer in the same way is wasted; a run that still falls at its end deserves
    more time.

    ## How it is decided
    It fires, as advice, when the run has ended with fewer than 90 % of the evaluated puzzles solved and the slope over
    the last 30 % could be zero, or would take more than ten such runs to bring the loss to zero.

    ## When it stays quiet
    While the run lives: the published run was flat for half of its length before it fell again. When the target is
    reached.

    ## What to do
    Lower lr at the end (lr_min_ratio 0.1), or look at the gap between training and evaluation.

    ## Reference
    docs/thresholds.md; sapientinc/HRM#12.
    """
    loss = run.train("lm_loss").finite()
    recent = loss.after(loss.last_step * (1 - PLATEAU_SHARE)) if len(loss) else loss
    if len(recent) < MIN_PLATEAU_ROWS:
        raise MissingEvidence(f"{MIN_PLATEAU_ROWS} train rows in the last 30 % of the run; found {len(recent)}")
    best = _best_exact(run)
    low, slope, high = slope_interval(recent)
    needed = (float(np.median(recent.value)) / -slope) if slope < 0 else np.inf
    rows = (
        EvidenceRow("slope of lm_loss per 1000 steps, upper end", 1000 * high, recent.last_step, 0.0, 1000 * high),
        EvidenceRow("slope of lm_loss per 1000 steps, lower end", 1000 * low, recent.last_step),
        best,
    )
    if not run.is_ended or float(best.value or 0) >= PLATEAU_TARGET:
        return clear("The run lives, or has reached its target.", *rows)
    if high < 0 and needed < PLATEAU_RUNS * max(1, run.measured_step):
        return clear("The loss was still falling when the run ended: train longer.", *rows)
    return fired(
        "Over the last 30 % of the run the loss hardly moved, and the puzzles are not solved.",
        *rows,
        remedy=falling_lr(run),
    )
