"""Numbers that are none: values that are not finite, a loss that explodes."""

from __future__ import annotations

import math

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import calmer, scaled_lr
from hrm_sweep.diagnosis.statistics import rolling_median, tail
from hrm_sweep.runs import Cause
from hrm_sweep.runs.formats import Curves

EXPLODED_OVER_BEST = 3.0  # docs/thresholds.md, exploding_loss
EXPLODED_OVER_GUESSING = 1.5
SMOOTHED_ROWS = 5
SPIKE_NEIGHBOURS = 20
SPIKE_OVER_NEIGHBOURS = 2.0
SPIKE_LEAST = 0.1
MAX_SPIKES = 2


@rule(
    severity=Severity.ERROR,
    fatal=True,
    causes=(
        "exploding_loss",
        "zero_exact_dead",
        "loss_not_decreasing",
        "no_optimizer_steps",
        "act_constant",
        "puzzle_embedding_poisoned",
        "crashed",
    ),
)
def non_finite(run: Evidence) -> Outcome:
    """A loss, a gradient or a weight is not a finite number.

    ## What it sees
    Every number of every train row and evaluation row, the cause of failure in status.json, and the weights of a
    reference checkpoint.

    ## Why it matters
    There is no clipping and no check in the reference: one NaN gradient makes every weight NaN at the next step
    (AdamATan2 and SignSGD both pass it on), and the run goes on to its end without learning anything.

    ## How it is decided
    One value that is NaN or infinite is enough. The finding names the first, and the last finite loss before it.

    ## When it stays quiet
    A value that is absent because nothing halted is not a NaN. An evaluation over no puzzles has no mean either; that
    is another fault, `empty_evaluation`.

    ## What to do
    Lower the learning rate to a third and warm up longer. When the model had nearly solved its training puzzles, stop
    earlier instead: late instability is known of small data sets. When it happens at the very first step, look at the
    data.

    ## Reference
    sapientinc/HRM pretrain.py (no clipping, no check) and README (late instability); "Ensure loss is not NaN or
    exploding" in the note Training Recommendations for HRM.
    """
    found = [
        EvidenceRow(f"weights of {name}", "NaN or infinite", each.step)
        for each in run.checkpoints
        for name, module in each.modules.items()
        if not module.finite
    ]
    found += _first_non_finite(run.rows, "train") + _first_non_finite(_with_puzzles(run.evaluations), "eval")
    found.sort(key=lambda row: row.step or 0)
    stopped = run.status is not None and run.status.cause is Cause.NAN
    if found or stopped:
        status = [EvidenceRow("cause in status.json", "nan", run.status.step)] if stopped and run.status else []
        first = found[0] if found else status[0]
        loss = run.rows.get("lm_loss")
        before = loss.finite().until((first.step or 0) - 1) if loss is not None else None
        last_good = (
            [EvidenceRow("lm_loss, last finite", before.last, before.last_step)]
            if before is not None and len(before)
            else []
        )
        return fired(
            f"{first.quantity} stopped being a finite number at step {first.step}. From there on no update means "
            "anything: NaN spreads to every weight within one step.",
            *found[:8],
            *status,
            *last_good,
            remedy=calmer(run),
        )
    if not len(run.rows) and not len(run.evaluations) and not run.checkpoints:
        raise MissingEvidence("metrics or readable checkpoints; the run has neither")
    return clear(
        f"Every recorded value is finite, in {len(run.rows)} train rows and {len(run.checkpoints)} checkpoints."
    )


def _first_non_finite(curves: Curves, kind: str) -> list[EvidenceRow]:
    rows = []
    for name, series in curves.columns.items():
        bad = ~np.isfinite(series.value)
        if bad.any():
            at = int(np.argmax(bad))
            rows.append(EvidenceRow(f"{kind} {name}", float(series.value[at]), int(series.step[at])))
    return rows


def _with_puzzles(evaluations: Curves) -> Curves:
    """Evaluation rows in which puzzles were counted: means over nothing are not numbers, and not this fault."""
    count = evaluations.get("count")
    if count is None:
        return evaluations
    counted = set(count.step[count.value > 0].tolist())
    columns = {name: series.where(np.isin(series.step, list(counted))) for name, series in evaluations.columns.items()}
    return Curves(evaluations.step, evaluations.epoch, evaluations.time_s, columns)


@rule(severity=Severity.ERROR, causes=("zero_exact_dead",))
def exploding_loss(run: Evidence) -> Outcome:
    """The loss climbed far above what it had reached and stays there.

    ## What it sees
    `lm_loss` of the train rows, as the median of neighbouring rows, from the first row to the last.

    ## Why it matters
    A loss above that of guessing means that the weights have been thrown somewhere from which training does not
    come back.

    ## How it is decided
    It fires when the last 5 % of the run (at least 5 rows) lie above 3 times the lowest smoothed loss before them *and*
    above 1.5 times the loss of a uniform guess, ln(vocabulary). AdamATan2 bounds every step, so a large gradient does
    not show as a large update: only the loss tells.

    ## When it stays quiet
    A spike from which the run recovers is no explosion. The plateau of a healthy run, which may last half of it, lies
    far below a guess. The loss of the Q heads may rise: it begins near 0 and grows once puzzles are solved.

    ## What to do
    Lower the learning rate to a third, or warm up longer.

    ## Reference
    docs/thresholds.md; "Ensure loss is not NaN or exploding" in the note Training Recommendations for HRM.
    """
    if run.told_by_checkpoints("lm_loss"):
        return _exploded_checkpoint(run)
    loss = run.train("lm_loss").finite()
    if len(loss) < 2 * SMOOTHED_ROWS:
        raise MissingEvidence(f"{2 * SMOOTHED_ROWS} train rows with a finite lm_loss; found {len(loss)}")
    end = tail(loss, 0.05, least=SMOOTHED_ROWS)
    now = float(np.median(end.value))
    smoothed = rolling_median(loss.value, SMOOTHED_ROWS)
    best = float(smoothed.min())
    guessing = run.data.uniform_loss if run.data is not None else float(loss.value[0])
    line = max(EXPLODED_OVER_BEST * best, EXPLODED_OVER_GUESSING * guessing)
    row = EvidenceRow.above("lm_loss, median of the end", now, line, loss.last_step)
    lowest = EvidenceRow("lm_loss, lowest", best, int(loss.step[min(len(loss) - 1, int(np.argmin(smoothed)) + 2)]))
    if now > line and math.isfinite(line):
        return fired(
            f"The loss over the cells stands at {now:.3g}. It had been {best:.3g}, and a guess costs {guessing:.3g}: "
            "the weights were thrown out of the region in which they learned.",
            row,
            lowest,
            remedy=calmer(run),
        )
    return clear(f"The loss over the cells ends at {now:.3g}; the line is {line:.3g}.", row, lowest)


def _exploded_checkpoint(run: Evidence) -> Outcome:
    """Checkpoints have no history of the loss: only a loss on training puzzles far above guessing tells."""
    loss, guessing = run.evaluated("trained.lm_loss"), run.facts.uniform_loss
    row = EvidenceRow.above("lm_loss on training puzzles", loss.last, EXPLODED_OVER_GUESSING * guessing, loss.last_step)
    if loss.last <= EXPLODED_OVER_GUESSING * guessing or not math.isfinite(loss.last):
        return clear(f"On training puzzles the loss is {loss.last:.3g}; a guess costs {guessing:.3g}.", row)
    return fired(
        f"On its own training puzzles the checkpoint has a loss of {loss.last:.3g}; a guess costs {guessing:.3g}.",
        row,
        remedy=calmer(run),
    )


@rule(severity=Severity.ADVICE)
def loss_spikes(run: Evidence) -> Outcome:
    """The loss jumps up again and again, and comes back.

    ## What it sees
    `lm_loss` of each train row, against the median of the ten rows on both sides of it.

    ## Why it matters
    A run that is thrown back now and then is close to the learning rate at which it would not come back.

    ## How it is decided
    It fires, as advice, when at least 3 rows after the warm-up stand at more than twice the median of their
    neighbourhood and above the loss of the first row's tenth part.

    ## When it stays quiet
    One or two spikes are nothing. Rising Q losses are no spikes. A jump that stays is `exploding_loss`.

    ## What to do
    Lower the learning rate by a third, or warm up longer.

    ## Reference
    docs/thresholds.md; "Reduce if loss explodes" in the note Training Recommendations for HRM.
    """
    loss = run.train("lm_loss").finite().after(run.config.lr_warmup_steps)
    if len(loss) < SPIKE_NEIGHBOURS:
        raise MissingEvidence(f"{SPIKE_NEIGHBOURS} train rows after the warm-up; found {len(loss)}")
    half = SPIKE_NEIGHBOURS // 2
    around = rolling_median(np.pad(loss.value, half, mode="edge"), 2 * half + 1)
    floor = SPIKE_LEAST * float(run.train("lm_loss").finite().value[0])
    spikes = (loss.value > SPIKE_OVER_NEIGHBOURS * around) & (loss.value > floor)
    row = EvidenceRow.above(
        "rows at more than twice the median around them", int(spikes.sum()), MAX_SPIKES, loss.last_step
    )
    if spikes.sum() <= MAX_SPIKES:
        return clear(f"{int(spikes.sum())} of {len(loss)} rows stand out.", row)
    worst = int(np.argmax(np.where(spikes, loss.value / around, 0)))
    return fired(
        f"The loss over the cells jumped up {int(spikes.sum())} times and came back.",
        row,
        EvidenceRow.above(
            "lm_loss, worst spike",
            float(loss.value[worst]),
            float(SPIKE_OVER_NEIGHBOURS * around[worst]),
            int(loss.step[worst]),
        ),
        remedy=scaled_lr(run.config, 2 / 3),
    )
