"""Learning: zero exact accuracy is where every healthy run begins, and where a dead one stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Overrides, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.statistics import binomial_sd, tail, weighted_mean
from hrm_sweep.runs.formats import Curves, Series

FIRST_THIRD = 1 / 3
ABOVE_COPYING = 0.02  # docs/thresholds.md, zero_exact_dead
BELOW_COPYING_LOSS = 0.95
BELOW_FIRST_LOSS = 0.85
MIN_STEPS_AFTER_WARMUP = 200
MIN_SCORED_PUZZLES = 50
JUDGED_SHARE = 0.2


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
    hrm-facts 0.1, 1.2, 1.3 and implications 2 to 4; "Validation accuracy > 0% after 20 epochs" in the note Training
    Recommendations for HRM.
    """
    solved = _best_exact(run)
    if solved.value:
        return clear("Puzzles are solved.", solved)
    signs = _cell_signs(run)
    if not signs.learns:
        return clear("No puzzle is solved, and the cells show no learning either.", solved, *signs.rows)
    return fired(
        f"None of the evaluated puzzles is solved at step {run.steps_done}, but the cells are better than copying and "
        "guessing. This is what healthy runs look like before they solve their first puzzles: not a fault.",
        solved,
        *signs.rows,
        remedy=_longer(run) if run.is_ended else None,
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
    hrm-facts 2 and implications 2, 3 and 16; anchors 3c H09.
    """
    solved = _best_exact(run)
    if solved.value:
        return clear("Puzzles are solved.", solved)
    signs = _cell_signs(run)
    if signs.learns:
        return clear("No puzzle is solved yet, but the cells show learning.", solved, *signs.rows)
    config = run.config
    progress = EvidenceRow.above("share of the planned steps done", run.progress, FIRST_THIRD, run.steps_done)
    after_warmup = run.steps_done - config.lr_warmup_steps
    if run.progress <= FIRST_THIRD and not (run.is_ended and run.progress >= 1):
        return clear("Too early: in their first third healthy runs look the same.", solved, progress, *signs.rows)
    if after_warmup < MIN_STEPS_AFTER_WARMUP:
        raise MissingEvidence(
            f"{MIN_STEPS_AFTER_WARMUP} steps after the warm-up; the run is at step {run.steps_done} and warms up for "
            f"{config.lr_warmup_steps}"
        )
    scored = _scored_puzzles(run)
    if scored < MIN_SCORED_PUZZLES:
        raise MissingEvidence(f"{MIN_SCORED_PUZZLES} scored puzzles; found {scored:g}")
    return fired(
        f"At step {run.steps_done}, {run.progress:.0%} of the run, no puzzle was ever solved, and the cells are no "
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
    name, series = known[0]
    if name == "eval" and not series.value.any() and len(known) > 1 and run.steps_done > 2 * series.last_step:
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
    trained = run.rows.get("exact_accuracy")
    if trained is not None and len(trained.finite()):
        best = tail(trained.finite(), JUDGED_SHARE, least=3)
        row = EvidenceRow.below("train exact_accuracy", weighted_mean(best, run.rows.get("count")), 0.0, best.last_step)
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
    """Without the puzzles, a run can only be compared with its own first rows."""
    loss = run.train("lm_loss").finite()
    if len(loss) < 2:
        raise MissingEvidence(f"two train rows with lm_loss, or the puzzles ({run.data_problem})")
    end = float(np.median(tail(loss, JUDGED_SHARE, least=3).value))
    line = BELOW_FIRST_LOSS * float(loss.value[0])
    row = EvidenceRow.above("train lm_loss, against its first value", end, line, loss.last_step)
    return CellSigns(end < line, (row,))


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


def _longer(run: Evidence) -> Overrides:
    return {"epochs": 2 * run.config.epochs}
