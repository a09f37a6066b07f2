"""What puzzles a study was begun on, so that a change of them is seen before scores are compared."""

from __future__ import annotations

from collections.abc import Iterable

from hrm_sweep.config import RunConfig
from hrm_sweep.data import open_folder
from hrm_sweep.data.digest import split_digest
from hrm_sweep.data.resolve import data_folder
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.study import Study


def keep_data_record(study: Study, configs: Iterable[RunConfig]) -> None:
    """Write down the test puzzles of every data folder of these configurations, when a study is begun: a study that has
    trials was begun on what nobody knows any more."""
    if study.attribute(attributes.DATA) is not None or study.trials():
        return
    folders = dict.fromkeys(data_folder(config) for config in configs)
    record = {folder.as_posix(): split_digest(open_folder(folder).test) for folder in folders}
    study.optuna.set_user_attr(attributes.DATA, record)
