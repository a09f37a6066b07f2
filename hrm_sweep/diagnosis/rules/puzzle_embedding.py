"""The puzzle embedding: a table of zeros that only its own optimizer moves, and that generic tools do not see."""

from __future__ import annotations

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import usual_puzzle_emb_lr

MIN_VISITED_STEPS = 20  # docs/thresholds.md, frozen_puzzle_embedding
MOVED_SHARE = 0.01
BY_CONFIGURATION = "The puzzle embedding is frozen by configuration: puzzle_emb_lr is 0"


@rule(severity=Severity.ERROR, fatal=True, causes=("zero_exact_dead", "loss_not_decreasing"))
def frozen_puzzle_embedding(run: Evidence) -> Outcome:
    """The puzzle embedding never moves.

    ## What it sees
    How far the visited rows of the embedding moved in each train row, against the sum of the learning rates in it; in
    a run of the reference, whether the table is still zero, or unchanged between two checkpoints.

    ## Why it matters
    The embedding is a buffer that starts at exactly zero, and only its own optimizer (SignSGD) writes to it. Left out
    of that optimizer, or with its learning rate at 0, the Q head and every cell read a constant where the puzzle
    should stand. No check of parameters and gradients sees it, because it is no parameter.

    ## How it is decided
    SignSGD moves every coordinate of a visited row by exactly the learning rate at each visit, so in a healthy run the
    movement is the sum of the learning rates (0.99 to 1.01 of it, measured). It fires as an error when puzzle_emb_lr is
    above 0 and, over at least 20 steps with visits, the rows moved by less than a hundredth of that. With
    puzzle_emb_lr 0 and an embedding present it fires as a warning: it was asked for, but the published recipes all
    train it.

    ## When it stays quiet
    Rows that were never visited may be zero. A set with one puzzle identifier (sudoku, mazes) has one row, so its
    variance across puzzles is 0 by construction and says nothing. Without an embedding (puzzle_emb_ndim 0) there is
    nothing to freeze; see `puzzle_embedding_disabled`.

    ## What to do
    Set puzzle_emb_lr; the published recipes use lr for sudoku and mazes and 1e-2 for ARC. If it is set, the optimizer
    does not get the table: it is a buffer, so it must be passed by `buffers()`, not by `parameters()`.

    ## Reference
    sapientinc/HRM models/sparse_embedding.py, and sapientinc/HRM#49; "Puzzle embeddings showing variance" and "should
    have non-zero gradients" in the note Training Recommendations for HRM.
    """
    config = run.config
    if config.arch.puzzle_emb_ndim == 0:
        return clear("There is no puzzle embedding (puzzle_emb_ndim 0), so none can be frozen.")
    if config.puzzle_emb_lr == 0:
        return fired(
            "The model has a puzzle embedding, but its learning rate is 0, so it stays at the zeros it started from. "
            "Training works without it, slower on sudoku and badly on ARC; if that is what is wanted, "
            "arch.puzzle_emb_ndim=0 leaves it out and saves its slot.",
            EvidenceRow("puzzle_emb_lr", 0.0, None, 0.0, 0.0),
            *_zero_tables(run),
            remedy={"puzzle_emb_lr": usual_puzzle_emb_lr(run)},
            severity=Severity.WARNING,
            title=BY_CONFIGURATION,
        )
    return _frozen_in_checkpoints(run) if run.is_reference else _frozen_in_rows(run)


def _frozen_in_rows(run: Evidence) -> Outcome:
    embedding = run.train_groups("puzzle_emb")
    moved, expected = embedding.get("mean_abs_movement"), embedding.get("expected_movement")
    if moved is None or expected is None:
        raise MissingEvidence("puzzle_emb.mean_abs_movement and puzzle_emb.expected_movement in the train rows")
    rows = run.rows.step
    length = np.diff(rows, prepend=0)  # a row covers the steps since the row before it
    movement, allowed = moved.at(rows), expected.at(rows)
    visited = embedding["rows_visited"].at(rows) > 0 if "rows_visited" in embedding else np.ones(len(rows), dtype=bool)
    judged = visited & np.isfinite(movement) & (allowed > 0)
    steps = int(length[judged].sum())
    if steps < MIN_VISITED_STEPS:
        raise MissingEvidence(f"{MIN_VISITED_STEPS} steps in which the puzzle embedding is visited; found {steps}")
    total, possible = float(movement[judged].sum()), float(allowed[judged].sum())
    row = EvidenceRow.below(
        "puzzle_emb movement, as a share of the sum of its learning rates",
        total / possible,
        MOVED_SHARE,
        moved.last_step,
    )
    if total >= MOVED_SHARE * possible:
        return clear(f"The visited rows moved by {total:.3g} in {steps} steps.", row)
    gradient = embedding.get("grad_norm")
    no_gradient = gradient is not None and len(gradient) > 0 and not np.any(gradient.value)
    why = (
        "It receives no gradient: the rows of the batch are not connected to the loss."
        if no_gradient
        else "It receives a gradient, so its optimizer does not write to it: it is a buffer and has to be given to it."
    )
    return fired(
        f"In {steps} steps with a learning rate above 0 the visited rows of the puzzle embedding moved by {total:.2g}, "
        f"although these steps should move every coordinate by {possible:.2g} in sum. {why}",
        row,
        EvidenceRow("puzzle_emb.expected_movement, sum", possible, moved.last_step),
        *([EvidenceRow("puzzle_emb.grad_norm", gradient.last, gradient.last_step)] if gradient is not None else []),
    )


def _frozen_in_checkpoints(run: Evidence) -> Outcome:
    tables = [
        (each.step, each.modules["puzzle_emb"]) for each in run.need_checkpoints(1) if "puzzle_emb" in each.modules
    ]
    if not tables:
        raise MissingEvidence("a puzzle embedding in the checkpoints, which the configuration promises")
    step, last = tables[-1]
    if step < MIN_VISITED_STEPS:
        raise MissingEvidence(f"a checkpoint at step {MIN_VISITED_STEPS} or later; the last is at step {step}")
    rows = [
        EvidenceRow.below("puzzle_emb, largest absolute weight", table.max_abs, run.config.puzzle_emb_lr / 100, at)
        for at, table in tables
    ]
    still_zero = last.max_abs == 0
    if still_zero or last.moved == 0:
        found = "is still exactly zero" if still_zero else "has not changed by a bit since the checkpoint before"
        return fired(
            f"At step {step} the puzzle embedding {found}, although puzzle_emb_lr is {run.config.puzzle_emb_lr:g}: "
            "each step should have moved every coordinate of the visited rows. Its optimizer does not write to it.",
            *rows,
        )
    return clear(f"The puzzle embedding has left zero (largest weight {last.max_abs:.3g} at step {step}).", *rows)


def _zero_tables(run: Evidence) -> list[EvidenceRow]:
    return [
        EvidenceRow("puzzle_emb, largest absolute weight", each.modules["puzzle_emb"].max_abs, each.step)
        for each in run.checkpoints
        if "puzzle_emb" in each.modules
    ]


@rule(severity=Severity.INFO)
def puzzle_embedding_disabled(run: Evidence) -> Outcome:
    """The model has no puzzle embedding.

    ## What it sees
    arch.puzzle_emb_ndim.

    ## Why it matters
    The embedding takes the first position of the sequence, and the Q head reads that position. Without it the Q head
    reads the first cell of the puzzle, and tasks that differ by their identifier (ARC) cannot be told apart.

    ## How it is decided
    It fires, as information, when puzzle_emb_ndim is 0.

    ## When it stays quiet
    With any width above 0, whether it is trained or not: see `frozen_puzzle_embedding`.

    ## What to do
    Leave arch.puzzle_emb_ndim out: it then equals hidden_size.

    ## Reference
    sapientinc/HRM hrm_act_v1.py reads q_head at position 0; its pretrain.py does not start without the embedding.
    """
    width = run.config.arch.puzzle_emb_ndim
    row = EvidenceRow.below("arch.puzzle_emb_ndim", width, 1)
    if width:
        return clear(f"The puzzle embedding is {width} wide.", row)
    return fired(
        "There is no puzzle embedding: the Q head reads the first cell of the puzzle instead.",
        row,
        remedy={"arch.puzzle_emb_ndim": run.config.arch.hidden_size},
    )


@rule(severity=Severity.ERROR, causes=("zero_exact_dead",))
def puzzle_embedding_poisoned(run: Evidence) -> Outcome:
    """The puzzle embedding holds values that are not finite.

    ## What it sees
    The largest value and the movement of the visited rows in the train rows; in a run of the reference, the table.

    ## Why it matters
    SignSGD takes the sign of the gradient, and the sign of NaN is NaN: one bad gradient poisons the row for good. On
    ARC only the puzzles of that row are lost, and the loss of all others looks fine.

    ## How it is decided
    One value that is NaN or infinite is enough.

    ## When it stays quiet
    Without an embedding.

    ## What to do
    Start again from a checkpoint before that step. What came first is named by `non_finite`.

    ## Reference
    sapientinc/HRM models/sparse_embedding.py (sign of the gradient, without a check).
    """
    if run.config.arch.puzzle_emb_ndim == 0:
        return clear("There is no puzzle embedding (puzzle_emb_ndim 0).")
    bad: list[EvidenceRow] = []
    if run.is_reference:
        tables = [(each.step, each.modules.get("puzzle_emb")) for each in run.need_checkpoints(1)]
        bad = [
            EvidenceRow("puzzle_emb", "NaN or infinite", step) for step, table in tables if table and not table.finite
        ]
    else:
        for name, series in run.train_groups("puzzle_emb").items():
            wrong = ~np.isfinite(series.value)
            if wrong.any():
                at = int(np.argmax(wrong))
                bad.append(EvidenceRow(f"puzzle_emb.{name}", float(series.value[at]), int(series.step[at])))
    if not bad:
        return clear("Every value of the puzzle embedding that was seen is finite.")
    first = min(row.step or 0 for row in bad)
    return fired(f"The puzzle embedding is no longer finite since step {first}.", *bad)


@rule(severity=Severity.WARNING)
def puzzle_embedding_never_visited(run: Evidence) -> Outcome:
    """Rows of the puzzle embedding are never visited.

    ## What it sees
    How many rows of the embedding the batches visit; in a run of the reference with its data, the share of rows that
    have left zero, against the identifiers that the training puzzles carry.

    ## Why it matters
    A row that is never visited stays zero, and its puzzles meet a constant. It happens when identifiers and rows do not
    belong together.

    ## How it is decided
    It fires when at least 20 steps visited no row, or when a checkpoint that is an epoch old has moved fewer than half
    of the rows whose identifiers stand in the training set.

    ## When it stays quiet
    With one identifier there is one row, and it is visited. Identifiers that only the test set has are
    `blank_identifiers`.

    ## What to do
    Look at puzzle_identifiers of the data folder with `hrm-sweep data check DIR`.

    ## Reference
    sapientinc/HRM models/sparse_embedding.py: only the rows of a batch are written back.
    """
    if run.config.arch.puzzle_emb_ndim == 0:
        return clear("There is no puzzle embedding (puzzle_emb_ndim 0).")
    if run.is_reference:
        return _visited_in_checkpoints(run)
    visited = run.train_groups("puzzle_emb").get("rows_visited")
    if visited is None or visited.last_step < MIN_VISITED_STEPS:
        raise MissingEvidence(f"puzzle_emb.rows_visited over {MIN_VISITED_STEPS} steps")
    most = float(visited.value.max())
    row = EvidenceRow.below("puzzle_emb.rows_visited, most of any train row", most, 1, visited.last_step)
    if most > 0:
        return clear(f"Up to {most:.0f} row(s) are visited between two train rows.", row)
    return fired(f"In {visited.last_step} steps no row of the puzzle embedding was visited.", row)


def _visited_in_checkpoints(run: Evidence) -> Outcome:
    last = run.need_checkpoints(1)[-1]
    if last.puzzle_rows_moved is None:
        raise MissingEvidence("a puzzle embedding in the checkpoints")
    facts, plan = run.facts, run.plan
    moved = last.puzzle_rows_moved * facts.num_puzzle_identifiers
    row = EvidenceRow.below("rows of puzzle_emb that are not zero", moved, facts.train.identifiers / 2, last.step)
    epochs = last.step / max(1, plan.trained_steps) * run.config.epochs
    if moved == 0 or moved >= facts.train.identifiers / 2 or epochs < 1:
        return clear("Rows that were visited have moved, or none has: see frozen_puzzle_embedding.", row)
    return fired(
        f"After {epochs:.0f} epochs {moved:.0f} of the {facts.train.identifiers} rows that training puzzles carry "
        "have left "
        "zero.",
        row,
    )
