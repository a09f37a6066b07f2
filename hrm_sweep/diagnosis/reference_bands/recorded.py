"""Reads the two data files beside it. tests/benchmarks/record_bands.py writes the first; the second was read off a
published log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hrm_sweep.config import RunConfig
from hrm_sweep.diagnosis.data_facts import DataFacts

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]

TINY_BANDS = Path(__file__).with_name("hrm_v1_tiny.json")
PUBLISHED_SHAPES = Path(__file__).with_name("published_27m.json")

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)  # with ten runs: the lowest, the second lowest, the middle, ...


@dataclass(frozen=True)
class Band:
    """How far runs lie apart in one metric.

    step       (S,) optimizer steps of the rows.
    quantiles  (5, S) over the runs: lowest, 10 %, median, 90 %, highest.
    n          (S,) runs that have a value there: where nothing halted there is none.
    """

    step: Floats
    quantiles: Floats
    n: Steps

    def stretched(self, factor: float) -> Band:
        """The same band over a run that is `factor` times as long."""
        return Band(self.step * factor, self.quantiles, self.n)

    def holds(self, step: int, value: float, slack: float = 0.0) -> bool:
        """Whether `value` lies between the lowest and the highest run at `step`, give or take `slack` of their span
        over the whole run."""
        low, high = (float(np.interp(step, self.step, self.quantiles[row])) for row in (0, -1))
        span = float(self.quantiles.max() - self.quantiles.min())
        return low - slack * span <= value <= high + slack * span


@dataclass(frozen=True)
class Puzzles:
    """What makes training puzzles alike: their number, their form, and how much of them is given."""

    vocab_size: int
    seq_len: int
    train_examples: int
    given_share: float

    @staticmethod
    def of(facts: DataFacts) -> Puzzles:
        return Puzzles(facts.vocab_size, facts.seq_len, facts.train.examples, facts.train.copied_share)


@dataclass(frozen=True)
class RecordedBands:
    """The bands of one preset.

    changed        what was set otherwise than in the preset.
    seeds          one run for each.
    planned_steps  optimizer steps of each run.
    environment    versions, device and dtype they were trained with.
    config         the configuration of the runs, without seed and paths.
    puzzles        what they were trained on.
    train, evaluation  bands by metric, named as in metrics.jsonl; those of a group as `group.name`.
    """

    preset: str
    changed: Mapping[str, int]
    seeds: tuple[int, ...]
    planned_steps: int
    environment: Mapping[str, str | int]
    config: RunConfig
    puzzles: Puzzles
    train: Mapping[str, Band]
    evaluation: Mapping[str, Band]


@dataclass(frozen=True)
class Shape:
    """One metric of a run of which only the shape is known.

    share  (N,) of the run, 0 to 1.
    level  (N,) 0 at the lowest value of the run, 1 at the highest.
    """

    share: Floats
    level: Floats


@dataclass(frozen=True)
class PublishedShapes:
    """The published run of 27 M parameters, as shapes.

    source        where they were read.
    uncertain_by  how far a position may be off, as a share of the run.
    train         shapes by metric, named as in metrics.jsonl.
    """

    source: str
    planned_steps: int
    uncertain_by: float
    train: Mapping[str, Shape]


@cache
def tiny_bands() -> RecordedBands:
    content = json.loads(TINY_BANDS.read_text(encoding="utf-8"))
    runs = len(content["seeds"])
    return RecordedBands(
        preset=content["preset"],
        changed=content["changed"],
        seeds=tuple(content["seeds"]),
        planned_steps=content["planned_steps"],
        environment=content["environment"],
        config=RunConfig.model_validate(content["config"]),
        puzzles=Puzzles(**content["puzzles"]),
        train=_bands(content["train"], runs),
        evaluation=_bands(content["eval"], runs),
    )


def _bands(content: Mapping[str, Any], runs: int) -> dict[str, Band]:
    grid = content["step"]
    bands = {}
    for name, recorded in content.items():
        if name == "step":
            continue
        step = np.array(recorded["step"] or grid, dtype=np.float64)
        n = np.broadcast_to(np.array(recorded["n"] or runs, dtype=np.int64), step.shape)
        bands[name] = Band(step, np.array(recorded["quantiles"], dtype=np.float64), n)
    return bands


@cache
def published_shapes() -> PublishedShapes:
    content = json.loads(PUBLISHED_SHAPES.read_text(encoding="utf-8"))
    return PublishedShapes(
        source=content["source"],
        planned_steps=content["planned_steps"],
        uncertain_by=content["uncertain_by_steps"] / content["planned_steps"],
        train={name: _shape(levels, content["levels"]) for name, levels in content["train"].items()},
    )


def _shape(levels: str, of: int) -> Shape:
    """A digit for each sample, evenly spaced over the run."""
    return Shape(
        share=(np.arange(len(levels)) + 0.5) / len(levels),
        level=np.array([int(digit) for digit in levels], dtype=np.float64) / (of - 1),
    )
