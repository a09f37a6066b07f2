"""Linting a configuration against the facts of its data."""

from __future__ import annotations

from typing import Any

import pytest

from hrm_sweep.config import load_config
from hrm_sweep.data import SplitMetadata
from hrm_sweep.planning.lint import Kind, Level, lint


def facts(groups: int = 1000, mean: float = 1) -> SplitMetadata:
    return SplitMetadata(0, 0, 0, 6, 16, 1, groups, mean, ("all",))


def linted(groups: int = 1000, preset: str = "hrm_v1_tiny", **overrides: Any) -> list[tuple[Level, str]]:
    return [(finding.level, finding.key) for finding in lint(load_config(preset, overrides), facts(groups))]


def test_the_presets_are_fine_on_the_data_they_were_made_for() -> None:
    assert linted() == []
    assert linted(preset="hrm_v1") == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"global_batch_size": 20001}, (Level.ERROR, "global_batch_size")),
        ({"epochs": 4, "eval_interval": 2, "lr_warmup_steps": 1}, (Level.WARNING, "epochs")),
        ({"lr_warmup_steps": 5000}, (Level.WARNING, "lr_warmup_steps")),
        ({"eval_interval": 1, "global_batch_size": 600}, (Level.WARNING, "eval_interval")),
        ({"lr": 0.0}, (Level.WARNING, "lr")),
        ({"puzzle_emb_lr": 0.0}, (Level.WARNING, "puzzle_emb_lr")),
    ],
)
def test_each_fault_is_named_by_the_key_to_change(overrides: dict[str, Any], expected: tuple[Level, str]) -> None:
    assert expected in linted(**overrides)


def test_few_steps_leave_a_run_that_cannot_be_judged_yet_may_solve_easy_puzzles() -> None:
    config = load_config("hrm_v1_tiny", {"epochs": 4, "eval_interval": 2, "lr_warmup_steps": 1})
    (finding,) = lint(config, facts())
    assert (finding.level, finding.kind, finding.key) == (Level.WARNING, Kind.CANNOT_BE_JUDGED, "epochs")
    assert "an HRM seldom solves anything before about 100, unless its puzzles are easy" in finding.message
    assert finding.message.endswith("; more epochs, or a smaller batch, make more steps")


def test_a_batch_that_processes_cannot_share_cannot_start() -> None:
    (finding,) = lint(load_config("hrm_v1_tiny"), facts(), processes=3)
    assert (finding.level, finding.key) == (Level.ERROR, "global_batch_size")
    assert finding.message == (
        "64 rows cannot be shared equally by 3 processes; use 66 or 63, or another number of processes"
    )
    (finding,) = lint(load_config("hrm_v1_tiny"), facts(), processes=100)
    assert "use 100, or another" in finding.message


def test_a_batch_that_is_exactly_an_intervals_data_can_start() -> None:
    assert all(level is Level.WARNING for level, _ in linted(global_batch_size=20000))


def test_a_batch_larger_than_the_data_is_the_only_finding_because_the_others_would_follow_from_it() -> None:
    assert linted(global_batch_size=20001, lr_warmup_steps=5000) == [(Level.ERROR, "global_batch_size")]


def test_without_a_puzzle_embedding_its_learning_rate_does_not_matter() -> None:
    assert linted(**{"puzzle_emb_lr": 0.0, "arch.puzzle_emb_ndim": 0}) == []


def test_the_notes_short_runs_are_told_that_their_warm_up_never_ends() -> None:
    overrides = {"epochs": 100, "eval_interval": 20, "global_batch_size": 256, "lr": 1e-3}
    (finding,) = [f for f in lint(load_config("hrm_v1_balanced", overrides), facts()) if f.key == "lr_warmup_steps"]
    assert "2000 steps of warm-up, but the run has 390" in finding.message
    assert "20% of lr" in finding.message
