"""Every recorded run of the fault benchmark, judged: what the README's table promises, held by a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from diagnosis import PLAIN, Judged, fault_table, healthy_table, judge_all, share
from fault_runs import HEALTHY, SEEDS, STAGES, all_specs
from faults import FAULTS
from record_fault_runs import recording_of

NOT_IN_CHECKPOINTS = {"nan_batch", "killed_in_mid_run", "disk_full"}  # the weights that are kept are sound


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    return judge_all("", tmp_path_factory.mktemp("puzzles"))


def of_faults(judged: Sequence[Judged]) -> list[Judged]:
    return [each for each in judged if each.spec.kind != HEALTHY]


def of_healthy(judged: Sequence[Judged]) -> list[Judged]:
    return [each for each in judged if each.spec.kind == HEALTHY]


def test_the_benchmark_is_as_large_as_it_says(judged: Sequence[Judged]) -> None:
    specs = all_specs()
    assert len({spec.kind for spec in specs} - {HEALTHY}) >= 14
    assert all(len([s for s in specs if s.kind == fault.kind]) >= 2 * len(SEEDS) for fault in FAULTS)
    assert len(of_healthy(judged)) >= 60
    assert {spec.tuned for spec in specs} == {True, False}
    recorded = {path.resolve() for path in Path(recording_of(specs[0]).parents[1]).rglob("*.json.gz")}
    assert recorded == {recording_of(spec).resolve() for spec in specs}


def test_faults_are_found(judged: Sequence[Judged]) -> None:
    faulty = of_faults(judged)
    assert sum(bool(each.sick[1.0]) for each in faulty) >= 0.95 * len(faulty)


@pytest.mark.parametrize("kind", [fault.kind for fault in FAULTS])
def test_no_kind_of_fault_is_missed_or_misnamed_often(kind: str, judged: Sequence[Judged]) -> None:
    runs = [each for each in judged if each.spec.kind == kind]
    assert sum(each.is_named(each.sick[1.0]) for each in runs) >= 0.8 * len(runs)


@pytest.mark.parametrize("kind", sorted({fault.kind for fault in FAULTS} - NOT_IN_CHECKPOINTS))
def test_checkpoints_alone_are_enough_to_find_a_fault(kind: str, judged: Sequence[Judged]) -> None:
    runs = [each for each in judged if each.spec.kind == kind]
    assert sum(bool(each.by_checkpoints[1.0]) for each in runs) >= 0.8 * len(runs)


@pytest.mark.parametrize("stage", STAGES)
def test_healthy_runs_are_spared(stage: float, judged: Sequence[Judged]) -> None:
    blamed = {each.spec.name: each.sick[stage] for each in of_healthy(judged) if each.sick[stage]}
    assert len(blamed) <= 0.02 * len(of_healthy(judged)), blamed


@pytest.mark.parametrize("stage", STAGES)
def test_healthy_runs_are_spared_by_their_checkpoints(stage: float, judged: Sequence[Judged]) -> None:
    healthy = [each for each in of_healthy(judged) if each.by_checkpoints]
    blamed = {each.spec.name: each.by_checkpoints[stage] for each in healthy if each.by_checkpoints[stage]}
    assert len(blamed) <= 0.02 * len(healthy), blamed


def test_general_tools_blame_what_is_healthy(judged: Sequence[Judged]) -> None:
    """The comparison means something: the same rows, and thresholds as documented."""
    healthy = of_healthy(judged)
    for tool in PLAIN:
        assert sum(bool(each.plain[tool][1.0]) for each in healthy) > 0.02 * len(healthy)


def test_the_tables_count_what_was_judged(judged: Sequence[Judged]) -> None:
    total = next(line for line in fault_table(judged) if line.startswith("| **all**"))
    assert f"of {len(of_faults(judged))}," in total
    everyone = next(line for line in healthy_table(judged) if line.startswith("| all, by metrics"))
    assert f"of {len(of_healthy(judged))}," in everyone


def test_a_share_says_how_sure_it_is() -> None:
    assert share(57, 60) == "57 of 60, 95% (86 to 98)"
    assert share(0, 0) == "none"
