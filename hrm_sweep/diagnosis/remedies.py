"""Overrides that rules propose. Each is what a recipe that is known to work has in that place.

A remedy loads, and changes something: where it would leave the configuration as it is there is none. Where a rule is
decided by the configuration alone, its remedy is one with which the rule is clear (`tests/diagnosis/test_remedies.py`).
"""

from __future__ import annotations

from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.data.build import data_folder_for
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.diagnosis.finding import Overrides
from hrm_sweep.errors import HrmSweepError

NEARLY_SOLVED = 0.9
USUAL_WARMUP_STEPS = 100  # of a calmer run, but at most a tenth of it
HEALTHY_UPDATE = 0.003  # update / weight; healthy runs: 0.0002 to 0.007
AUGMENTATIONS = 100
EVAL_PUZZLES = 1000
MOST_DROPPED = 0.2  # share of an evaluation interval
SMALL_MODEL = 256  # hidden_size below which the project's own small models set the example, presets/hrm_v1_tiny.yaml


def usual_lr(run: Evidence) -> float:
    """Where recipes begin: 1e-4 for the published width, 1e-3 for small models."""
    return 1e-3 if run.config.arch.hidden_size < SMALL_MODEL else 1e-4


def usual_puzzle_emb_lr(run: Evidence) -> float:
    """1e-2 with many identifiers (ARC) and in small models, the model's own rate in the other published recipes."""
    many = run.data is not None and run.data.num_puzzle_identifiers > 1
    small = run.config.arch.hidden_size < SMALL_MODEL
    return 1e-2 if many or small else run.config.lr or usual_lr(run)


def scaled_lr(config: RunConfig, factor: float) -> Overrides | None:
    """The learning rate times `factor`, to three digits; None where it is 0."""
    return {"lr": float(f"{config.lr * factor:.3g}")} if config.lr else None


def calmer(run: Evidence) -> Overrides | None:
    """A third of the learning rate and a warm-up; for a run that had nearly solved its puzzles, an earlier end."""
    config = run.recorded.config
    if config is None:
        return None
    solved = run.rows.get("exact_accuracy")
    nearly = solved is not None and len(solved.finite()) > 0 and solved.finite().last >= NEARLY_SOLVED
    if nearly and (config.stop_when_solved is None or config.stop_when_solved > NEARLY_SOLVED):
        return {"stop_when_solved": NEARLY_SOLVED}
    lower = scaled_lr(config, 1 / 3)
    if lower is None:
        return None
    warmup = USUAL_WARMUP_STEPS
    if run.known_plan is not None:
        warmup = min(warmup, run.known_plan.trained_steps // 10)
    return {**lower, "lr_warmup_steps": warmup} if warmup > config.lr_warmup_steps else lower


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


def wider_interval(run: Evidence) -> Overrides | None:
    """The shortest longer evaluation interval that drops at most a fifth of its rows, otherwise a smaller batch."""
    config, facts = run.config, run.facts
    for interval in range(config.eval_interval + 1, config.epochs + 1):
        rows = interval * facts.total_groups * facts.mean_puzzle_examples
        if config.epochs % interval == 0 and rows % config.global_batch_size <= MOST_DROPPED * rows:
            return {"eval_interval": interval}
    return smaller_batch(run)


def more_augmentations(run: Evidence) -> Overrides | None:
    """A hundred augmentations of each puzzle, where the run's own `data` section makes its puzzles and has none."""
    config = run.recorded.config
    if config is None or config.data is None or config.data.num_aug:
        return None
    try:
        its_own = config.data_path is None or Path(config.data_path) == data_folder_for(config.data)
    except HrmSweepError:
        return None
    return {"data.num_aug": AUGMENTATIONS, "data_path": None} if its_own else None


def more_eval_puzzles(run: Evidence) -> Overrides | None:
    """A thousand evaluated puzzles, where there are more to evaluate than are: at most half of the test puzzles are."""
    config = run.recorded.config
    there = run.data.test.examples // 2 if run.data is not None else EVAL_PUZZLES
    more = min(there, EVAL_PUZZLES)
    return {"eval_puzzles": more} if config is not None and config.eval_puzzles < more else None


def falling_lr(run: Evidence) -> Overrides | None:
    """A learning rate that falls to a tenth; None where it falls already, or the configuration is not known."""
    config = run.recorded.config
    return {"lr_min_ratio": 0.1} if config is not None and config.lr_min_ratio > 0.5 else None


def longer(run: Evidence) -> Overrides:
    return {"epochs": 2 * run.config.epochs}


def in_stages(run: Evidence, remedy: Overrides | None) -> Overrides | None:
    """A remedy for a run with stages: what its present stage sets is changed there, and further epochs are trained in
    the last stage. Of any other run it stays as it is."""
    config = run.recorded.config
    if remedy is None or config is None or config.stages is None:
        return remedy
    last = len(config.stages) - 1
    moved: dict[str, int | float | str | bool | None] = {}
    for key, value in remedy.items():
        if key == "epochs" and isinstance(value, int):
            moved[f"stages.{last}.epochs"] = max(1, config.stages[last].epochs + value - config.epochs)
        elif key in config.stages[run.stage].overrides:
            moved[f"stages.{run.stage}.overrides.{key}"] = value
        else:
            moved[key] = value
    return moved
