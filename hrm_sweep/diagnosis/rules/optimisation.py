"""Optimization: whether the run takes steps at all, and whether its learning rate ever gets anywhere."""

from __future__ import annotations

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Overrides, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.runs import State

STEPS_TAKEN_SHARE = 0.1  # anchors 3c H14
USUAL_WARMUP_SHARE = 0.05
HALF_OF_NOMINAL = 0.5


@rule(severity=Severity.ERROR, causes=("zero_exact_dead", "warmup_never_ends"))
def no_optimizer_steps(run: Evidence) -> Outcome:
    """The run takes no optimizer steps, or hardly any of those it planned.

    ## What it sees
    The number of steps taken, the number planned, and whether the run has ended.

    ## Why it matters
    A batch that is not full is dropped, silently in the reference. When one evaluation interval holds fewer rows than a
    batch, every batch is dropped: the run ends at once, without an error and without having learned anything.

    ## How it is decided
    It fires when the plan has no step in an evaluation interval, when a run has ended without a step, or when a run
    that says it is completed took less than a tenth of its planned steps.

    ## When it stays quiet
    A run that was stopped, pruned or killed has fewer steps than planned for another reason. A live run may be about
    to take its first step.

    ## What to do
    Lower global_batch_size, or raise eval_interval so that an interval holds at least one batch.

    ## Reference
    hrm-facts 2 (zero or truncated training), anchors 3b.8 and 3c H14; sapientinc/HRM puzzle_dataset._iter_train.
    """
    plan = run.known_plan
    if plan is not None and (plan.steps_per_interval == 0 or plan.trained_steps == 0):
        return fired(
            "One evaluation interval holds fewer rows than one batch. The last batch of an interval is dropped when it "
            "is not full, so every batch is dropped and nothing is ever trained.",
            EvidenceRow.below("planned optimizer steps", plan.trained_steps, 1),
            *_batch_rows(run),
            remedy=_smaller_batch(run),
        )
    steps = run.steps_done
    ended = run.is_ended or (run.is_reference and bool(run.recorded.weights))
    if steps == 0 and ended:
        return fired(
            "The run has ended without a single optimizer step.",
            EvidenceRow.below("optimizer steps", 0, 1, 0),
            remedy=_smaller_batch(run),
        )
    if plan is None and steps == 0:
        raise MissingEvidence(f"the number of steps taken or planned: {run.data_problem or 'there is neither'}")
    if plan is None:
        return clear(f"{steps} optimizer steps were taken.", EvidenceRow.below("optimizer steps", steps, 1, steps))
    row = EvidenceRow.below("optimizer steps", steps, STEPS_TAKEN_SHARE * plan.trained_steps, steps)
    completed = run.status is not None and run.status.state is State.COMPLETED
    solved = run.config.stop_when_solved is not None
    if completed and not solved and steps < STEPS_TAKEN_SHARE * plan.trained_steps:
        return fired(
            f"The run calls itself completed after {steps} of {plan.trained_steps} planned steps.",
            row,
            EvidenceRow("planned optimizer steps", plan.trained_steps),
        )
    if steps == 0:
        raise MissingEvidence("a first train row: the run has just begun")
    return clear(f"{steps} of {plan.trained_steps} planned optimizer steps were taken.", row)


def _batch_rows(run: Evidence) -> list[EvidenceRow]:
    if run.data is None:
        return []
    rows = run.config.eval_interval * run.data.total_groups * run.data.mean_puzzle_examples
    return [EvidenceRow.above("global_batch_size, against rows in an interval", run.config.global_batch_size, rows)]


def _smaller_batch(run: Evidence) -> Overrides | None:
    """A batch of which an epoch holds ten, or the whole run as one interval when even that is not enough."""
    if run.data is None or run.recorded.config is None:
        return None
    rows = int(run.data.total_groups * run.data.mean_puzzle_examples)
    batch = 2 ** max(0, (rows // 10).bit_length() - 1)
    if batch < 1 or batch >= run.config.global_batch_size:
        return None
    return {"global_batch_size": batch}


@rule(severity=Severity.WARNING, causes=("zero_exact_dead",))
def warmup_never_ends(run: Evidence) -> Outcome:
    """The warm-up is as long as the run or longer, so the learning rate never reaches its nominal value.

    ## What it sees
    lr_warmup_steps against the number of steps that the run takes.

    ## Why it matters
    The published recipes warm up for 2000 of 26,041 steps. An epoch of a thousand puzzles at batch 256 is 4 steps: a
    run of 100 such epochs ends at step 390, with a fifth of the learning rate it was given. Its 0 % says nothing about
    ACT steps or cycles.

    ## How it is decided
    It fires when lr_warmup_steps is at least the number of steps the run takes: as an error when the highest learning
    rate stays under half of the nominal one, otherwise as a warning.

    ## When it stays quiet
    A warm-up that takes half of the run is a choice. A live run inside its warm-up is where it should be, as long as
    its plan leads out of it.

    ## What to do
    Warm up for about a twentieth of the run, or train longer.

    ## Reference
    hrm-facts 0.2, 2 (run ends inside warm-up) and implication 6; anchors 3c H16.
    """
    warmup = run.config.lr_warmup_steps
    plan = run.known_plan
    if plan is None:
        if run.steps_done > warmup:
            return clear(
                f"The warm-up of {warmup} steps is over: the run is at step {run.steps_done}.",
                EvidenceRow.above("lr_warmup_steps", warmup, run.steps_done),
            )
        plan = run.plan  # raises, and says what is missing
    if plan.trained_steps == 0:
        raise MissingEvidence("a run that takes steps; see no_optimizer_steps")
    row = EvidenceRow.above("lr_warmup_steps", warmup, plan.trained_steps)
    if warmup < plan.trained_steps:
        return clear(f"The warm-up of {warmup} steps ends inside the run of {plan.trained_steps}.", row)
    reached = min(1.0, plan.trained_steps / warmup) if warmup else 1.0
    return fired(
        f"The run takes {plan.trained_steps} steps and warms up for {warmup}, so its learning rate ends at "
        f"{reached:.0%} of the nominal one. Whatever it shows, it shows about a much smaller learning "
        "rate than the one it was given.",
        row,
        EvidenceRow("highest lr reached", run.config.lr * reached, plan.trained_steps, run.config.lr),
        remedy={"lr_warmup_steps": max(1, int(plan.trained_steps * USUAL_WARMUP_SHARE))},
        severity=Severity.ERROR if reached < HALF_OF_NOMINAL else Severity.WARNING,
    )
