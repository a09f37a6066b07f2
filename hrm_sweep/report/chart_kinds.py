"""Which curves of a run stand together in a chart."""

from __future__ import annotations

from dataclasses import dataclass

EVALUATED, TRAINED, HALTING = 1, 2, 3  # styles; train rows are 0


@dataclass(frozen=True)
class ChartKind:
    """One chart: (column, name) of the train rows and of the evaluations, or a group of columns by module."""

    key: str
    title: str
    unit: str
    train: tuple[tuple[str, str], ...] = ()
    evaluation: tuple[tuple[str, str, int], ...] = ()
    group: str | None = None
    log: bool | None = None
    percent: bool = False


KINDS = (
    ChartKind(
        "loss",
        "Loss over the cells",
        "nats",
        train=(("lm_loss", "train"), ("loss", "train, with the Q losses")),
        evaluation=(("lm_loss", "evaluation", EVALUATED), ("trained.lm_loss", "on training puzzles", TRAINED)),
    ),
    ChartKind(
        "cells",
        "Cells right",
        "share",
        train=(("accuracy", "train"),),
        evaluation=(("accuracy", "evaluation", EVALUATED), ("trained.accuracy", "on training puzzles", TRAINED)),
        percent=True,
    ),
    ChartKind(
        "exact",
        "Puzzles solved",
        "share",
        train=(("exact_accuracy", "train"),),
        evaluation=(
            ("exact_accuracy", "evaluation", EVALUATED),
            ("trained.exact_accuracy", "on training puzzles", TRAINED),
            ("halting.exact_accuracy", "when halting is allowed", HALTING),
        ),
        log=False,
        percent=True,
    ),
    ChartKind(
        "act",
        "ACT steps at halting",
        "mean",
        train=(("act_steps", "train"),),
        evaluation=(("halting.act_steps", "evaluation, where it would halt", HALTING),),
    ),
    ChartKind("q_losses", "Q losses", "nats", train=(("q_halt_loss", "q_halt"), ("q_continue_loss", "q_continue"))),
    ChartKind(
        "q_values",
        "Q values",
        "logits",
        train=(
            ("q_halt_mean", "q_halt, mean"),
            ("q_continue_mean", "q_continue, mean"),
            ("q_halt_std", "q_halt, spread"),
            ("q_continue_std", "q_continue, spread"),
        ),
    ),
    ChartKind(
        "embedding",
        "Movement of the embedding",
        "per coordinate",
        train=(
            ("puzzle_emb.mean_abs_movement", "visited rows moved"),
            ("puzzle_emb.expected_movement", "expected: sum of its learning rates"),
        ),
    ),
    ChartKind("lr", "Learning rates", "", train=(("lr", "lr"), ("puzzle_emb_lr", "puzzle_emb_lr"))),
    ChartKind("grad_norm", "Gradient norms", "by module", group="grad_norm", log=True),
    ChartKind("update_norm", "Update norms", "by module, of one step", group="update_norm", log=True),
    ChartKind("weight_norm", "Weight norms", "by module", group="weight_norm", log=True),
)
