"""The plan of a study, from its search space: every reachable combination planned as a run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

from hrm_sweep.config import RunConfig, apply_overrides, config_from_mapping
from hrm_sweep.config.schedule import RunLength
from hrm_sweep.errors import ConfigError, DataError
from hrm_sweep.planning.calibration import Calibrate, Setting, speeds_of
from hrm_sweep.planning.lint import Kind, Level, LintFinding, lint
from hrm_sweep.planning.plan_lint import lint_learning_rate, lint_plan
from hrm_sweep.planning.puzzle_facts import PuzzleFacts
from hrm_sweep.planning.run_plan import RunPlan, plan_run
from hrm_sweep.planning.speed import Conditions
from hrm_sweep.planning.study_plan import StudyPlan, effect
from hrm_sweep.sweep.forecast import forecast, zero_rule_firings
from hrm_sweep.sweep.parameters import every_end
from hrm_sweep.sweep.pruner_lint import lint_pruners
from hrm_sweep.sweep.resources import Share, gpu_memory
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.space_lint import DataFacts, SpaceReport, Tally, count, named

_INERT_DECAY = 3.0  # time constants of weight decay longer than so many runs change next to nothing


def plan_space(
    space: SearchSpace,
    report: SpaceReport,
    share: Share,
    calibrate: Calibrate | None = Calibrate.NEVER,
    say: Callable[[str], None] = lambda line: None,
) -> StudyPlan:
    """Plan a study that `lint_space` has looked at, with `share` of this machine for its trials.

    calibrate   None where they run on other machines, of whose speed nothing is known here.
    """
    setting = Setting(share.jobs, share.threads, share.devices)
    processes = space.resources.processes
    base = _reference(space, report)
    variations = _variations(space, base[0])
    wanted: list[_Costed] = [(one.config, one.puzzles) for one in report.combinations]
    wanted += [base, *(costed for found in variations.values() for _, costed in found)]
    # What several processes take together is not measured.
    how = calibrate if processes == 1 else None
    shapes = [(config, puzzles.train) for config, puzzles in wanted]
    speeds = [None] * len(wanted) if how is None else speeds_of(shapes, setting, how, say)
    plans = iter(
        [
            plan_run(config, puzzles, speed, processes=processes, on_gpu=bool(share.devices))
            for (config, puzzles), speed in zip(wanted, speeds, strict=True)
        ]
    )
    runs = tuple(itertools.islice(plans, len(report.combinations)))
    reference = next(plans)
    effects = [
        effect(name, base[0].get(name), reference, [(value, next(plans)) for value, _ in found])
        for name, found in variations.items()
    ]
    facts, early = forecast(zero_rule_firings(space.pruner, report.combinations))
    findings = [
        *report.findings,
        *early,
        *lint_pruners(space, report.combinations),
        *(named(finding) for finding in lint_learning_rate([one.config for one in report.combinations])),
        *_run_findings(report, runs, memory_of_a_trial(share, space.resources.gpus_per_trial)),
        *_decay_findings(space, report, runs),
    ]
    return StudyPlan(
        name=space.name,
        trials=space.budget.trials,
        setting=setting,
        runs=runs,
        effects=tuple(effects),
        facts=tuple(facts),
        findings=tuple(findings),
        fixed=_fixed(space),
        conditions=Conditions.of(speeds),
    )


def plan_one(
    name: str,
    config: RunConfig,
    share: Share,
    calibrate: Calibrate = Calibrate.NEVER,
    say: Callable[[str], None] = lambda line: None,
) -> StudyPlan:
    """Plan a single run; its data is not built. Raises ConfigError, naming everything, for one that cannot start."""
    puzzles = PuzzleFacts.of(config)
    configured = list(lint(config, puzzles.train))
    if errors := [finding for finding in configured if finding.level is Level.ERROR]:
        raise ConfigError(f"{name}: cannot start: {'; '.join(named(finding).message for finding in errors)}")
    setting = Setting(1, None, share.devices[:1])
    (speed,) = speeds_of([(config, puzzles.train)], setting, calibrate, say)
    run = plan_run(config, puzzles, speed, on_gpu=bool(setting.devices))
    findings = [
        *configured,
        *lint_learning_rate([config]),
        *lint_plan(run, memory_of_a_trial(Share(1, 1, setting.devices), 1)),
    ]
    return StudyPlan(
        name=name,
        trials=None,
        setting=setting,
        runs=(run,),
        effects=(),
        facts=(),
        findings=tuple(named(finding) for finding in findings),
        conditions=Conditions.of([speed]),
    )


def memory_of_a_trial(share: Share, gpus_per_trial: float) -> int | None:
    """Bytes that each of the trials beside each other has; None where the system does not say."""
    if share.devices:
        totals = [one.total for name, one in gpu_memory().items() if name in share.devices]
        return int(min(totals) * 2**20 * min(1.0, gpus_per_trial or 1.0)) if totals else None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // share.jobs
    except (AttributeError, ValueError, OSError):  # Windows, and systems that do not know
        return None


_Costed = tuple[RunConfig, PuzzleFacts]


def _reference(space: SearchSpace, report: SpaceReport) -> _Costed:
    """What the values of a parameter are compared with: the base with its overrides, where that can start."""
    facts = DataFacts(build=False)
    try:
        config = space.config({})
        puzzles = facts.of(config)
    except (ConfigError, DataError):
        return report.combinations[0].config, report.combinations[0].puzzles
    startable = RunLength.of(config, puzzles.train.total_groups, puzzles.train.mean_puzzle_examples).trained_steps
    return (config, puzzles) if startable else (report.combinations[0].config, report.combinations[0].puzzles)


def _variations(space: SearchSpace, base: RunConfig) -> dict[str, list[tuple[Any, _Costed]]]:
    """For each parameter, the configurations that differ from the reference in nothing else. A value that does not fit
    the others is left out."""
    facts, found = DataFacts(build=False), dict[str, list[tuple[Any, _Costed]]]()
    for name, parameter in space.parameters.items():
        found[name] = []
        for value in every_end(name, parameter):
            try:
                config = config_from_mapping(apply_overrides(base.to_mapping(), {name: value}, name), name)
                found[name].append((value, (config, facts.of(config))))
            except (ConfigError, DataError):
                continue
    return found


def _fixed(space: SearchSpace) -> dict[str, Any]:
    """The parameters with one value, in the file or by `key=value` of the command line, and that value."""
    ends = {name: every_end(name, parameter) for name, parameter in space.parameters.items()}
    return {name: values[0] for name, values in ends.items() if len(values) == 1}


def _run_findings(report: SpaceReport, runs: tuple[RunPlan, ...], memory: int | None) -> Iterator[LintFinding]:
    tallies: dict[str, Tally] = {}
    for one, run in zip(report.combinations, runs, strict=True):
        for finding in lint_plan(run, memory):
            count(tallies, named(finding), one.values)
    yield from (tally.seen_in(len(runs)) for tally in tallies.values())


def _decay_findings(space: SearchSpace, report: SpaceReport, runs: tuple[RunPlan, ...]) -> Iterator[LintFinding]:
    """weight_decay is searched, and no value acts within a run."""
    if "weight_decay" not in space.parameters or any(run.decay_steps <= _INERT_DECAY * run.steps for run in runs):
        return
    strongest = min(runs, key=lambda run: run.decay_steps / run.steps)
    message = (
        f"weight_decay: no value acts within a run: the strongest (lr {strongest.config.lr:g} x weight_decay "
        f"{strongest.config.weight_decay:g}) takes {strongest.decay_steps:,.0f} steps, a run has {strongest.steps:,}; "
        "leave it out of the search, or search larger values"
    )
    yield LintFinding(Level.WARNING, "weight_decay", message, Kind.WASTEFUL)
