"""Search spaces of other tools: what comes out loads, lints and means the same, and nothing is dropped in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.errors import SpaceError
from hrm_sweep.sweep.imports import Converted, from_hydra, from_wandb
from hrm_sweep.sweep.imports.hydra_grammar import parse_sweep
from hrm_sweep.sweep.space import SearchSpace, load_space
from hrm_sweep.sweep.space_lint import lint_space

ROOT = Path(__file__).resolve().parents[2]
SPACES = ROOT / "tests" / "fixtures" / "spaces"


def convert(name: str) -> Converted:
    tool = from_wandb if name.startswith("wandb") else from_hydra
    return tool(SPACES / name, "hrm_v1_tiny")


def parameters(space: SearchSpace) -> dict[str, Any]:
    """As the file has them."""
    given = space.model_dump(mode="json")["parameters"]
    return {name: {k: v for k, v in one.items() if v not in (None, False, {})} for name, one in given.items()}


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "foreign.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("name", sorted(path.name for path in SPACES.glob("*.yaml")))
def test_what_is_written_reads_back_as_the_same_space_and_lints(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    converted = convert(name)
    file = tmp_path / "ours.yaml"
    file.write_text(converted.text(), encoding="utf-8")
    space = load_space(str(file))
    assert space == converted.space
    assert lint_space(space, str(file)).combinations


def test_a_sweep_of_weights_and_biases() -> None:
    converted = convert("wandb_bayes.yaml")
    space = converted.space
    assert space.name == "sudoku-4x4-first-try"
    assert (space.objective.metric, space.objective.goal, space.sampler.name) == ("exact_accuracy", "maximize", "tpe")
    assert space.budget.trials == 12
    assert parameters(space) == {
        "lr": {"min": 1e-4, "max": 1e-2, "log": True},
        "weight_decay": {"min": 0.01, "max": 1.0},
        "lr_warmup_steps": {"min": 20, "max": 100, "step": 10},
        "global_batch_size": {"values": [32, 64]},
        "arch.H_cycles": {"min": 1, "max": 3, "step": 1},
        "arch.halt_max_steps": {"values": [2, 4, 8]},
    }
    assert space.overrides == {
        "data_path": "tests/fixtures/sudoku-4x4", "eval_interval": 10, "epochs": 60, "project_name": "hrm",
    }  # fmt: skip
    assert space.pruner["hyperband"].model_dump() == {"min_epoch": 30, "max_epoch": None, "reduction_factor": 2}
    said = {line.partition(":")[0] for line in converted.left_out}
    assert said == {
        "method bayes", "metric.target", "arch.halt_max_steps.probabilities", "optimizer",
        "early_terminate.strict", "command arch=hrm_v1", "command --verbose", "program",
    }  # fmt: skip
    assert all(line in " ".join(converted.text().replace("\n#", "").split()) for line in converted.left_out)


def test_a_grid_has_as_many_trials_as_combinations() -> None:
    space = convert("wandb_grid.yaml").space
    assert (space.sampler.name, space.budget.trials) == ("grid", 6)
    assert (space.objective.metric, space.objective.goal) == ("lm_loss", "minimize")


def test_a_config_of_the_hydra_sweeper() -> None:
    converted = convert("hydra_params.yaml")
    space = converted.space
    assert (space.name, space.budget.trials, space.resources.jobs) == ("hrm_sudoku", 15, 2)
    assert space.sampler.model_dump()["seed"] == 7
    assert parameters(space) == {
        "lr": {"min": 1e-4, "max": 1e-2, "log": True},
        "arch.H_cycles": {"min": 1, "max": 3},
        "arch.halt_max_steps": {"values": [2, 4, 8]},
        "arch.L_cycles": {"values": [1, 2, 4]},
        "lr_warmup_steps": {"min": 20, "max": 100, "step": 20},
        "weight_decay": {"min": 0.01, "max": 1.0},
        "arch.pos_encodings": {"values": ["rope", "learned"]},
    }
    assert space.overrides["arch.hidden_size"] == 64
    said = {line.partition(":")[0] for line in converted.left_out}
    assert said >= {
        "the objective", "model.dropout", "project_name", "hydra.mode", "hydra.sweeper.max_failure_rate",
        "hydra.sweeper.sampler.consider_prior",
    }  # fmt: skip


def test_the_older_form_of_the_hydra_sweeper() -> None:
    space = convert("hydra_search_space.yaml").space
    assert (space.objective.metric, space.sampler.name, space.budget.trials) == ("lm_loss", "random", 6)
    assert parameters(space) == {
        "lr": {"min": 1e-4, "max": 1e-2, "log": True},
        "arch.H_cycles": {"min": 1, "max": 3},
        "global_batch_size": {"values": [32, 64]},
        "weight_decay": {"min": 0.1, "max": 0.5, "step": 0.1},
    }


LR = {"lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "simplex"}, "method: expected one of bayes, random, grid, found 'simplex'"),
        ({"metric": {"name": "val_f1", "goal": "maximize"}}, "metric.name: a study decides by exact_accuracy"),
        ({"metric": {"name": "all.exact_accuracy", "goal": "minimize"}}, "would look for the worst model"),
        ({"parameters": {"lr": {"distribution": "normal", "mu": 0}}}, "distribution normal.* no counterpart"),
        ({"parameters": {"lr": {"distribution": "log_uniform", "min": 0.0, "max": 1e6}}}, "are exponents of e"),
        ({"parameters": {"optimizer": {"values": ["adam"]}}}, "no parameter that .* optimizer: no key"),
        ({"parameters": {"arch.H_cycles": {"min": 0.5, "max": 2.5}}}, "min: expected a whole number"),
        ({"early_terminate": {"type": "median"}}, "early_terminate: expected type hyperband"),
        ({"method": "grid", "parameters": {"lr": {"min": 0.1, "max": 0.2}}}, "has no end"),
        ({"parameters": None}, "expected a sweep of Weights & Biases, with parameters"),
    ],
)  # fmt: skip
def test_a_sweep_that_would_become_another_one_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    content = {"method": "random", "metric": {"name": "all.exact_accuracy"}, "parameters": LR, **change}
    with pytest.raises(SpaceError, match=said):
        from_wandb(written(tmp_path, content), "hrm_v1_tiny")


@pytest.mark.parametrize(
    ("sweeper", "said"),
    [
        ({"params": {"lr": "glob(all)"}}, "lr: no counterpart for glob"),
        ({"params": {"lr": "interval(a, b)"}}, r"expected numbers in interval"),
        ({"params": {"lr": "choice(1, 2"}}, "lr: not understood"),
        ({"params": {"lr": "interval(0.1, 0.2)"}, "direction": ["maximize", "minimize"]}, "expected one objective"),
        ({"params": {"lr": "interval(0.1, 0.2)"}, "sampler": {"_target_": "my.OwnSampler"}}, "found 'own'"),
        ({}, "no parameter that could be varied here"),
    ],
)
def test_a_hydra_config_that_would_become_another_one_is_refused(
    tmp_path: Path, sweeper: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpaceError, match=said):
        from_hydra(written(tmp_path, {"hydra": {"sweeper": {"direction": "maximize", **sweeper}}}), "hrm_v1_tiny")


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"expected a config of Hydra with hydra\.sweeper; found lr"):
        from_hydra(written(tmp_path, {"lr": 1}), "hrm_v1_tiny")


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("choice(a, b-c)", None),
        ("choice(true, null, 1.5)", {"values": [True, None, 1.5]}),
        ("range(4)", {"min": 0, "max": 4}),
        ("range(start=1, stop=9, step=2)", {"min": 1, "max": 9, "step": 2}),
        ("range(0.1, 0.5, 0.1)", {"min": 0.1, "max": 0.5, "step": 0.1}),
        ("tag(t1, log, int(interval(1, 12)))", {"min": 1, "max": 12, "log": True}),
        ("shuffle(choice(1, 2))", {"values": [1, 2]}),
        ("-0.5, 1e-3", {"values": [-0.5, 1e-3]}),
        ("data/one,data/two", {"values": ["data/one", "data/two"]}),
        ("64", {"value": 64}),
    ],
)
def test_hydras_notation(text: str, parameter: dict[str, Any] | None) -> None:
    if parameter is None:
        with pytest.raises(ValueError, match="not understood"):
            parse_sweep(text)
    else:
        assert parse_sweep(text) == parameter


@given(st.text(max_size=80) | st.from_regex(r"(choice|range|tag|interval)\([a-z0-9.,=()\- ]*\)", fullmatch=True))
def test_any_text_is_a_sweep_or_says_why_not(text: str) -> None:
    try:
        parameter = parse_sweep(text)
    except ValueError:
        return
    assert {"values", "value", "min"} & set(parameter)


@given(
    low=st.floats(1e-6, 1e-3), width=st.floats(1.5, 1000), log=st.booleans(),
    batches=st.lists(st.integers(1, 4096), min_size=1, max_size=5, unique=True),
)  # fmt: skip
def test_ranges_and_values_come_through_unchanged(
    tmp_path_factory: pytest.TempPathFactory, low: float, width: float, log: bool, batches: list[int]
) -> None:
    kind = "log_uniform_values" if log else "uniform"
    sweep = {
        "method": "random",
        "parameters": {
            "lr": {"distribution": kind, "min": low, "max": low * width},
            "global_batch_size": {"values": batches},
        },
    }
    space = from_wandb(written(tmp_path_factory.mktemp("sweep"), sweep), "hrm_v1_tiny").space
    lr = {"min": low, "max": low * width} | ({"log": True} if log else {})
    assert parameters(space) == {"lr": lr, "global_batch_size": {"values": batches}}
