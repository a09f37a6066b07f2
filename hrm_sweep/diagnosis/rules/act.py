"""Adaptive computation: how many ACT steps a puzzle gets before it halts. Never judged on evaluation rows of ours,
because an evaluation always runs all of them."""

from __future__ import annotations

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import exploration
from hrm_sweep.diagnosis.signals import (
    first_halts,
    halting_exact,
    halting_exact_rise,
    is_mature,
    progress_row,
    recent_halts,
)

CONSTANT_SHARE = 0.995  # docs/thresholds.md, act_constant
SOLVED_BEFORE_JUDGED = 0.5
CONSTANT_Q_STD = 0.02
MIN_HALTED = 200
FEWEST_STEPS_TO_VARY = 3  # halt_max_steps; docs/thresholds.md, act_constant
AT_ONCE_STEPS = 1.2  # always halting at once gives 1.11 under the published exploration
SOLVED_AT_ONCE = 0.5
SOLVED_TO_MIND = 0.2  # docs/thresholds.md, act_collapsed
STILL_RISING = 0.03
LOST_BY_FURTHER_STEPS = 0.08  # docs/thresholds.md, act_collapsed, from a checkpoint
KEPT_BY_ALL_STEPS = 0.1  # docs/thresholds.md, act_collapsed
JUDGED_EVALUATIONS = 3
FIRST_ROWS = 3
EXPLORATION_NEEDED_AT = 0.2  # docs/thresholds.md, act_exploration_off


@rule(severity=Severity.WARNING)
def act_constant(run: Evidence) -> Outcome:
    """Every puzzle gets the same number of ACT steps although the model solves many of them.

    ## What it sees
    The histogram of ACT steps at halting and the exact accuracy of the train rows, over the last fifth of the run.

    ## Why it matters
    The Q head is there to stop early on easy puzzles and to go on with hard ones. When it always runs to
    halt_max_steps, each slot sees new data only once in halt_max_steps steps, and nothing adaptive is learned.

    ## How it is decided
    It fires when, over the last fifth of the run, at least 99.5 % of at least 200 halted slots halted after one and the
    same number of steps above 1, while at least half of them were solved. A healthy reference run would halt 96 % of
    its puzzles at the maximum when 46 % of them are solved, so less than that is no sign. A checkpoint of the
    reference is judged by where it would halt, and only called constant when q_halt itself hardly varies.

    ## When it stays quiet
    Nothing halts before halt_max_steps at the start, by design: the Q head begins with q_halt = q_continue = -5. The
    published run stayed near the maximum for about ten thousand steps while it learned. So the rule waits until
    puzzles are solved. Evaluation rows are never judged, they always run halt_max_steps. With halt_max_steps 1 there
    is nothing to adapt. With halt_max_steps 2 there is next to nothing, and healthy runs often take both steps
    throughout while they solve 50 to 85 % of their puzzles: then it is advice.

    ## What to do
    Set arch.halt_exploration_prob to 0.1 when it is 0. Otherwise look at the Q head: `frozen_q_head` and
    `q_continue_unsettled` say whether it learns. With halt_max_steps 2, allow 4 or 8 if halting is to be adaptive.

    ## Reference
    sapientinc/HRM#12 (curve of a run that reached 57 %) and hrm_act_v1.py (start of the Q head); "Verify ACT is using
    variable steps" in the note Training Recommendations for HRM.
    """
    limit = run.config.arch.halt_max_steps
    if limit == 1:
        return clear("halt_max_steps is 1: one ACT step by configuration, so there is nothing to adapt.")
    commonest, share, step = _commonest_halt(run)
    solved = halting_exact(run)
    rows = [
        EvidenceRow.above(f"share of slots that halt after {commonest} ACT steps", share, CONSTANT_SHARE, step),
        EvidenceRow.above("exact_accuracy at halting", solved, SOLVED_BEFORE_JUDGED, step),
    ]
    if share < CONSTANT_SHARE or commonest == 1:
        return clear(f"ACT steps vary: the commonest number, {commonest}, is taken by {share:.0%} of the slots.", *rows)
    if solved < SOLVED_BEFORE_JUDGED:
        return clear(
            f"{share:.0%} of the slots halt after {commonest} steps, but only {solved:.1%} of the puzzles are solved: "
            "at this stage healthy runs do the same.",
            *rows,
        )
    if run.is_reference:
        spread = run.evaluated("q_halt_std")
        rows.append(EvidenceRow.below("q_halt_std", spread.last, CONSTANT_Q_STD, spread.last_step))
        if spread.last > CONSTANT_Q_STD:
            return clear("The last checkpoint rarely halts early, but its q_halt varies from puzzle to puzzle.", *rows)
    if not _can_vary(run):
        return fired(
            f"{share:.1%} of the slots take both ACT steps while {solved:.0%} of the puzzles are solved. With two "
            "steps there is next to nothing to adapt, and runs that work well do this.",
            *rows,
            remedy=exploration(run),
            severity=Severity.ADVICE,
            title="Both of the two ACT steps are always taken",
        )
    return fired(
        f"{share:.1%} of the slots halt after {commonest} of {limit} steps while {solved:.0%} of the puzzles are "
        "solved: the Q head does not tell solved puzzles from unsolved ones.",
        *rows,
        remedy=exploration(run),
    )


@rule(severity=Severity.WARNING, causes=("q_uninformative", "zero_exact_dead"))
def act_collapsed(run: Evidence) -> Outcome:
    """Every puzzle halts after its first ACT step.

    ## What it sees
    The histogram of ACT steps at halting and the exact accuracy of the train rows, over the last fifth of the run and
    in its first rows.

    ## Why it matters
    A model that halts at once is trained on its first step only: it never learns to go on, and halt_max_steps is a
    number without effect.

    ## How it is decided
    A Q head that always halts gives 1.11 steps on average under the published exploration, because exploration is drawn
    anew at every step. It fires when the last fifth has at most 1.2 steps and the very first rows had too, which a
    Q head that starts at -5 / -5 cannot do; or, past the first third of a run, when the last fifth has and fewer than
    half of the halted puzzles are solved. The latter is a warning when 20 to 50 % are solved and that share is not 3
    points above what it was in the middle of the run; otherwise it is information: slow, healthy runs pass through it.
    Where more are solved, it is a warning only when evaluations, which run all steps, solve less than a tenth of what
    training solves at its first step: no step but the first was learned. For the same reason a checkpoint of the
    reference that would halt at once is only blamed when its cells are 8 points worse after halt_max_steps than after
    one step. Sound ones lose 7 at most.

    ## When it stays quiet
    In the first third, unless the first rows halted at once: the published run was low for some thousand steps. When
    most puzzles are solved in one step, one step is the right number. A run that started by halting at once and
    grew out of it is clear: training pushes q_halt down as long as nothing is solved. With halt_max_steps 1 there is
    no other number. In a single checkpoint q_halt and q_continue lie so close that healthy runs often would halt at
    once.

    ## What to do
    Raise arch.halt_exploration_prob. If the first rows halt at once, look at the start values of the Q head.

    ## Reference
    The update of the minimum at every step: sapientinc/HRM hrm_act_v1.py. Published curve: sapientinc/HRM#12.
    """
    if run.config.arch.halt_max_steps == 1:
        return clear("halt_max_steps is 1: one ACT step by configuration.")
    _, _, step = _commonest_halt(run)
    mean = _mean_steps(recent_halts(run))
    solved = halting_exact(run)
    rows = [
        EvidenceRow.below("act_steps, mean of the last fifth", mean, AT_ONCE_STEPS, step),
        EvidenceRow.below("exact_accuracy at halting", solved, SOLVED_AT_ONCE, step),
    ]
    if mean > AT_ONCE_STEPS:
        return clear(f"Puzzles take {mean:.1f} ACT steps on average.", *rows)
    if run.is_reference:
        return _only_the_first_step_trained(run, rows)
    first = first_halts(run, FIRST_ROWS)
    from_the_start = bool(first.sum()) and _mean_steps(first) <= AT_ONCE_STEPS
    if from_the_start:
        rows.append(EvidenceRow.below("act_steps, mean of the first rows", _mean_steps(first), AT_ONCE_STEPS))
    if not from_the_start and not is_mature(run):
        return clear("Puzzles halt at once, but the run is in its first third, in which that happens.", *rows)
    kept = _kept_by_all_steps(run, solved)
    if kept is not None and kept < KEPT_BY_ALL_STEPS:
        return fired(
            f"{solved:.0%} of the training puzzles are solved at their first ACT step, and hardly any test puzzle when "
            f"an evaluation runs all {run.config.arch.halt_max_steps}: no step but the first was learned.",
            *rows,
            EvidenceRow.below("eval exact_accuracy, best of the last three, over train", kept, KEPT_BY_ALL_STEPS, step),
            remedy=exploration(run),
        )
    if not from_the_start and solved >= SOLVED_AT_ONCE:
        return clear(f"Puzzles halt at once, and {solved:.0%} of them are solved by then.", *rows)
    found = f"The model halts after {mean:.2f} ACT steps on average"
    if from_the_start:
        return fired(f"{found}, from its very first rows on.", *rows, remedy=exploration(run))
    rise = halting_exact_rise(run)
    rows.append(EvidenceRow.below("exact_accuracy at halting, above the middle of the run", rise, STILL_RISING, step))
    if solved < SOLVED_TO_MIND or rise > STILL_RISING:
        why = "few puzzles are solved yet" if solved < SOLVED_TO_MIND else "more puzzles are solved than before"
        return fired(
            f"{found}, and {why}: slow, healthy runs pass through this.",
            *rows,
            severity=Severity.INFO,
            title="Puzzles halt at once, at a stage at which that is no fault",
        )
    return fired(f"{found}, although most puzzles are not solved by then.", *rows, remedy=exploration(run))


def _kept_by_all_steps(run: Evidence, solved: float) -> float | None:
    """What evaluations, with all ACT steps, solve as a share of what train rows solve at halting; None where the latter
    is little, or nothing was evaluated lately."""
    exact = run.evaluations.get("exact_accuracy")
    recent = None if exact is None else exact.finite().after(exact.last_step / 2 if len(exact) else 0)
    if recent is None or len(recent) < JUDGED_EVALUATIONS or solved < SOLVED_AT_ONCE:
        return None
    return float(recent.value[-JUDGED_EVALUATIONS:].max()) / solved


def _only_the_first_step_trained(run: Evidence, rows: list[EvidenceRow]) -> Outcome:
    """Of a checkpoint that would halt at once: whether further steps do harm."""
    after_one = run.evaluated("accuracy_by_act_steps.1")
    after_all = run.evaluated(f"accuracy_by_act_steps.{run.config.arch.halt_max_steps}")
    lost = after_one.last - after_all.last
    rows.append(
        EvidenceRow.above("accuracy lost by further ACT steps", lost, LOST_BY_FURTHER_STEPS, after_one.last_step)
    )
    if lost < LOST_BY_FURTHER_STEPS:
        return clear("The checkpoint would halt at once, and does no worse when it goes on.", *rows)
    return fired(
        f"The checkpoint would halt at once, and going on spoils what it has: {after_one.last:.0%} of the cells are "
        f"right after one ACT step, {after_all.last:.0%} after {run.config.arch.halt_max_steps}. No step but the first "
        "was trained.",
        *rows,
        remedy=exploration(run),
    )


@rule(severity=Severity.ADVICE)
def act_single_step(run: Evidence) -> Outcome:
    """The configuration allows one ACT step only.

    ## What it sees
    arch.halt_max_steps.

    ## Why it matters
    With one step there is no adaptive computation and no q_continue loss; what the model can do in depth is
    H_cycles x L_cycles. Hard puzzles need more: on ARC two steps were worth 13 points over one.

    ## How it is decided
    It fires, as advice, when halt_max_steps is 1.

    ## When it stays quiet
    With 2 or more. It is never more than advice: a run with one step solved 42 % of 4x4 sudoku in 624 optimizer steps,
    faster than one with eight.

    ## What to do
    Try 4 or 8. A training step costs twice as much then, because of the second forward pass for the Q target, and does
    not cost more with 16; only evaluation does.

    ## Reference
    arcprize.org/blog/hrm-analysis; "2-4: Too few for Sudoku" in the note Training
    Recommendations for HRM.
    """
    limit = run.config.arch.halt_max_steps
    row = EvidenceRow.below("arch.halt_max_steps", limit, 2)
    if limit > 1:
        return clear(f"Up to {limit} ACT steps are allowed.", row)
    return fired(
        "There is one ACT step, so nothing adaptive is learned. That can be enough for easy puzzles.",
        row,
        remedy={"arch.halt_max_steps": 8},
    )


@rule(severity=Severity.ADVICE, causes=("act_constant", "act_collapsed", "q_uninformative", "zero_exact_dead"))
def act_exploration_off(run: Evidence) -> Outcome:
    """Exploration of ACT steps is switched off.

    ## What it sees
    arch.halt_exploration_prob, and whether the number of ACT steps varies.

    ## Why it matters
    Exploration forces a tenth of the slots to go on for longer. Without it a Q head that always decides the same is
    never shown anything else, and has no way out.

    ## How it is decided
    With exploration 0 and more than one step allowed it fires: as advice while the number of steps varies, as a warning
    when it has not varied over the last fifth of the run (99.5 % of at least 200 halted slots took the same number),
    past the first third, with at least 20 % of the halted puzzles solved and halt_max_steps above 2. A healthy run
    stayed at the maximum until 40 % of its steps, with 3 % solved, and varied later.

    ## When it stays quiet
    With any exploration above 0. With one ACT step there is nothing to explore.

    ## What to do
    Set arch.halt_exploration_prob to 0.1, the published value.

    ## Reference
    arXiv 2506.21734, section on adaptive computation; sapientinc/HRM config/arch/hrm_v1.yaml.
    """
    arch = run.config.arch
    row = EvidenceRow.below("arch.halt_exploration_prob", arch.halt_exploration_prob, 0.0)
    if arch.halt_exploration_prob > 0 or arch.halt_max_steps == 1:
        return clear("Exploration is on, or there is nothing to explore.", row)
    remedy = exploration(run)
    if recent_halts(run).sum() >= MIN_HALTED and not run.is_reference and is_mature(run):
        commonest, share, step = _commonest_halt(run)
        stuck = EvidenceRow.above(f"share of slots that halt after {commonest} ACT steps", share, CONSTANT_SHARE, step)
        varies = share < CONSTANT_SHARE
        if not varies and halting_exact(run) >= EXPLORATION_NEEDED_AT and _can_vary(run):
            return fired(
                f"Exploration is off and {share:.1%} of the slots take {commonest} ACT steps: the Q head is never "
                "shown anything else.",
                row,
                stuck,
                progress_row(run),
                remedy=remedy,
                severity=Severity.WARNING,
                title="Exploration of ACT steps is switched off and the number of steps is stuck",
            )
        how = "The number of ACT steps varies all the same" if varies else f"So far {share:.1%} take {commonest} steps"
        return fired(f"Exploration is off. {how}.", row, stuck, remedy=remedy)
    return fired("Exploration is off. It is too early to say whether that hurts.", row, remedy=remedy)


def _commonest_halt(run: Evidence) -> tuple[int, float, int]:
    """(ACT steps, share of the halted slots that took them, optimizer step). Raises MissingEvidence with few halts."""
    halts = recent_halts(run)
    if halts.sum() < MIN_HALTED:
        what = "evaluated puzzles" if run.is_reference else "halted slots with an ACT histogram in the last fifth"
        why = f" ({run.data_problem})" if run.is_reference and run.data_problem else ""
        raise MissingEvidence(f"{MIN_HALTED} {what}; found {halts.sum()}{why}")
    commonest = int(np.argmax(halts)) + 1
    curves = run.evaluations if run.is_reference else run.rows
    return commonest, float(halts[commonest - 1] / halts.sum()), int(curves.histogram_step[-1])


def _can_vary(run: Evidence) -> bool:
    return run.config.arch.halt_max_steps >= FEWEST_STEPS_TO_VARY


def _mean_steps(halts: np.ndarray) -> float:
    return float(halts @ np.arange(1, len(halts) + 1) / halts.sum())
