"""Adaptive computation: how many ACT steps a puzzle gets before it halts. Judged on train rows only, because an
evaluation always runs all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Overrides, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.statistics import tail, weighted_mean
from hrm_sweep.runs.formats import Curves, Series

CONSTANT_SHARE = 0.98  # docs/thresholds.md, act_constant
SOLVED_BEFORE_JUDGED = 0.3
JUDGED_SHARE = 0.2
MIN_HALTED = 200


@rule(severity=Severity.WARNING)
def act_constant(run: Evidence) -> Outcome:
    """Every puzzle gets the same number of ACT steps although the model solves many of them.

    ## What it sees
    The histogram of ACT steps at halting and the exact accuracy of the train rows, over the last fifth of the run.

    ## Why it matters
    The Q head is there to stop early on easy puzzles and to go on with hard ones. When it always runs to
    halt_max_steps, each slot sees new data only once in halt_max_steps steps, and nothing adaptive is learned.

    ## How it is decided
    It fires when, over the last fifth of the run, at least 98 % of at least 200 halted slots halted after one and the
    same number of steps above 1, while at least 30 % of them were solved.

    ## When it stays quiet
    Nothing halts before halt_max_steps at the start, by design: the Q head begins with q_halt = q_continue = -5. The
    published run stayed near the maximum for about ten thousand steps while it learned. So the rule waits until
    puzzles are solved. Evaluation rows are never judged, they always run halt_max_steps. With halt_max_steps 1 there
    is nothing to adapt.

    ## What to do
    Set arch.halt_exploration_prob to 0.1 when it is 0. Otherwise look at the Q head: `frozen_q_head` and
    `q_continue_unsettled` say whether it learns.

    ## Reference
    hrm-facts 1.2 and implication 14, anchors 3b.2 and 3b.3; "Verify ACT is using variable steps" in the note
    Training Recommendations for HRM.
    """
    config = run.config
    limit = config.arch.halt_max_steps
    if limit == 1:
        return clear("halt_max_steps is 1: one ACT step by configuration, so there is nothing to adapt.")
    halts = recent_halts(run.rows)
    if halts.sum() < MIN_HALTED:
        raise MissingEvidence(f"{MIN_HALTED} halted slots with an ACT histogram in the last fifth; found {halts.sum()}")
    solved = recent_mean(run, "exact_accuracy")
    commonest = int(np.argmax(halts)) + 1
    share = float(halts[commonest - 1] / halts.sum())
    last = int(run.rows.histogram_step[-1])
    rows = (
        EvidenceRow.above(f"share of slots that halt after {commonest} ACT steps", share, CONSTANT_SHARE, last),
        EvidenceRow.above("train exact_accuracy", solved, SOLVED_BEFORE_JUDGED, last),
    )
    if share < CONSTANT_SHARE or commonest == 1:
        return clear(f"ACT steps vary: the commonest number, {commonest}, is taken by {share:.0%} of the slots.", *rows)
    if solved < SOLVED_BEFORE_JUDGED:
        return clear(
            f"{share:.0%} of the slots halt after {commonest} steps, but only {solved:.1%} of the puzzles are solved: "
            "at this stage healthy runs do the same.",
            *rows,
        )
    return fired(
        f"{share:.1%} of the slots halt after {commonest} of {limit} steps while {solved:.0%} of the puzzles are "
        "solved: the Q head does not tell solved puzzles from unsolved ones.",
        *rows,
        remedy=exploration(run),
    )


def recent_halts(rows: Curves) -> npt.NDArray[np.int64]:
    """How many slots halted after 1, 2, ... ACT steps in the last fifth of the run; (halt_max_steps,), perhaps (0,)."""
    if not len(rows.histogram_step):
        return np.zeros(0, np.int64)
    begin = rows.histogram_step[-1] * (1 - JUDGED_SHARE)
    return np.asarray(rows.histogram[rows.histogram_step > begin].sum(axis=0), dtype=np.int64)


def recent_mean(run: Evidence, name: str) -> float:
    """Mean of a train scalar over the last fifth of the run, weighted by the number of halted slots."""
    series = run.train(name).finite()
    if not len(series):
        raise MissingEvidence(f"a finite {name} in the train rows")
    return weighted_mean(_last_fifth(series), run.rows.get("count"))


def _last_fifth(series: Series) -> Series:
    recent = series.after(series.last_step * (1 - JUDGED_SHARE))
    return recent if len(recent) else tail(series, 0.0)


def exploration(run: Evidence) -> Overrides | None:
    """The published exploration where it was lowered."""
    return {"arch.halt_exploration_prob": 0.1} if run.config.arch.halt_exploration_prob < 0.1 else None
