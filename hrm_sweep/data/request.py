"""What a DataConfig asks for, with every default filled in and every contradiction refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hrm_sweep.config import DataConfig
from hrm_sweep.data.generator import GENERATOR_VERSION
from hrm_sweep.data.sudoku import BOARDS
from hrm_sweep.errors import ConfigError, DataError

# Changes when the same request is built into other files.
BUILD_VERSION = 1

# Blanks where none are asked for. From givens that are read off at once to about as many blanks as the size usually
# bears; without augmentation a model learns from either end.
_USUAL_BLANKS = {4: (4, 8), 6: (10, 20), 9: (40, 56)}
# Where a difficulty is asked for: most end with no given left that could go, at 55 to 59 blanks.
_HARD_BLANKS = (52, 64)
_USUAL_TRAIN_PUZZLES = 1000
_TEST_SHARE = 5


def resolved(config: DataConfig) -> DataConfig:
    """The request with every default of its source filled in. Raises ConfigError for one that contradicts itself."""
    _require_order(config.min_blanks, config.max_blanks, "blanks")
    _require_order(config.min_difficulty, config.max_difficulty, "difficulty")
    if config.source != "csv" and config.csv is not None:
        raise ConfigError(f"data: csv is given, but source is {config.source}; set source to csv, or leave csv out")
    if config.source != "hub" and config.hub is not None:
        raise ConfigError(f"data: hub is given, but source is {config.source}; set source to hub, or leave hub out")
    return _resolved_generator(config) if config.source == "generator" else _resolved_published(config)


def _resolved_published(config: DataConfig) -> DataConfig:
    if config.source == "csv" and config.csv is None:
        raise ConfigError("data: source is csv, but csv names no files: expected two, for training and for testing")
    if config.source == "hub" and not config.hub:
        raise ConfigError(
            "data: source is hub, but hub names no data set: expected one, like sapientinc/sudoku-extreme"
        )
    if config.test_size is not None:
        raise ConfigError(
            f"data: test_size {config.test_size}: only the generator makes a test split of a given size; that of "
            f"source {config.source} is taken whole (eval_puzzles limits what training evaluates)"
        )
    return config


def _resolved_generator(config: DataConfig) -> DataConfig:
    board = BOARDS[config.size]
    difficult = (config.min_difficulty or 0) > 0
    if config.size != 9 and (config.min_difficulty is not None or config.max_difficulty is not None):
        raise ConfigError(
            f"data: size {config.size} with a difficulty: only 9x9 puzzles are rated; take size 9, or choose the "
            "number of blanks instead (min_blanks, max_blanks)"
        )
    most = board.cells - board.fewest_givens
    for key in ("min_blanks", "max_blanks"):
        value = getattr(config, key)
        if value is not None and value > most:
            raise ConfigError(
                f"data.{key}: found {value}, but a {config.size}x{config.size} sudoku needs {board.fewest_givens} "
                f"givens to have a single solution, so it has at most {most} blanks"
            )
    usual_low, usual_high = _HARD_BLANKS if difficult else _USUAL_BLANKS[config.size]
    low = _first_given(config.min_blanks, min(usual_low, _first_given(config.max_blanks, most)))
    high = _first_given(config.max_blanks, max(usual_high, low))
    train = config.subsample_size or _USUAL_TRAIN_PUZZLES
    return config.model_copy(
        update={
            "min_blanks": low,
            "max_blanks": high,
            "subsample_size": train,
            "test_size": config.test_size or max(1, train // _TEST_SHARE),
        }
    )


def _first_given(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _require_order(low: int | None, high: int | None, what: str) -> None:
    if low is not None and high is not None and low > high:
        raise ConfigError(f"data: min_{what} {low} is larger than max_{what} {high}")


def fingerprint(request: DataConfig) -> dict[str, Any]:
    """What decides the files that a resolved request is built into: equal fingerprints, equal folders.

    Raises DataError when a CSV file is missing.
    """
    marks: dict[str, Any] = {"build_version": BUILD_VERSION, "request": request.model_dump(mode="json")}
    if request.source == "generator":
        marks["generator_version"] = GENERATOR_VERSION
    if request.csv is not None:
        marks["request"]["csv"] = [str(Path(name).resolve()) for name in request.csv]
        marks["files"] = [_file_mark(Path(name)) for name in request.csv]
    return marks


def _file_mark(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; expected a CSV file of puzzles") from None
    return [stat.st_size, stat.st_mtime_ns]


def short_hash(marks: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:8]
