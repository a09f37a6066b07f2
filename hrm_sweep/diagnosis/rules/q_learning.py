"""The Q head: it decides when to halt. Its losses begin near 0 and rise when the model begins to solve puzzles."""

from __future__ import annotations

import math

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.movement import NOTICEABLE_BY_EVERY_TENSOR, movement
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import longer, scaled_lr
from hrm_sweep.diagnosis.signals import finite_train, is_mature, last_fifth, progress_row, recent_mean, recent_row_mean
from hrm_sweep.diagnosis.statistics import rolling_median

WORSE_THAN_CONSTANT = 1.2  # docs/thresholds.md, q_uninformative
WORSE_THAN_A_COIN = 0.75
MIN_BASE_RATE = 0.05
MIN_SCORED = 500
FURTHEST_NEEDED = 10.0  # twice the way of q_halt from where it starts, -5, to a coin
LARGEST_Q = 30.0
STILL_AT_ITS_MAXIMUM = 0.95
SOLVED_BY_THEN = 0.5


@rule(severity=Severity.ERROR, causes=("act_constant", "act_collapsed", "act_exploration_off", "q_uninformative"))
def frozen_q_head(run: Evidence) -> Outcome:
    """The Q head does not move.

    ## What it sees
    The updates of q_head in the train rows; in a run of the reference, whether it moved between its last two
    checkpoints, or is still bit for bit what it starts as (weight 0, bias -5).

    ## Why it matters
    Both Q values stay at -5, a tie, and a tie means going on: nothing ever halts before halt_max_steps, and nobody is
    told, because the accuracy of a Q head that never says "solved" is 100 % while nothing is solved.

    ## How it is decided
    It fires at any stage when the update or the gradient of q_head is exactly zero in its last 3 rows or more, or
    when the head is unchanged between two checkpoints, or untouched after 20 steps. Its weight or its bias alone is
    enough.

    ## When it stays quiet
    While the learning rate is under 1e-7 (1e-5 for weight or bias alone). Q values near -5 with a head that moves are
    normal for the first quarter.

    ## What to do
    Give q_head to the optimizer, and look for detach() and requires_grad.

    ## Reference
    sapientinc/HRM hrm_act_v1.py (start values of the Q head).
    """
    if run.is_reference:
        last = run.need_checkpoints(1)[-1]
        if last.q_head_untouched and last.step >= 20 and run.config.lr > 0:
            return fired(
                f"At step {last.step} the Q head is exactly what it starts as: weight 0, bias -5. It is not trained.",
                EvidenceRow("q_head, largest absolute weight", last.modules["q_head"].max_abs, last.step),
            )
        if last.q_bias_untouched and last.step >= 20 and run.config.lr >= NOTICEABLE_BY_EVERY_TENSOR:
            return fired(
                f"At step {last.step} the bias of the Q head is exactly what it starts as, -5. It is not trained.",
                EvidenceRow("q_head.bias", -5.0, last.step),
                title="A part of the Q head does not move",
            )
    found = movement(run, ["q_head"])
    if found.partly:
        return fired(
            "The weight or the bias of the Q head did not move at all while the rest of the model was trained.",
            *found.rows,
            title="A part of the Q head does not move",
        )
    if not found.frozen:
        return clear("The Q head moves.", *found.rows)
    return fired(
        "The Q head did not move at all while the rest of the model was trained: halting is not learned.", *found.rows
    )


@rule(severity=Severity.WARNING)
def q_uninformative(run: Evidence) -> Outcome:
    """The Q head predicts worse than a constant would.

    ## What it sees
    q_halt_loss over the last fifth of the run, against the loss of a constant that knows the share of solved puzzles.

    ## Why it matters
    q_halt_accuracy is no measure: with nothing solved, "never solved" is right every time, so it begins at 100 % and
    falls while the model learns. The loss against the base rate tells whether q_halt knows anything.

    ## How it is decided
    With p the share of halted puzzles that are solved, a constant has the loss H(p) = -p ln p - (1-p) ln(1-p). It fires
    past the first third, when 0.05 < p < 0.95 on at least 500 scored puzzles and q_halt_loss is above 1.2 H(p) and
    above 0.75, which is worse than a coin. Healthy runs lie at 0.76 to 1.09 of H(p) until 80 % are solved.

    ## When it stays quiet
    While almost nothing or almost everything is solved. Rising Q losses are the sign of the first solved puzzles. While
    the head cannot have got there yet: q_halt starts at -5 and moves by at most about lr x hidden_size a step, so the
    sum of that over the steps so far has to be 10. A slow run with a low learning rate lags behind, and is not sick.

    ## What to do
    Lower lr; a large batch stands in for the replay buffer and the target network that this Q-learning does without.

    ## Reference
    sapientinc/HRM hrm_act_v1.py, comment on PQN (arXiv 2407.04811); "Q-values converging" in the note Training
    Recommendations for HRM.
    """
    loss = recent_row_mean(run, "q_halt_loss")
    solved = recent_mean(run, "exact_accuracy")
    counts = run.rows.get("count")
    scored = float(np.nansum(last_fifth(counts).value)) if counts is not None else 0.0
    if scored < MIN_SCORED:
        raise MissingEvidence(f"{MIN_SCORED} scored puzzles in the last fifth of the run; found {scored:g}")
    base = EvidenceRow("train exact_accuracy, last fifth", solved, run.measured_step)
    if not MIN_BASE_RATE < solved < 1 - MIN_BASE_RATE:
        return clear(f"{solved:.1%} of the puzzles are solved: too few or too many to judge what q_halt knows.", base)
    entropy = -solved * math.log(solved) - (1 - solved) * math.log(1 - solved)
    line = max(WORSE_THAN_CONSTANT * entropy, WORSE_THAN_A_COIN)
    row = EvidenceRow.above("q_halt_loss, last fifth", loss, line, run.measured_step)
    if loss <= line or not is_mature(run):
        return clear(f"q_halt_loss is {loss:.2f}; a constant would have {entropy:.2f}.", row, base)
    reach = float(finite_train(run, "lr").value.mean()) * run.measured_step * run.config.arch.hidden_size
    way = EvidenceRow.above("sum of lr x hidden_size", reach, FURTHEST_NEEDED, run.measured_step)
    if reach <= FURTHEST_NEEDED:
        return clear("q_halt lags behind: it starts at -5, and the learning rate is low for its way.", row, base, way)
    return fired(
        f"q_halt_loss is {loss:.2f}, while a constant that knows the share of solved puzzles ({solved:.0%}) has "
        f"{entropy:.2f}.",
        row,
        base,
        way,
        progress_row(run),
    )


@rule(severity=Severity.WARNING, causes=("act_collapsed", "act_constant", "q_uninformative"))
def q_diverging(run: Evidence) -> Outcome:
    """Q values run away.

    ## What it sees
    Mean and spread of q_halt and q_continue in the train rows; in a run of the reference, of its last checkpoint.

    ## Why it matters
    A Q value is the logit of a probability. Beyond 30 that probability is 0 or 1 to the last bit, the gradient of its
    loss vanishes, and the head cannot come back.

    ## How it is decided
    It fires when the mean of q_halt or q_continue, or its spread, is beyond 30 in the last fifth of the run. Healthy
    runs stay between -9 and 1.

    ## When it stays quiet
    Values near -5 at the start, and down to -9 while nothing is solved, are normal.

    ## What to do
    Lower lr. Weight decay bounds the head too.

    ## Reference
    SamsungSAILMontreal/TinyRecursiveModels#28 (q logits to minus infinity, then NaN); docs/thresholds.md.
    """
    rows, worst = [], 0.0
    for name in ("q_halt_mean", "q_continue_mean", "q_halt_std", "q_continue_std"):
        if run.is_reference:
            series = run.evaluated(name)
            value, step = series.last, series.last_step
        else:
            series = run.train(name).finite()
            if not len(series):
                raise MissingEvidence(f"a finite {name}")
            value, step = float(np.median(last_fifth(series).value)), series.last_step
        rows.append(EvidenceRow.above(f"|{name}|", abs(value), LARGEST_Q, step))
        worst = max(worst, abs(value))
    if worst <= LARGEST_Q:
        return clear(f"Q values stay within {worst:.1f}.", *rows)
    return fired(
        f"A Q value stands at {worst:.3g}. Its probability is 0 or 1 to the last bit, and it cannot come back.",
        *rows,
        remedy=scaled_lr(run.config, 1 / 3),
    )


@rule(severity=Severity.ADVICE)
def q_continue_unsettled(run: Evidence) -> Outcome:
    """The loss of q_continue is still at its highest when the run ends.

    ## What it sees
    q_continue_loss over the whole run, and the share of solved training puzzles at its end.

    ## Why it matters
    In the published run this loss rises from near 0 to a peak at 35 to 40 % of the run and then falls, as the Q values
    settle. A run that ends at the peak ends while halting is still being learned.

    ## How it is decided
    It fires, as advice, when the run has ended, at least half of the training puzzles are solved, and the loss over the
    last fifth is at least 95 % of its highest value.

    ## When it stays quiet
    While the run lives, and while fewer than half of the puzzles are solved: a rising Q loss is a sign of progress
    then, not of trouble. With one ACT step there is no such loss.

    ## What to do
    Train longer.

    ## Reference
    sapientinc/HRM#12 (curves of a run that reached 57 %); "Q-values converging" in the note Training Recommendations
    for HRM.
    """
    if run.config.arch.halt_max_steps == 1:
        return clear("With one ACT step there is no q_continue loss.")
    loss = run.train("q_continue_loss").finite()
    if len(loss) < 20:
        raise MissingEvidence(f"20 train rows with q_continue_loss; found {len(loss)}")
    solved = recent_mean(run, "exact_accuracy")
    highest = float(rolling_median(loss.value, 5).max())
    now = float(np.mean(last_fifth(loss).value))
    rows = (
        EvidenceRow.above("q_continue_loss, last fifth", now, STILL_AT_ITS_MAXIMUM * highest, loss.last_step),
        EvidenceRow("train exact_accuracy, last fifth", solved, loss.last_step, SOLVED_BY_THEN),
    )
    if not run.is_ended or solved < SOLVED_BY_THEN or now < STILL_AT_ITS_MAXIMUM * highest:
        return clear(f"q_continue_loss stands at {now:.2f}; its highest was {highest:.2f}.", *rows)
    return fired("The run ended while the loss of q_continue was still at its highest.", *rows, remedy=longer(run))
