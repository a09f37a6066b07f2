"""How often the diagnosis finds and names a fault, and how often it blames a healthy run.

    python tests/benchmarks/diagnosis.py [--json FILE] [--only TEXT]

Judges the recorded runs of tests/fixtures/fault_runs (record_fault_runs.py trains and records them): each fault of
faults.py at two sizes and three seeds, and healthy runs of many settings (with those of tests/fixtures/runs/recorded),
each at 15 %, 40 % and 100 % of its steps, once by its metrics and once by nothing but its checkpoints, as a run of the
reference. An earlier moment is judged as a run that still lives, on a machine that cannot be looked at. Intervals are
Wilson's, 95 %.

A fault counts as detected when any rule fires at warning or above, and as named when the first finding is a rule that
names it. The last lines judge the same rows by the thresholds of general tools (plain_rules.py).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fault_runs import AFTERWARDS, HEALTHY, STAGES, Spec, all_specs, puzzle_folder
from faults import FAULTS, FOUND_BROKEN
from plain_rules import auto_trainer_alarms, debugger_alarms
from record_fault_runs import recording_of
from recorded_runs import Recording

from hrm_sweep.data import open_folder
from hrm_sweep.data.build import ensure_data
from hrm_sweep.diagnosis import Diagnosis
from hrm_sweep.diagnosis.data_facts import DataFacts, gather_data_facts
from hrm_sweep.diagnosis.statistics import wilson
from hrm_sweep.errors import DataError

FIXTURES = Path(__file__).parent.parent / "fixtures"
EARLIER = FIXTURES / "runs" / "recorded" / HEALTHY  # by which thresholds were set
PLAIN = {"SageMaker Debugger": debugger_alarms, "AutoTrainer": auto_trainer_alarms}


@dataclass(frozen=True)
class Judged:
    """What was said of one run.

    sick          by stage, the rules that call it sick, the first finding first; from its metrics.
    by_checkpoints  the same, from its checkpoints alone; empty where none were recorded.
    first_epoch   first evaluation (as a share of the planned epochs) at which the fault was named first; None if never.
    plain         by tool and stage, its alarms.
    seconds       what one diagnosis of the whole run took.
    """

    spec: Spec
    sick: dict[float, list[str]]
    by_checkpoints: dict[float, list[str]]
    first_epoch: float | None
    plain: dict[str, dict[float, list[str]]]
    seconds: float

    def is_named(self, sick: Sequence[str]) -> bool:
        fault = self.spec.fault
        return fault is not None and bool(sick) and sick[0] in fault.named_by


def judge(spec: Spec, recording: Recording, facts: DataFacts | None) -> Judged:
    moments = {stage: None if stage == 1 else int(stage * recording.last_step) for stage in STAGES}
    began = time.perf_counter()
    recording.diagnosed(facts)
    seconds = time.perf_counter() - began
    return Judged(
        spec,
        {stage: _sick(recording.diagnosed(facts, until)) for stage, until in moments.items()},
        {stage: _sick(recording.diagnosed_by_checkpoints(facts, until)) for stage, until in moments.items()}
        if recording.has_checkpoints
        else {},
        _first_named(spec, recording, facts),
        {
            tool: {stage: sorted(alarms(_until(recording, until))) for stage, until in moments.items()}
            for tool, alarms in PLAIN.items()
        },
        seconds,
    )


def _sick(diagnosis: Diagnosis) -> list[str]:
    return [finding.rule for finding in diagnosis.findings if finding.is_sick]


def _first_named(spec: Spec, recording: Recording, facts: DataFacts | None) -> float | None:
    if spec.fault is None:
        return None
    for step, epoch in recording.evaluation_points():
        sick = _sick(recording.diagnosed(facts, step))
        if sick and sick[0] in spec.fault.named_by:
            return epoch / recording.run_config.epochs
    sick = _sick(recording.diagnosed(facts))
    return 1.0 if sick and sick[0] in spec.fault.named_by else None


def _until(recording: Recording, until: int | None) -> list[dict[str, Any]]:
    return [row for row in recording.rows if until is None or row["step"] <= until]


def judge_all(only: str, puzzles: Path) -> list[Judged]:
    """Every recorded run whose name contains `only`. Puzzles are made under the folder `puzzles`."""
    return [judge(*run) for run in _everything(puzzles) if only in run[0].name]


def _everything(puzzles: Path) -> Iterator[tuple[Spec, Recording, DataFacts | None]]:
    for spec in all_specs():
        yield spec, Recording.read(recording_of(spec)), facts_about(puzzle_folder(spec, puzzles))
    for directory in sorted(EARLIER.iterdir()):
        name = f"{HEALTHY}/{directory.name}"
        recording = Recording.from_directory(directory, {"name": name, "kind": HEALTHY})
        config = recording.run_config
        assert config.data is not None
        generated = str(config.data_path).startswith("data/")
        folder = ensure_data(config.data, puzzles / "earlier") if generated else FIXTURES / "sudoku-4x4"
        yield (
            Spec(name, HEALTHY, f"4x4-{directory.name.partition('-')[0]}", 0, True, {}),
            recording,
            facts_about(folder),
        )


@cache
def facts_about(folder: Path) -> DataFacts | None:
    try:
        return gather_data_facts(open_folder(folder))
    except DataError:
        return None


# The tables ---------------------------------------------------------------------------------------------------------


def share(hits: int, n: int) -> str:
    """`57 of 60, 95 % (86 to 98)`."""
    if not n:
        return "none"
    low, high = wilson(hits, n)
    return f"{hits} of {n}, {hits / n:.0%} ({100 * low:.0f} to {100 * high:.0f})"


def fault_table(judged: Sequence[Judged]) -> list[str]:
    lines = [
        "| fault | detected | named first | at 40 % | first named at | by checkpoints alone: detected | named |",
        "|---|---|---|---|---|---|---|",
    ]
    for fault in (*FAULTS, FOUND_BROKEN):
        runs = [each for each in judged if each.spec.kind == fault.kind]
        if runs:
            lines.append(f"| {fault.kind} | " + " | ".join(_fault_cells(runs)) + " |")
    for title, runs in _groups([each for each in judged if each.spec.kind != HEALTHY]):
        lines.append(f"| **{title}** | " + " | ".join(_fault_cells(runs)) + " |")
    return lines


def _fault_cells(runs: Sequence[Judged]) -> list[str]:
    n = len(runs)
    firsts = [each.first_epoch for each in runs if each.first_epoch is not None]
    return [
        share(sum(bool(each.sick[1.0]) for each in runs), n),
        share(sum(each.is_named(each.sick[1.0]) for each in runs), n),
        share(sum(each.is_named(each.sick[0.4]) for each in runs), n),
        f"{statistics.median(firsts):.0%} of the epochs" if firsts else "never",
        share(sum(bool(each.by_checkpoints[1.0]) for each in runs), n),
        share(sum(each.is_named(each.by_checkpoints[1.0]) for each in runs), n),
    ]


def healthy_table(judged: Sequence[Judged]) -> list[str]:
    lines = [
        "| healthy runs blamed | " + " | ".join(f"at {stage:.0%}" for stage in STAGES) + " | rules |",
        "|---|---|---|---|---|",
    ]
    healthy = [each for each in judged if each.spec.kind == HEALTHY]
    afterwards = [each for each in healthy if each.spec.seed >= AFTERWARDS]
    for title, runs in (*_groups(healthy), ("trained after the last change of a rule", afterwards)):
        lines.append(_healthy_line(f"{title}, by metrics", runs, lambda each, stage: each.sick[stage]))
        kept = [each for each in runs if each.by_checkpoints]
        lines.append(_healthy_line(f"{title}, by checkpoints", kept, lambda each, stage: each.by_checkpoints[stage]))
    for tool in PLAIN:
        lines.append(_healthy_line(tool, healthy, lambda each, stage, tool=tool: each.plain[tool][stage]))  # type: ignore[misc]
    return lines


def _healthy_line(title: str, runs: Sequence[Judged], said: Callable[[Judged, float], list[str]]) -> str:
    cells = [share(sum(bool(said(each, stage)) for each in runs), len(runs)) for stage in STAGES]
    rules = Counter(rule for each in runs for rule in {rule for stage in STAGES for rule in said(each, stage)})
    named = ", ".join(f"{rule} {count}" for rule, count in rules.most_common(4))
    return f"| {title} | " + " | ".join(cells) + f" | {named or 'none'} |"


def plain_table(judged: Sequence[Judged]) -> list[str]:
    faulty = [each for each in judged if each.spec.kind != HEALTHY]
    lines = ["| general tool | faults with any alarm at 100 % |", "|---|---|"]
    for tool in PLAIN:
        lines.append(f"| {tool} | {share(sum(bool(each.plain[tool][1.0]) for each in faulty), len(faulty))} |")
    return lines


def _groups(runs: Sequence[Judged]) -> Iterable[tuple[str, list[Judged]]]:
    yield "sizes used for setting thresholds", [each for each in runs if each.spec.tuned]
    yield "sizes held out", [each for each in runs if not each.spec.tuned]
    yield "all", list(runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write what was said of each run")
    parser.add_argument("--only", default="", help="judge only runs whose name contains this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as puzzles:
        judged = judge_all(options.only, Path(puzzles))
    for table in (fault_table(judged), healthy_table(judged), plain_table(judged)):
        print("\n".join(table), end="\n\n")
    print(f"one diagnosis, rules alone: median {1e3 * statistics.median(each.seconds for each in judged):.0f} ms")
    for each in judged:
        if each.spec.fault is not None and not each.is_named(each.sick[1.0]):
            print(f"not named: {each.spec.name}: {each.sick[1.0] or 'nothing'}")
        if each.spec.fault is None and any(each.sick.values()):
            print(f"blamed: {each.spec.name}: {each.sick}")
    if options.json:
        options.json.write_text(json.dumps([_plain(each) for each in judged], indent=1), encoding="utf-8")
    return 0


def _plain(each: Judged) -> dict[str, Any]:
    return {
        "name": each.spec.name,
        "kind": each.spec.kind,
        "tuned": each.spec.tuned,
        "sick": each.sick,
        "by_checkpoints": each.by_checkpoints,
        "first_epoch": each.first_epoch,
        "plain": each.plain,
    }


if __name__ == "__main__":
    sys.exit(main())
