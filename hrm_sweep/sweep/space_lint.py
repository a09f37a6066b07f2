"""Every reachable combination of a search space, looked at before the first trial. DESIGN contract 3."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import RunLength
from hrm_sweep.data.resolve import with_data
from hrm_sweep.errors import ConfigError, SpaceError
from hrm_sweep.planning.lint import Kind, Level, LintFinding, lint
from hrm_sweep.planning.puzzle_facts import PuzzleFacts
from hrm_sweep.sweep.deciding import EVAL_PUZZLES, deciding_puzzles
from hrm_sweep.sweep.measures import predicted_violations
from hrm_sweep.sweep.reachable import reachable_combinations
from hrm_sweep.sweep.space import SearchSpace


@dataclass(frozen=True)
class Combination:
    """One reachable combination that can start: the values that the space chose, its config, its puzzles and its
    length."""

    values: dict[str, Any]
    config: RunConfig
    puzzles: PuzzleFacts
    length: RunLength

    def deciding_by(self, puzzles: int | None) -> Combination:
        """The same with so many puzzles in each evaluation; None leaves what its config says."""
        if puzzles is None:
            return self
        config = self.config.model_copy(update={EVAL_PUZZLES: puzzles})
        return dataclasses.replace(self, config=config)


@dataclass(frozen=True)
class SpaceReport:
    """A search space whose every combination can start. The findings, none of them an error, say where they were
    seen. `eval_puzzles` is how many test puzzles decide, also in the combinations, where the space leaves that open."""

    combinations: tuple[Combination, ...]
    findings: tuple[LintFinding, ...]
    eval_puzzles: int | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(finding.message for finding in self.findings)


@dataclass
class Tally:
    """How often one thing is wrong, and the first combination in which it was."""

    example: dict[str, Any]
    finding: LintFinding
    count: int = 0

    def seen_in(self, total: int) -> LintFinding:
        """The finding, saying in how many of all combinations it is one."""
        how_many = f"all {total}" if self.count == total else f"{self.count} of {total}"
        said = f"{how_many} combinations, for example {spelled(self.example)}: {self.finding.message}"
        return dataclasses.replace(self.finding, message=said)


@dataclass
class DataFacts:
    """The facts of each data folder that configurations name, read once; `build` says whether one that is not there is
    built, or only foreseen."""

    build: bool = True
    _known: dict[str, PuzzleFacts] = field(default_factory=dict)

    def of(self, config: RunConfig) -> PuzzleFacts:
        """Raises DataError when the folder cannot be used or built, ConfigError for a `data` block that contradicts
        itself."""
        data = None if config.data is None else config.data.model_dump_json()
        key = json.dumps([config.data_path, data])
        if key not in self._known:
            self._known[key] = PuzzleFacts.of(with_data(config) if self.build else config)
        return self._known[key]


def lint_space(space: SearchSpace, where: str, *, build: bool = True) -> SpaceReport:
    """Look at every reachable combination (see `reachable_combinations`); data that is not there yet is built, or, with
    `build` off, taken to be as its `data` block says.

    Raises SpaceError, naming the combinations, when some cannot start, and DataError when their data cannot be used.
    """
    space = space.frozen()
    facts = DataFacts(build)
    combinations: list[Combination] = []
    errors: dict[str, Tally] = {}
    warnings: dict[str, Tally] = {}
    violating: dict[str, Tally] = {}
    looked_at = reachable_combinations(space)
    for values in looked_at:
        try:
            config = space.config(values, where="config")
            puzzles = facts.of(config)
        except ConfigError as error:
            message = str(error).removeprefix("config: ")
            count(errors, LintFinding(Level.ERROR, message.split(":")[0], message), values)
            continue
        findings = lint(config, puzzles.train, space.resources.processes)
        refused = predicted_violations(space.constraints, config, lambda: puzzles.train)  # noqa: B023 - asked at once
        if refused.said:
            said = f"constraints: {refused.said}; such a trial is not trained"
            count(violating, LintFinding(Level.WARNING, "constraints", said, Kind.WASTEFUL), values)
        for finding in findings:
            count(errors if finding.level is Level.ERROR else warnings, named(finding), values)
        if all(finding.level is not Level.ERROR for finding in findings):
            length = RunLength.of(config, puzzles.train.total_groups, puzzles.train.mean_puzzle_examples)
            combinations.append(Combination(values, config, puzzles, length))
    if errors:
        raise SpaceError(_explain_errors(errors.values(), len(looked_at), len(combinations), where))
    refused_all = [tally for tally in violating.values() if tally.count == len(looked_at)]
    if refused_all:
        raise SpaceError(
            f"{where}: no combination of this space keeps to its constraints, so none would be trained\n"
            + "\n".join(f"{where}: {tally.seen_in(len(looked_at)).message}" for tally in refused_all)
        )
    warnings |= violating
    never = [name for name in space.parameters if all(name not in values for values in looked_at)]
    found = [tally.seen_in(len(looked_at)) for tally in warnings.values()]
    found += [
        LintFinding(Level.WARNING, name, f"{name}: its `when` never holds, so it is never varied", Kind.WASTEFUL)
        for name in never
    ]
    if space.audit and not space.pruner:
        said = "audit: there is nothing to audit, because no pruner is given; add one, or leave audit out"
        found.append(LintFinding(Level.WARNING, "audit", said, Kind.WASTEFUL))
    if space.remedies and len(space.first) >= space.budget.trials:
        said = (
            f"remedies: no trial is left for one, because the {len(space.first)} points of first come before them and "
            f"the budget is {space.budget.trials}"
        )
        found.append(LintFinding(Level.WARNING, "remedies", said, Kind.WASTEFUL))
    puzzles_to_decide = deciding_puzzles(space, combinations)
    decided = [one.deciding_by(puzzles_to_decide) for one in combinations]
    return SpaceReport(tuple(decided), tuple(found), puzzles_to_decide)


def named(finding: LintFinding) -> LintFinding:
    """The finding with its key in the message, as it stands in a line of its own."""
    return dataclasses.replace(finding, message=f"{finding.key}: {finding.message}")


def count(tallies: dict[str, Tally], finding: LintFinding, values: dict[str, Any]) -> None:
    """Add a combination in which this was found; findings of one key and kind are told once."""
    tallies.setdefault(finding.key + finding.kind, Tally(values, finding)).count += 1


def _explain_errors(errors: Iterable[Tally], total: int, good: int, where: str) -> str:
    head = (
        f"{where}: {total - good} of {total} combinations cannot start; leave them out by narrowing the values or "
        "with `when`"
        if good
        else f"{where}: no combination of this space can start, every trial would fail"
    )
    return "\n".join([head, *(f"{where}: {tally.seen_in(total).message}" for tally in errors)])


def spelled(values: dict[str, Any]) -> str:
    """`lr=0.001 arch.H_cycles=2`, as one would type it; `the base` for none."""
    return (
        " ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items())
        or "the base"
    )
