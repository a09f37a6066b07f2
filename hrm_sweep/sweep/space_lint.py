"""Every reachable combination of a search space, looked at before the first trial. DESIGN contract 3."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import RunLength
from hrm_sweep.data import SplitMetadata, open_folder
from hrm_sweep.data.resolve import with_data
from hrm_sweep.errors import ConfigError, SpaceError
from hrm_sweep.planning.lint import Level, lint
from hrm_sweep.sweep.measures import predicted_violations
from hrm_sweep.sweep.reachable import reachable_combinations
from hrm_sweep.sweep.space import SearchSpace


@dataclass(frozen=True)
class Combination:
    """One reachable combination that can start: the values that the space chose, its config and its length."""

    values: dict[str, Any]
    config: RunConfig
    length: RunLength


@dataclass(frozen=True)
class SpaceReport:
    """A search space whose every combination can start."""

    combinations: tuple[Combination, ...]
    warnings: tuple[str, ...]


@dataclass
class _Tally:
    """How often one thing is wrong, and the first combination in which it was."""

    example: dict[str, Any]
    message: str
    count: int = 0


@dataclass
class DataFacts:
    """The facts of each data folder that configurations name, read (or the folder built) once."""

    _known: dict[str, SplitMetadata] = field(default_factory=dict)

    def of(self, config: RunConfig) -> SplitMetadata:
        """Raises DataError when the folder cannot be used or built."""
        key = json.dumps([config.data_path, config.to_mapping()["data"]])
        if key not in self._known:
            path = with_data(config).data_path
            assert path is not None
            folder = open_folder(Path(path))
            _ = folder.test  # a study decides by evaluations: raises where there is nothing to evaluate on
            self._known[key] = folder.train.metadata
        return self._known[key]


def lint_space(space: SearchSpace, where: str) -> SpaceReport:
    """Look at every reachable combination (see `reachable_combinations`); data that is not there yet is built.

    Raises SpaceError, naming the combinations, when some cannot start, and DataError when their data cannot be used.
    """
    space = space.frozen()
    facts = DataFacts()
    combinations: list[Combination] = []
    errors: dict[str, _Tally] = {}
    warnings: dict[str, _Tally] = {}
    violating: dict[str, _Tally] = {}
    looked_at = reachable_combinations(space)
    for values in looked_at:
        try:
            config = space.config(values, where="config")
        except ConfigError as error:
            message = str(error).removeprefix("config: ")
            _count(errors, message.split(":")[0], values, message)
            continue
        metadata = facts.of(config)
        findings = lint(config, metadata, space.resources.processes)
        refused = predicted_violations(space.constraints, config, lambda: metadata)  # noqa: B023 - asked at once
        if refused.said:
            _count(violating, "constraints", values, f"constraints: {refused.said}; such a trial is not trained")
        for finding in findings:
            tallies = errors if finding.level is Level.ERROR else warnings
            _count(tallies, finding.key, values, f"{finding.key}: {finding.message}")
        if all(finding.level is not Level.ERROR for finding in findings):
            length = RunLength.of(config, metadata.total_groups, metadata.mean_puzzle_examples)
            combinations.append(Combination(values, config, length))
    if errors:
        raise SpaceError(_explain_errors(errors.values(), len(looked_at), len(combinations), where))
    refused_all = [tally for tally in violating.values() if tally.count == len(looked_at)]
    if refused_all:
        raise SpaceError(
            f"{where}: no combination of this space keeps to its constraints, so none would be trained\n"
            + "\n".join(f"{where}: {_where_seen(tally, len(looked_at))}" for tally in refused_all)
        )
    warnings |= violating
    never = [name for name in space.parameters if all(name not in values for values in looked_at)]
    lines = [_where_seen(tally, len(looked_at)) for tally in warnings.values()]
    lines += [f"{name}: its `when` never holds, so it is never varied" for name in never]
    if space.remedies and len(space.first) >= space.budget.trials:
        lines.append(
            f"remedies: no trial is left for one, because the {len(space.first)} points of first come before them and "
            f"the budget is {space.budget.trials}"
        )
    return SpaceReport(tuple(combinations), tuple(lines))


def _count(tallies: dict[str, _Tally], key: str, values: dict[str, Any], message: str) -> None:
    tallies.setdefault(key, _Tally(values, message)).count += 1


def _explain_errors(errors: Iterable[_Tally], total: int, good: int, where: str) -> str:
    head = (
        f"{where}: {total - good} of {total} combinations cannot start; leave them out by narrowing the values or "
        "with `when`"
        if good
        else f"{where}: no combination of this space can start, every trial would fail"
    )
    return "\n".join([head, *(f"{where}: {_where_seen(tally, total)}" for tally in errors)])


def _where_seen(tally: _Tally, total: int) -> str:
    how_many = f"all {total}" if tally.count == total else f"{tally.count} of {total}"
    return f"{how_many} combinations, for example {spelled(tally.example)}: {tally.message}"


def spelled(values: dict[str, Any]) -> str:
    """`lr=0.001 arch.H_cycles=2`, as one would type it; `the base` for none."""
    return (
        " ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items())
        or "the base"
    )
