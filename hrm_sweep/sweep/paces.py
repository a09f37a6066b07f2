"""How long the trials that run here still take, from their metrics as they are written."""

from __future__ import annotations

from collections.abc import Collection

from hrm_sweep.config import load_config
from hrm_sweep.errors import ConfigError
from hrm_sweep.report.pace import Pace, TimeLeft
from hrm_sweep.runs import MetricsFollower, RunDirectory
from hrm_sweep.sweep.study import Chain, Study


class Paces:
    """The pace of each running trial, from one look to the next. Of a trial on a machine whose files cannot be seen
    from here nothing is known, and nothing is said."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._followed: dict[int, tuple[MetricsFollower, Pace]] = {}

    def look(self, running: Collection[Chain]) -> dict[int, TimeLeft]:
        """The time left by the number of a chain's last attempt."""
        numbers = {chain.first.number for chain in running}
        self._followed = {number: one for number, one in self._followed.items() if number in numbers}
        found: dict[int, TimeLeft] = {}
        for chain in running:
            number = chain.first.number
            if number not in self._followed and not self._begin(number):
                continue
            follower, pace = self._followed[number]
            for row in follower.new_rows():
                pace.add(row)
            if (left := pace.left()) is not None:
                found[chain.last.number] = left
        return found

    def _begin(self, number: int) -> bool:
        directory: RunDirectory = self._study.run_directory(number)
        try:
            config = load_config(directory.config)
        except ConfigError:
            return False
        self._followed[number] = (MetricsFollower(directory.metrics), Pace(config.epochs, config.eval_interval))
        return True
