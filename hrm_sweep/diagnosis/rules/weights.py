"""Weights and their updates: a module that stands still, updates out of proportion, decay that eats everything."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hrm_sweep.diagnosis.checkpoints import MODULES
from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.movement import movement
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import HEALTHY_UPDATE, scaled_lr
from hrm_sweep.diagnosis.signals import best_exact, last_fifth
from hrm_sweep.runs.formats import Series

LARGEST_UPDATE_SHARE = 0.1
SMALLEST_UPDATE_SHARE = 1e-7
DECAYED_TO = 0.1
USUAL_WEIGHT_DECAY = 0.1
LEARNS_ANYWAY = 0.05


@rule(severity=Severity.ERROR, causes=("zero_exact_dead", "plateau", "loss_not_decreasing"))
def frozen_module(run: Evidence) -> Outcome:
    """A part of the model does not move.

    ## What it sees
    The update of each module (embeddings, H_level, L_level, lm_head) in the train rows; in a run of the reference, how
    far each moved between its last two checkpoints, weight decay taken out.

    ## Why it matters
    A frozen H or L module still computes something, so the loss falls and the run looks like a weak one. It happens
    when a parameter is left out of the optimizer, detached, or set to need no gradient.

    ## How it is decided
    It fires when the update of a module is exactly zero, or its gradient is, in its last 3 rows or more, over at least
    20 steps with a learning rate that float32 can see; between checkpoints, when what no rescaling explains is less
    than a millionth of the weights. Healthy modules move by 0.06 or more of their size in 300 steps. It also fires when
    a single tensor of a module stands still in all those rows, or is bit for bit the same in two checkpoints.

    ## When it stays quiet
    Steps with a learning rate under 1e-7 (1e-5 for single tensors), as at the start of a warm-up or the end of a
    cosine. The Q head has a rule of its own, `frozen_q_head`, and the puzzle embedding is no parameter at all:
    `frozen_puzzle_embedding`.

    ## What to do
    Give all parameters to the optimizer, and look for detach() and requires_grad.

    ## Reference
    Amazon SageMaker Debugger's UnchangedTensor, with warm-up masked; docs/thresholds.md.
    """
    found = movement(run, [name for name in MODULES if name != "q_head"])
    if not found.frozen and not found.partly:
        return clear("Every module moves, and every tensor of it.", *found.rows)
    names = ", ".join(found.frozen or found.partly)
    if not found.frozen:
        return fired(
            f"Some tensors of {names} did not move at all while the others were trained.",
            *found.rows,
            title=f"A part of {names} does not move",
        )
    return fired(
        f"{names} did not move at all while the rest of the model was trained.",
        *found.rows,
        title=f"{names} does not move" if len(found.frozen) == 1 else f"{names} do not move",
    )


@rule(severity=Severity.WARNING, causes=("zero_exact_dead", "loss_not_decreasing", "exploding_loss"))
def updates_out_of_range(run: Evidence) -> Outcome:
    """Updates are out of proportion to the weights.

    ## What it sees
    The size of the last update of each module relative to the size of its weights, over the last fifth of the train
    rows.

    ## Why it matters
    Gradients say little here, because AdamATan2 and SignSGD do not depend on their size. What counts is by how much a
    step changes the weights: too much and nothing settles, too little and nothing happens.

    ## How it is decided
    It fires when the median over the last fifth is above 0.1 or below 1e-7 for the module that is furthest out, past
    the warm-up, and fewer than 5 % of the puzzles were ever solved. Healthy runs: 0.0002 to 0.007.

    ## When it stays quiet
    In the warm-up. Where puzzles are solved. An update of exactly zero is `frozen_module`.

    ## What to do
    Change lr by the factor that brings the ratio near 0.003.

    ## Reference
    Amazon SageMaker Debugger's WeightUpdateRatio (10 and 1e-8), narrowed by measurement: docs/thresholds.md.
    """
    updates, weights = run.train_groups("update_norm"), run.train_groups("weight_norm")
    if run.measured_step <= run.config.lr_warmup_steps:
        raise MissingEvidence(f"train rows after the warm-up of {run.config.lr_warmup_steps} steps")
    ratios = _ratios(updates, weights)
    if not ratios:
        raise MissingEvidence("update_norm and weight_norm of the same modules")
    largest, smallest = max(ratios, key=lambda name: ratios[name]), min(ratios, key=lambda name: ratios[name])
    rows = [
        EvidenceRow.above(f"update / weight of {largest}", ratios[largest], LARGEST_UPDATE_SHARE, run.measured_step),
        EvidenceRow.below(f"update / weight of {smallest}", ratios[smallest], SMALLEST_UPDATE_SHARE, run.measured_step),
    ]
    too_large = ratios[largest] > LARGEST_UPDATE_SHARE
    too_small = 0 < ratios[smallest] < SMALLEST_UPDATE_SHARE
    if not (too_large or too_small) or (best_exact(run) or 0.0) >= LEARNS_ANYWAY:
        return clear("Updates are in proportion to the weights.", *rows)
    name = largest if too_large else smallest
    return fired(
        f"One step changes {name} by {ratios[name]:.2g} of its size; healthy runs change theirs by 0.0002 to 0.007.",
        *rows,
        remedy=scaled_lr(run.config, HEALTHY_UPDATE / ratios[name]),
    )


def _ratios(updates: Mapping[str, Series], weights: Mapping[str, Series]) -> dict[str, float]:
    """Median of update / weight over the last fifth, by module."""
    found = {}
    for name in updates.keys() & weights.keys():
        recent = last_fifth(updates[name].finite())
        ratio = recent.value / np.maximum(weights[name].at(recent.step), 1e-30)
        if np.isfinite(ratio).any():
            found[name] = float(np.median(ratio[np.isfinite(ratio)]))
    return found


@rule(
    severity=Severity.WARNING,
    causes=("updates_out_of_range", "zero_exact_dead", "loss_not_decreasing", "plateau"),
)
def weight_decay_dominant(run: Evidence) -> Outcome:
    """Weight decay eats the weights faster than training builds them.

    ## What it sees
    weight_decay against the size of the weights, and how the weights of H_level and L_level shrink over the run.

    ## Why it matters
    Decoupled decay pulls every weight to at most 1 / weight_decay. When that is less than the size they begin with,
    1 / sqrt(hidden_size), decay wins over whatever the gradient says.

    ## How it is decided
    It fires when weight_decay / sqrt(hidden_size) is above 0.5 and decay acts within the run (lr x weight_decay x
    planned steps above 1), or when H_level or L_level shrank to a tenth; and fewer than 5 % of the puzzles were ever
    solved.

    ## When it stays quiet
    With the published values (1.0 and 0.1). Where puzzles are solved.

    ## What to do
    Set weight_decay to 0.1.

    ## Reference
    arXiv 2506.21734 on bounded weights; sapientinc/HRM README uses 1.0 for small sets and 0.1 elsewhere.
    """
    config = run.config
    pull = config.weight_decay / config.arch.hidden_size**0.5
    acts = config.lr * config.weight_decay * run.plan.trained_steps
    rows = [
        EvidenceRow.above("weight_decay / sqrt(hidden_size)", pull, 0.5),
        EvidenceRow.above("lr x weight_decay x planned steps", acts, 1.0),
    ]
    shrunk = False
    for name in ("H_level", "L_level"):
        norms = run.rows.get(f"weight_norm.{name}")
        if norms is not None and len(norms.finite()) > 1:
            share = norms.finite().last / max(float(norms.finite().value[0]), 1e-30)
            rows.append(
                EvidenceRow.below(f"weights of {name}, against those at the start", share, DECAYED_TO, norms.last_step)
            )
            shrunk |= share < DECAYED_TO
    if not ((pull > 0.5 and acts > 1) or shrunk) or (best_exact(run) or 0.0) >= LEARNS_ANYWAY:
        return clear("Weight decay leaves the weights their size.", *rows)
    return fired(
        f"weight_decay {config.weight_decay:g} pulls the weights of a model of width {config.arch.hidden_size} below "
        "the "
        "size they need.",
        *rows,
        remedy={"weight_decay": USUAL_WEIGHT_DECAY} if config.weight_decay > USUAL_WEIGHT_DECAY else None,
    )
