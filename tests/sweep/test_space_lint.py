"""Every reachable combination is looked at before the first trial, against real data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_studies import small_space

from hrm_sweep.errors import DataError, SpaceError
from hrm_sweep.planning.lint import Kind, Level, LintFinding
from hrm_sweep.sweep.forecast import forecast, zero_rule_firings
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.space_lint import lint_space

SHORT = {"epochs": 60, "eval_interval": 5, "lr_warmup_steps": 50}


def space_on(data: Path, parameters: dict[str, Any], **overrides: Any) -> SearchSpace:
    overrides = {"data_path": str(data), **SHORT, **overrides}
    return small_space(base="hrm_v1_tiny", overrides=overrides, parameters=parameters)


def test_a_space_that_can_start_everywhere_is_given_with_the_length_of_each_run(sudoku_4x4: Path) -> None:
    report = lint_space(space_on(sudoku_4x4, {"global_batch_size": {"values": [50, 100]}}), "mine")
    assert [(one.values, one.length.trained_steps) for one in report.combinations] == [
        ({"global_batch_size": 50}, 1200),
        ({"global_batch_size": 100}, 600),
    ]
    assert report.warnings == ()


def test_an_audit_without_a_pruner_is_a_warning(sudoku_4x4: Path) -> None:
    space = space_on(sudoku_4x4, {"global_batch_size": {"values": [50, 100]}})
    said = "audit: there is nothing to audit, because no pruner is given; add one, or leave audit out"
    assert lint_space(space.model_copy(update={"audit": 0.1}), "mine").warnings == (said,)
    with pytest.raises(SpaceError, match=r"audit: expected less than or equal to 1, found 2"):
        small_space(audit=2)


def test_combinations_that_cannot_start_are_counted_and_shown_with_their_reason(sudoku_4x4: Path) -> None:
    parameters = {"arch.hidden_size": {"values": [32, 60]}, "arch.num_heads": {"values": [1, 4, 8]}}
    with pytest.raises(SpaceError) as caught:
        lint_space(space_on(sudoku_4x4, parameters), "mine")
    first, *lines = str(caught.value).splitlines()
    assert first == ("mine: 2 of 6 combinations cannot start; leave them out by narrowing the values or with `when`")
    assert len(lines) == 1
    assert lines[0].startswith(
        "mine: 2 of 6 combinations, for example arch.hidden_size=60 arch.num_heads=4: arch: hidden_size 60 / num_heads "
        "4 gives head_dim 15: "
    )


def test_a_data_block_that_contradicts_itself_is_named_with_file_and_key() -> None:
    space = small_space(base="hrm_v1_tiny", overrides={"data.max_blanks": 99}, parameters={"lr": {"values": [1e-3]}})
    with pytest.raises(SpaceError) as caught:
        lint_space(space, "mine.yaml")
    assert str(caught.value).splitlines() == [
        "mine.yaml: no combination of this space can start, every trial would fail",
        "mine.yaml: all 1 combinations, for example lr=0.001: data.max_blanks: found 99, but a 4x4 sudoku needs 4 "
        "givens to have a single solution, so it has at most 12 blanks",
    ]


def test_a_combination_may_be_left_out_with_when(sudoku_4x4: Path) -> None:
    parameters = {
        "arch.hidden_size": {"values": [32, 60]},
        "arch.num_heads": {"values": [4, 8], "when": {"arch.hidden_size": 32}},
    }
    assert len(lint_space(space_on(sudoku_4x4, parameters), "mine").combinations) == 3


def test_a_space_in_which_every_trial_would_fail_is_refused_as_such(sudoku_4x4: Path) -> None:
    parameters = {"global_batch_size": {"values": [6000, 7000]}}
    with pytest.raises(SpaceError) as caught:
        lint_space(space_on(sudoku_4x4, parameters), "mine")
    first, second = str(caught.value).splitlines()
    assert first == "mine: no combination of this space can start, every trial would fail"
    assert second.startswith(
        "mine: all 2 combinations, for example global_batch_size=6000: global_batch_size: 6000 is larger than the "
        "data of one evaluation interval (5000 rows: 5 epochs of 1000 puzzles)"
    )


def test_data_that_cannot_be_used_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        lint_space(space_on(Path("nowhere"), {"lr": {"values": [1e-3]}}), "mine")


def test_data_without_test_puzzles_is_refused_because_a_study_decides_by_them(folder: Path, sudoku_4x4: Path) -> None:
    shutil.copytree(sudoku_4x4, "data")
    shutil.rmtree("data/test")
    with pytest.raises(DataError, match="evaluation needs test puzzles"):
        lint_space(space_on(Path("data"), {"lr": {"values": [1e-3]}}), "mine")


def test_what_starts_but_will_disappoint_is_a_warning(sudoku_4x4: Path) -> None:
    parameters = {
        "lr_warmup_steps": {"values": [50, 5000]},
        "lr": {"values": [1e-3]},
        "weight_decay": {"values": [0.1, 1.0], "when": {"lr": "> 1"}},
    }
    space = small_space(
        base="hrm_v1_tiny",
        overrides={"data_path": str(sudoku_4x4), "epochs": 60, "eval_interval": 5},
        parameters=parameters,
    )
    first, second = lint_space(space, "mine").warnings
    assert first.startswith(
        "1 of 2 combinations, for example lr_warmup_steps=5000 lr=0.001: lr_warmup_steps: 5000 steps of warm-up, but "
    )
    assert second == "weight_decay: its `when` never holds, so it is never varied"


def firings(data: Path, rule: dict[str, Any], **overrides: Any) -> tuple[list[str], list[LintFinding]]:
    space = space_on(data, {"global_batch_size": {"values": [50, 100, 250]}}, **overrides)
    space = space.model_copy(update={"pruner": small_space(pruner={"zero_accuracy": rule}).pruner})
    return forecast(zero_rule_firings(space.pruner, lint_space(space, "mine").combinations))


def test_the_zero_rules_step_is_told_for_the_smallest_and_the_largest_batch(sudoku_4x4: Path) -> None:
    facts, warnings = firings(sudoku_4x4, {"epoch": 30})
    assert facts == [
        "zero rule: fires at epoch 30 = optimizer step 120 of 240 (50.0%) with batch 250; warm-up ends at step 50",
        "zero rule: fires at epoch 30 = optimizer step 600 of 1200 (50.0%) with batch 50; warm-up ends at step 50",
    ]
    assert warnings == []


def test_the_zero_rule_looks_at_the_first_evaluation_at_or_after_its_epoch_and_its_least_steps(
    sudoku_4x4: Path,
) -> None:
    facts, _ = firings(sudoku_4x4, {"epoch": 22, "min_steps": 230})
    assert [fact.split(" with ")[0] for fact in facts] == [
        "zero rule: fires at epoch 60 = optimizer step 240 of 240 (100.0%)",
        "zero rule: fires at epoch 25 = optimizer step 500 of 1200 (41.7%)",
    ]


@pytest.mark.parametrize(
    ("rule", "overrides", "because"),
    [
        ({"epoch": 20}, {}, "optimizer step 80 (epoch 20, batch 250), before optimizer step 100"),
        (
            {"epoch": 30},
            {"lr_warmup_steps": 130},
            "optimizer step 120 (epoch 30, batch 250), before its warm-up of 130 steps is over",
        ),
    ],
)
def test_a_zero_rule_that_fires_early_is_warned_of_with_what_healthy_runs_show(
    sudoku_4x4: Path, rule: dict[str, Any], overrides: dict[str, Any], because: str
) -> None:
    _, (warning,) = firings(sudoku_4x4, rule, **overrides)
    assert (warning.kind, warning.key) == (Kind.CANNOT_BE_JUDGED, "pruner.zero_accuracy")
    assert because in warning.message
    assert "is at step 26 of 26,041 at epoch 20" in warning.message


def test_a_zero_rule_that_never_comes_to_fire_is_said_to_and_what_would_let_it(sudoku_4x4: Path) -> None:
    facts, warnings = firings(sudoku_4x4, {"epoch": 61})
    assert facts == ["zero rule: never with batch 250, the run of 240 steps is over before"]
    (advice,) = warnings
    assert (advice.level, advice.kind) == (Level.ADVICE, Kind.CANNOT_BE_JUDGED)
    assert advice.message.startswith(
        "the zero rule never fires, for every run is over before its epoch comes; an earlier"
    )
    _, some = firings(sudoku_4x4, {"epoch": 20, "min_steps": 241})  # with the smaller batches it comes to it
    assert some == []


def test_the_published_recipe_with_the_notes_rule_would_be_killed_at_step_26(sudoku_4x4: Path) -> None:
    """hrm-facts 1.3; the fixture has as many puzzles as the published set, 1000."""
    space = small_space(
        base="hrm_v1",
        overrides={"data_path": str(sudoku_4x4), "eval_interval": 20},
        parameters={"lr": {"values": [1e-4]}},
        pruner={"zero_accuracy": {}},
    )
    facts, (warning,) = forecast(zero_rule_firings(space.pruner, lint_space(space, "published").combinations))
    assert facts[0].startswith("zero rule: fires at epoch 20 = optimizer step 26 of 26")
    assert "before its warm-up of 2000 steps is over" in warning.message
