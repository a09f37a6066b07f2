"""Which healthy runs a run may be held against, and how far: a band says something about its own task only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.data.build import data_folder_for
from hrm_sweep.diagnosis.evidence import Evidence
from hrm_sweep.diagnosis.reference_bands.recorded import (
    Band,
    Puzzles,
    RecordedBands,
    Shape,
    published_shapes,
    tiny_bands,
)

PUBLISHED_WIDTH = 512
ALIKE = 0.05  # puzzles of the generator with the same settings and other seeds agree to 0.01
_BOUNDED_OR_ALIKE = ("lm_loss", "accuracy", "exact_accuracy", "q_halt_loss", "q_continue_loss")
"""Metrics whose shape carries over to another configuration. Norms go with the width, movement with the learning
rate."""

_RECIPE = (
    *("global_batch_size", "epochs", "lr", "lr_min_ratio", "lr_warmup_steps", "weight_decay", "beta1", "beta2"),
    *("puzzle_emb_lr", "puzzle_emb_weight_decay"),
)


class Fit(StrEnum):
    """How far a reference fits a run. LEVELS: same model and puzzles. SHAPES: another configuration, by share of the
    run. PUBLISHED: the qualitative shape of the published run."""

    LEVELS = "levels"
    SHAPES = "shapes"
    PUBLISHED = "published"


@dataclass(frozen=True)
class Reference:
    """Healthy runs to draw behind the curves of one run.

    sentence           what they are and how they may be read, for people.
    train, evaluation  bands by metric, in optimizer steps of the run; empty for PUBLISHED.
    shapes             shapes by metric of the train rows, by share of the run; empty but for PUBLISHED.
    """

    fit: Fit
    sentence: str
    train: Mapping[str, Band] = field(default_factory=dict)
    evaluation: Mapping[str, Band] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)


def reference_for(run: Evidence) -> Reference | None:
    """What a run may be held against; None where its configuration, or for shapes its planned length, is not known."""
    config, plan = run.recorded.config, run.known_plan
    if config is None:
        return None
    bands = tiny_bands()
    if config.arch == bands.config.arch and _puzzles_alike(run, config, bands):
        return _levels(config, bands)
    if plan is None or not plan.trained_steps:
        return None
    if config.arch.hidden_size == PUBLISHED_WIDTH:
        return _published()
    return _shapes(config, bands, plan.trained_steps / bands.planned_steps)


def _puzzles_alike(run: Evidence, config: RunConfig, bands: RecordedBands) -> bool:
    """Whether the run trains on puzzles like those of the bands: as they are, or as its data_path says when they are
    not found. The `data` section alone proves nothing, because data_path goes before it."""
    if run.data is not None:
        found, recorded = Puzzles.of(run.data), bands.puzzles
        return (found.vocab_size, found.seq_len) == (recorded.vocab_size, recorded.seq_len) and (
            abs(found.train_examples - recorded.train_examples) <= ALIKE * recorded.train_examples
            and abs(found.given_share - recorded.given_share) <= ALIKE * recorded.given_share
        )
    built_there = config.data is not None and Path(config.data_path or "").name == data_folder_for(config.data).name
    return built_there and _without_seed(config) == _without_seed(bands.config)


def _without_seed(config: RunConfig) -> dict[str, object] | None:
    return None if config.data is None else config.data.model_dump(exclude={"seed", "test_size"})


def _levels(config: RunConfig, bands: RecordedBands) -> Reference:
    other = [key for key in _RECIPE if getattr(config, key) != getattr(bands.config, key)]
    differs = f" This run differs in {', '.join(other)}." if other else ""
    sentence = (
        f"Shaded: {len(bands.seeds)} healthy runs of the preset {bands.preset}, recorded with seeds {_span(bands)}, "
        f"from the lowest to the highest run; darker behind the first curve, 10 % to 90 % of them.{differs}"
    )
    per_row = {} if config.log_interval == bands.config.log_interval else {"puzzle_emb.mean_abs_movement"}
    train = {name: band for name, band in bands.train.items() if name not in per_row}
    return Reference(Fit.LEVELS, sentence, train, bands.evaluation)


def _shapes(config: RunConfig, bands: RecordedBands, factor: float) -> Reference:
    names = {*_BOUNDED_OR_ALIKE, *(("act_steps",) if _same_limit(config, bands) else ())}
    sentence = (
        f"Shaded: {len(bands.seeds)} healthy runs of the preset {bands.preset}, another model or other puzzles than "
        "this run's, stretched to its planned steps: compare shapes, not values."
    )
    return Reference(
        Fit.SHAPES,
        sentence,
        {name: band.stretched(factor) for name, band in bands.train.items() if name in names},
        {name: band.stretched(factor) for name, band in bands.evaluation.items() if name in names},
    )


def _same_limit(config: RunConfig, bands: RecordedBands) -> bool:
    return config.arch.halt_max_steps == bands.config.arch.halt_max_steps


def _published() -> Reference:
    shapes = published_shapes()
    sentence = (
        f"Shaded: the shape of a published run ({shapes.source}), stretched to the planned steps of this one. It is "
        "qualitative: its height has no scale, and its position is known to "
        f"{shapes.uncertain_by:.0%} of the run. A low start may stand for rows in which nothing halted."
    )
    return Reference(Fit.PUBLISHED, sentence, shapes=shapes.train)


def _span(bands: RecordedBands) -> str:
    return f"{bands.seeds[0]} to {bands.seeds[-1]}"
