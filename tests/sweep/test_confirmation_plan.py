"""What a confirmation is made of: which configurations, which baseline, which seeds, on which puzzles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from small_studies import STORAGE, small_space

from hrm_sweep.config import DataConfig, config_text
from hrm_sweep.data.build import ensure_data
from hrm_sweep.errors import ConfigError, DataError, HrmSweepError, StudyError
from hrm_sweep.evaluation.selection import subset_indices
from hrm_sweep.runs import Owner
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.confirm.plan import Planned, fresh_seeds, plan_confirmation, require_same_puzzles
from hrm_sweep.sweep.data_record import keep_data_record
from hrm_sweep.sweep.space_lint import lint_space
from hrm_sweep.sweep.study import Study, create_or_continue

PUZZLES = DataConfig(size=4, subsample_size=60, test_size=40, min_blanks=1, max_blanks=2)
OTHERS = DataConfig(size=4, subsample_size=60, test_size=40, min_blanks=3, max_blanks=4)
SMALL = {"arch.hidden_size": 16, "arch.num_heads": 2, "global_batch_size": 30, "lr_warmup_steps": 5}

Search = Callable[..., Study]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("puzzles")
    return ensure_data(PUZZLES, root), ensure_data(OTHERS, root)


@pytest.fixture
def search(folder: Path, built: tuple[Path, Path]) -> Search:
    """Makes a study in the current folder whose trials have the given learning rates and scores, on puzzles in the
    folder `puzzles`."""
    shutil.copytree(built[0], "puzzles")

    def make(scores: list[tuple[float, float | None]], **changes: Any) -> Study:
        lrs = sorted({lr for lr, _ in scores} | {0.5})
        content = {
            "name": "search",
            "base": "hrm_v1_tiny",
            "overrides": {**SMALL, "data_path": "puzzles", "epochs": 20, "eval_interval": 10, "eval_puzzles": 15},
            "parameters": {"lr": {"values": lrs}},
            "first": [{"lr": lr} for lr, _ in scores],
            "budget": {"trials": 20},
        }
        space = small_space(**{**content, **changes})
        study = create_or_continue(STORAGE, space.name, space)
        keep_data_record(study, [space.config({"lr": lrs[0]})])
        for _, score in scores:
            one = claim(study, Owner.this_process())
            assert isinstance(one, Claim)
            state = TrialState.FAIL if score is None else TrialState.COMPLETE
            study.optuna.tell(one.trial, score, state=state)
        return study

    return make


def plan(study: Study, **changes: Any) -> Planned:
    return plan_confirmation(study, **{"name": "sure", "top": 2, "seeds": 3, "baseline": None, **changes})


def test_the_best_distinct_configurations_and_the_base_are_confirmed(search: Search) -> None:
    study = search([(1.5e-3, 0.7), (2e-3, 0.9), (2e-3, 0.8), (3e-3, None), (4e-3, 0.6)])
    space = plan(study).space
    assert space.confirm is not None
    names = [(one.name, one.trial, one.score, one.values) for one in space.confirm.candidates]
    assert names == [
        ("trial 1", 1, 0.9, {"lr": 2e-3}),
        ("trial 0", 0, 0.7, {"lr": 1.5e-3}),
        ("baseline", None, None, {}),
    ]
    assert [one.is_baseline for one in space.confirm.candidates] == [False, False, True]
    assert (space.budget.trials, space.pruner, space.name) == (9, {}, "sure")
    configs = {one.values.get("lr"): one.config for one in lint_space(space, "x").combinations}
    assert configs[2e-3] == study.space.config({"lr": 2e-3, "seed": 1_000_000})
    assert configs[None] == study.space.config({"seed": 1_000_000})


def test_seeds_are_the_same_for_all_and_none_was_used_in_the_search(search: Search) -> None:
    study = search([(1.5e-3, 0.7)], overrides={**SMALL, "data_path": "puzzles", "seed": 999_999, "epochs": 20})
    study.optuna.add_trial(study.trials()[0])
    assert [trial.user_attrs["seed"] for trial in study.trials()] == [999_999] * 2
    assert fresh_seeds(study, 3) == [1_000_000, 1_000_001, 1_000_002]
    other = search([(1.5e-3, 0.7), (1.5e-3, 0.7)], name="other", sampler={"name": "random", "seed": 1_000_000})
    assert fresh_seeds(other, 2) == [1_000_002, 1_000_003]
    space = plan(study).space
    assert space.parameters["seed"].values == (1_000_000, 1_000_001, 1_000_002)
    assert "seed" not in space.overrides


def test_fewer_configurations_than_asked_for_are_said(search: Search) -> None:
    found = plan(search([(1.5e-3, 0.7), (1.5e-3, 0.6)]), top=3)
    assert found.notes == ("--top 3: only 1 configuration completed, which is what there is to confirm",)


def test_the_baseline_may_be_a_preset_a_file_or_one_of_the_candidates(search: Search) -> None:
    study = search([(2e-3, 0.9)])
    preset = plan(study, baseline="hrm_v1").space
    assert preset.confirm is not None
    values = preset.confirm.candidates[-1].values
    config = preset.config(values)
    assert (config.epochs, config.arch.hidden_size, config.data_path) == (20, 16, "puzzles")  # as the study overrides
    assert config.lr == 1e-4  # the preset's own

    Path("mine.yaml").write_text(config_text(study.space.config({"lr": 5e-3, "epochs": 40, "eval_puzzles": 3})))
    mine = plan(study, baseline="mine.yaml").space
    assert mine.confirm is not None
    config = mine.config(mine.confirm.candidates[-1].values)
    assert (config.lr, config.epochs, config.eval_interval, config.eval_puzzles) == (5e-3, 40, 10, 15)

    Path("same.yaml").write_text(config_text(study.space.config({"lr": 2e-3, "seed": 7})))
    with pytest.raises(StudyError, match="is its only configuration and the baseline as well"):
        plan(study, baseline="same.yaml")
    two = search([(2e-3, 0.9), (1.5e-3, 0.5)], name="two")
    found = plan(two, baseline="same.yaml")
    assert found.space.confirm is not None
    assert [(one.name, one.is_baseline) for one in found.space.confirm.candidates] == [
        ("trial 0", True),
        ("trial 1", False),
    ]
    assert found.notes == ("the baseline is the configuration of trial 0, so it is trained once",)


def test_a_baseline_that_the_search_has_tried_brings_its_score_along(search: Search) -> None:
    Path("low.yaml").write_text("lr: 0.0015\n")
    study = search([(2e-3, 0.9), (3e-3, 0.8), (1.5e-3, 0.5)])
    Path("low.yaml").write_text(config_text(study.space.config({"lr": 1.5e-3})))
    space = plan(study, baseline="low.yaml").space
    assert space.confirm is not None
    baseline = space.confirm.candidates[-1]
    assert (baseline.name, baseline.trial, baseline.score) == ("baseline", 2, 0.5)


@pytest.mark.parametrize(
    ("baseline", "kind", "message"),
    [
        ("hrm_v2", ConfigError, "--baseline hrm_v2: hrm_v2: neither a preset"),
        ("broken.yaml", ConfigError, "--baseline broken.yaml: broken.yaml: "),
    ],
)
def test_a_baseline_that_is_none_is_named(
    search: Search, baseline: str, kind: type[HrmSweepError], message: str
) -> None:
    Path("broken.yaml").write_text("epoch: 3\n")
    with pytest.raises(kind) as caught:
        plan(search([(2e-3, 0.9)]), baseline=baseline)
    assert str(caught.value).startswith(message)


def test_a_study_in_which_nothing_completed_cannot_be_confirmed(search: Search) -> None:
    with pytest.raises(StudyError, match="no trial has completed, so there is nothing to confirm"):
        plan(search([(2e-3, None)]))


def test_a_confirmation_is_not_confirmed_again(search: Search) -> None:
    space = plan(search([(2e-3, 0.9)])).space
    study = create_or_continue(STORAGE, space.name, space)
    with pytest.raises(StudyError, match="sure: is a confirmation itself, of search"):
        plan(study)


def test_puzzles_that_have_changed_since_the_search_are_refused(search: Search, built: tuple[Path, Path]) -> None:
    study = search([(2e-3, 0.9)])
    space = plan(study).space
    confirming = create_or_continue(STORAGE, space.name, space)
    require_same_puzzles(confirming)
    shutil.rmtree("puzzles")
    with pytest.raises(DataError, match="puzzles: expected a puzzle folder, found nothing"):
        plan(study)
    shutil.copytree(built[1], "puzzles")
    with pytest.raises(StudyError, match="holds other puzzles than when search was run"):
        plan(study)
    with pytest.raises(StudyError, match="holds other puzzles than when sure began"):
        require_same_puzzles(confirming)


def test_of_a_study_older_than_the_record_only_the_number_of_puzzles_is_known(search: Search) -> None:
    study = search([(2e-3, 0.9)])
    study.optuna.set_user_attr(attributes.DATA, None)
    selected = len(subset_indices("selection", 40, 15))
    directory = study.run_directory(0)
    directory.path.mkdir(parents=True)
    row = '{"kind": "eval", "step": 1, "epoch": 1, "time_s": 1, "exact_accuracy": 0.9, "count": COUNT}\n'
    directory.metrics.write_text(row.replace("COUNT", str(selected)))
    plan(study)
    directory.metrics.write_text(row.replace("COUNT", "12"))
    with pytest.raises(StudyError, match="15 of them would be used for selection, then 12"):
        plan(study)


def test_trials_on_different_puzzles_are_not_compared(search: Search) -> None:
    study = search(
        [(1.5e-3, 0.7), (2e-3, 0.9)],
        overrides={**SMALL, "data_path": "puzzles", "epochs": 20, "eval_interval": 10},
        parameters={"lr": {"values": [1.5e-3, 2e-3]}, "eval_puzzles": {"values": [10, 15]}},
        first=[{"lr": 1.5e-3, "eval_puzzles": 10}, {"lr": 2e-3, "eval_puzzles": 15}],
    )
    with pytest.raises(StudyError, match="trial 0 has another eval_puzzles than trial 1"):
        plan(study)
    assert plan(study, top=1).space.confirm is not None


def test_a_trial_took_as_long_as_all_its_attempts(search: Search) -> None:
    study = search([(0.1, 0.9), (0.2, 0.4)])
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    one.trial.set_user_attr(attributes.SECONDS, 3600.04)  # most of it in an attempt before
    study.optuna.tell(one.trial, 0.95)
    space = plan(study).space
    assert space.confirm is not None
    best, second, _ = space.confirm.candidates
    assert (best.trial, best.seconds) == (2, 3600.0)
    assert second.seconds is not None
    assert second.seconds < 60
    assert space.confirm.seconds_a_run == pytest.approx((3600 + second.seconds) / 2)
