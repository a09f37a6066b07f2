"""Optimization: whether the run takes steps at all, and whether its learning rate ever gets anywhere."""

from __future__ import annotations

import math

from hrm_sweep.config import RunConfig
from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import smaller_batch, usual_lr
from hrm_sweep.diagnosis.signals import FIRST_THIRD, best_exact
from hrm_sweep.runs import State

STEPS_TAKEN_SHARE = 0.1
USUAL_WARMUP_SHARE = 0.05
HALF_OF_NOMINAL = 0.5
FEW_STEPS_AFTER_WARMUP = 200  # docs/thresholds.md, too_few_steps
LARGEST_STEP = 0.2  # lr * sqrt(hidden_size); docs/thresholds.md, lr_out_of_range
SMALLEST_TRAVEL = 0.2  # lr * sqrt(hidden_size) * steps
LARGEST_EMBEDDING_LR = 1.0
LEARNS_ANYWAY = 0.05
INERT_RUN_LENGTHS = 3.0


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
    sapientinc/HRM puzzle_dataset.py (_iter_train drops partial batches in every interval, without a message).
    """
    plan = run.known_plan
    if plan is not None and (plan.steps_per_interval == 0 or plan.trained_steps == 0):
        return fired(
            "One evaluation interval holds fewer rows than one batch. The last batch of an interval is dropped when it "
            "is not full, so every batch is dropped and nothing is ever trained.",
            EvidenceRow.below("planned optimizer steps", plan.trained_steps, 1),
            remedy=smaller_batch(run),
        )
    steps = run.steps_done
    ended = run.is_ended or (run.is_reference and bool(run.recorded.weights))
    if steps == 0 and ended:
        return fired(
            "The run has ended without a single optimizer step.",
            EvidenceRow.below("optimizer steps", 0, 1, 0),
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


@rule(severity=Severity.WARNING, causes=("zero_exact_dead", "loss_not_decreasing", "updates_out_of_range"))
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
    sapientinc/HRM config/cfg_pretrain.yaml (lr_warmup_steps 2000); "increasing warmup steps" in the note Training
    Recommendations for HRM, whose own commands end inside it: docs/advice.md.
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
        remedy={"lr_warmup_steps": int(plan.trained_steps * USUAL_WARMUP_SHARE)},
        severity=Severity.ERROR if reached < HALF_OF_NOMINAL else Severity.WARNING,
    )


@rule(severity=Severity.ADVICE)
def too_few_steps(run: Evidence) -> Outcome:
    """The run is too short to solve anything.

    ## What it sees
    The planned steps after the warm-up, and whether any puzzle was solved.

    ## Why it matters
    An epoch is no unit of training: at batch 768 an epoch of a thousand puzzles is 1.3 steps, and epoch 20 of the
    published sudoku recipe is step 26 of 26,041. Healthy runs of the smallest model solve their first puzzles after
    some hundred steps, of the published one after some thousand.

    ## How it is decided
    It fires when fewer than 200 steps are planned after the warm-up and no puzzle has been solved: as a warning once
    the run has ended, as advice before.

    ## When it stays quiet
    When a puzzle is solved. When the whole run lies inside its warm-up: that is `warmup_never_ends`.

    ## What to do
    Train for more epochs, or with a smaller batch and a learning rate lowered by the square root of the same factor.

    ## Reference
    The published recipe: sapientinc/HRM README. First solved puzzles: sapientinc/HRM#12 and docs/thresholds.md.
    """
    plan, warmup = run.plan, run.config.lr_warmup_steps
    after = plan.trained_steps - warmup
    row = EvidenceRow.below("planned steps after the warm-up", after, FEW_STEPS_AFTER_WARMUP)
    if after >= FEW_STEPS_AFTER_WARMUP:
        return clear(f"{after} steps are planned after the warm-up.", row)
    if after <= 0:
        return clear("No step is planned after the warm-up: see warmup_never_ends.", row)
    solved = best_exact(run)
    if solved:
        return clear("The run is short, but it solves puzzles.", row, EvidenceRow("best exact_accuracy", solved))
    return fired(
        f"After its warm-up the run takes {after} steps. Healthy runs of the smallest models need some hundred "
        "before they "
        "solve their first puzzle, the published model some thousand.",
        row,
        remedy={"epochs": run.config.epochs * max(2, -(-5 * FEW_STEPS_AFTER_WARMUP // max(1, plan.trained_steps)))},
        severity=Severity.WARNING if run.is_ended and solved is not None else Severity.ADVICE,
    )


@rule(
    severity=Severity.ERROR,
    causes=(
        "non_finite",
        "exploding_loss",
        "loss_spikes",
        "loss_not_decreasing",
        "zero_exact_dead",
        "updates_out_of_range",
        "act_constant",
        "act_collapsed",
        "q_diverging",
        "q_uninformative",
        "weight_decay_dominant",
        "plateau",
        "late_collapse",
        "frozen_module",
    ),
)
def lr_out_of_range(run: Evidence) -> Outcome:
    """The learning rate is far outside the range in which HRMs learn.

    ## What it sees
    lr, relative to the size of the weights (they begin at 1 / sqrt(hidden_size)), and how far it can carry them in the
    planned steps; puzzle_emb_lr by itself.

    ## Why it matters
    AdamATan2 moves every weight by up to lr x pi/4 a step, whatever the gradient. So lr x sqrt(hidden_size) is the
    share of a weight's size that one step changes: 0.002 in the published recipe, 0.008 in the smallest preset.

    ## How it is decided
    It fires when lr x sqrt(hidden_size) is above 0.2, or when lr is below that of a recipe and lr x sqrt(hidden_size) x
    planned steps is below 0.2, and fewer than 5 % of the puzzles were ever solved; also when puzzle_emb_lr is above 1.
    A run in its first third is warned, not condemned, since its configuration alone speaks.

    ## When it stays quiet
    A rate that learns is in range by definition. puzzle_emb_lr 0 is `frozen_puzzle_embedding`. A low rate during the
    warm-up is meant; a warm-up that never ends is `warmup_never_ends`. A usual rate that carries the weights nowhere
    because the run has few steps is `too_few_steps`.

    ## What to do
    Start from 1e-4 for the published size and 1e-3 for the smallest, and sweep a factor of ten to both sides.

    ## Reference
    Recipes: sapientinc/HRM README (1e-4 at batch 768, 7e-5 at 384, 3e-4 for the full set); olivkoch/nano-trm sweeps
    1e-4 to 1e-2; docs/thresholds.md.
    """
    config = run.config
    usual = usual_lr(run)
    if config.puzzle_emb_lr > LARGEST_EMBEDDING_LR and config.arch.puzzle_emb_ndim:
        return fired(
            f"puzzle_emb_lr {config.puzzle_emb_lr:g} moves every coordinate of the puzzle embedding by more than the "
            "size "
            "of a hidden unit at each step.",
            EvidenceRow.above("puzzle_emb_lr", config.puzzle_emb_lr, LARGEST_EMBEDDING_LR),
            remedy={"puzzle_emb_lr": 1e-2, **({"lr": usual} if _is_too_high(config) or _is_too_low(run) else {})},
        )
    step = step_share(config)
    rows = [EvidenceRow.above("lr x sqrt(hidden_size)", step, LARGEST_STEP)]
    if run.known_plan is not None:
        travel = step * run.known_plan.trained_steps
        rows.append(EvidenceRow.below("lr x sqrt(hidden_size) x planned steps", travel, SMALLEST_TRAVEL))
    elif step <= LARGEST_STEP and 0 < config.lr < usual:
        raise MissingEvidence("the planned number of steps, to see how far the learning rate carries the weights")
    too_high, too_low = _is_too_high(config), _is_too_low(run)
    solved = best_exact(run)
    if solved is not None:
        rows.append(EvidenceRow.below("best exact_accuracy", solved, LEARNS_ANYWAY, run.steps_done))
    if not (too_high or too_low) or (solved or 0.0) >= LEARNS_ANYWAY:
        return clear(f"lr {config.lr:g} is in range for hidden_size {config.arch.hidden_size}.", *rows)
    what = (
        f"Each step may change a weight by {step:.0%} of its size: the model jumps about instead of learning."
        if too_high
        else "In all its steps the run cannot move its weights by a noticeable share of their size."
    )
    if not too_high:
        rows = rows[1:]  # the bound on the other side
    return fired(
        f"lr {config.lr:g} is too {'high' if too_high else 'low'} for hidden_size {config.arch.hidden_size}. {what}",
        *rows,
        remedy={"lr": usual},
        severity=Severity.WARNING if run.known_plan and run.progress <= FIRST_THIRD else Severity.ERROR,
        title=f"The learning rate is far too {'high' if too_high else 'low'}",
    )


def step_share(config: RunConfig) -> float:
    """The share of a weight's size at the start that one step changes."""
    return config.lr * math.sqrt(config.arch.hidden_size)


def _is_too_high(config: RunConfig) -> bool:
    return step_share(config) > LARGEST_STEP


def _is_too_low(run: Evidence) -> bool:
    """Whether a rate below that of recipes cannot carry the weights anywhere in the planned steps, where known."""
    steps = run.known_plan.trained_steps if run.known_plan is not None else 0
    travels = steps > 0 and run.config.lr < usual_lr(run)
    return run.config.lr == 0 or (travels and step_share(run.config) * steps < SMALLEST_TRAVEL)


@rule(severity=Severity.INFO)
def weight_decay_inert(run: Evidence) -> Outcome:
    """Weight decay has no effect within this run.

    ## What it sees
    The time constant of decay, 1 / (lr x weight_decay) steps, against the planned steps.

    ## Why it matters
    Sweeping weight_decay over such a range sweeps nothing, and the published values say nothing at this length.

    ## How it is decided
    It fires, as information, when the time constant is more than 3 times the planned steps.

    ## When it stays quiet
    With weight_decay 0 there is none.

    ## What to do
    Nothing, unless weight_decay is swept: then tie it to lr x steps.

    ## Reference
    Published: 1e-4 x 1.0, so 10,000 steps of 26,041; arXiv 2506.21734 bounds weights by decay for stable Q-learning.
    """
    config, plan = run.config, run.plan
    if config.lr * config.weight_decay == 0:  # also where both are so small that their product is
        return clear("There is no weight decay.")
    constant = 1 / (config.lr * config.weight_decay)
    row = EvidenceRow.above("1 / (lr x weight_decay), steps", constant, INERT_RUN_LENGTHS * plan.trained_steps)
    if constant <= INERT_RUN_LENGTHS * plan.trained_steps:
        return clear(f"Weight decay acts within {constant:,.0f} steps.", row)
    return fired(
        f"Weight decay acts within {constant:,.0f} steps, and the run takes {plan.trained_steps:,}: it changes "
        "nothing here.",
        row,
    )
