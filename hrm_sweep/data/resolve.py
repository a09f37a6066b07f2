"""From a RunConfig to the folder of puzzles it trains on."""

from __future__ import annotations

from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.data.build import data_folder_for, ensure_data
from hrm_sweep.errors import DataError


def data_folder(config: RunConfig) -> Path:
    """Where the puzzles of `config` lie or will lie: `data_path`, or where its `data` block is built. Builds nothing.

    Raises DataError when the config names neither.
    """
    if config.data_path is not None:
        return Path(config.data_path)
    if config.data is not None:
        return data_folder_for(config.data)
    raise DataError(
        "no data: set data_path=FOLDER (see `hrm-sweep data sudoku`), or a data: block in the config to build one"
    )


def with_data_path(config: RunConfig) -> RunConfig:
    """`config` with `data_path` named where its `data` block decides it. Builds and checks nothing."""
    if config.data_path is None and config.data is None:
        return config
    return config.model_copy(update={"data_path": str(data_folder(config))})


def with_data(config: RunConfig) -> RunConfig:
    """`config` with `data_path` set to an existing folder; a `data` block is built on first use. Raises DataError."""
    folder = data_folder(config)
    if not folder.exists() and config.data is not None and folder == data_folder_for(config.data):
        folder = ensure_data(config.data)
    return config.model_copy(update={"data_path": str(folder)})
