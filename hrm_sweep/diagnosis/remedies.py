"""Overrides that rules propose. Each is what a recipe that is known to work has in that place."""

from __future__ import annotations

from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.diagnosis.finding import Overrides

NEARLY_SOLVED = 0.9
SMALL_MODEL = 256  # hidden_size below which the project's own small models set the example, presets/hrm_v1_tiny.yaml


def usual_lr(run: Evidence) -> float:
    """Where recipes begin: 1e-4 for the published width, 1e-3 for small models."""
    return 1e-3 if run.config.arch.hidden_size < SMALL_MODEL else 1e-4


def usual_puzzle_emb_lr(run: Evidence) -> float:
    """1e-2 with many identifiers (ARC) and in small models, the model's own rate in the other published recipes."""
    many = run.data is not None and run.data.num_puzzle_identifiers > 1
    small = run.config.arch.hidden_size < SMALL_MODEL
    return 1e-2 if many or small else run.config.lr or usual_lr(run)


def calmer(run: Evidence) -> Overrides | None:
    """A third of the learning rate and a warm-up; for a run that had nearly solved its puzzles, an earlier end."""
    config = run.recorded.config
    if config is None:
        return None
    solved = run.rows.get("exact_accuracy")
    if solved is not None and len(solved.finite()) and solved.finite().last >= NEARLY_SOLVED:
        return {"stop_when_solved": NEARLY_SOLVED}
    return {"lr": config.lr / 3, "lr_warmup_steps": max(config.lr_warmup_steps, 100)}


def exploration(run: Evidence) -> Overrides | None:
    """The published exploration where it was lowered."""
    return {"arch.halt_exploration_prob": 0.1} if run.config.arch.halt_exploration_prob < 0.1 else None


def smaller_batch(run: Evidence) -> Overrides | None:
    """A batch of which an epoch holds ten; None where that is no smaller, or the data is not known."""
    if run.data is None or run.recorded.config is None:
        return None
    rows = int(run.data.total_groups * run.data.mean_puzzle_examples)
    batch = 2 ** max(0, (rows // 10).bit_length() - 1)
    return {"global_batch_size": batch} if batch < run.config.global_batch_size else None


def falling_lr(run: Evidence) -> Overrides | None:
    """A learning rate that falls to a tenth; None where it falls already, or the configuration is not known."""
    config = run.recorded.config
    return {"lr_min_ratio": 0.1} if config is not None and config.lr_min_ratio > 0.5 else None


def longer(run: Evidence) -> Overrides:
    return {"epochs": 2 * run.config.epochs}
