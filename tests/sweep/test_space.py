"""Search spaces: what is accepted, what is refused and in which words."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from hrm_sweep.config import load_config, search_spaces_folder
from hrm_sweep.errors import SpaceError
from hrm_sweep.sweep.schema import SCHEMA_FILE, schema_text, space_schema
from hrm_sweep.sweep.space import SearchSpace, load_space, space_from_mapping

CONTRACT = """
name: sudoku-4x4
base: hrm_v1_tiny
overrides: {epochs: 60, eval_interval: 5}
objective: {metric: exact_accuracy, goal: maximize}
parameters:
  arch.halt_max_steps: {values: [2, 4, 8, 16]}
  arch.H_cycles: {min: 1, max: 3}
  arch.L_cycles: {min: 1, max: 3}
  lr: {min: 1.0e-4, max: 1.0e-2, log: true}
  global_batch_size: {values: [32, 64, 128]}
  lr_warmup_steps: {min: 20, max: 200, when: {lr: "> 1e-3"}}
first: [{lr: 1.0e-3, arch.halt_max_steps: 8}]
sampler: {name: tpe, seed: 0}
pruner:
  zero_accuracy: {epoch: 20}
  hyperband: {min_epoch: 10}
budget: {trials: 24, hours: 1}
resources: {jobs: auto, gpus_per_trial: 1}
retry: {oom: 1, preempted: 5}
"""
VALUES: dict[str, Any] = yaml.safe_load(CONTRACT)


def space_with(**changes: Any) -> SearchSpace:
    return space_from_mapping({**deepcopy(VALUES), **changes}, "mine.yaml")


def with_parameter(name: str, specification: Any) -> dict[str, Any]:
    return {"parameters": {**VALUES["parameters"], name: specification}}


def test_the_space_of_the_contract_is_read() -> None:
    space = space_with()
    assert space.order()[-1] == "lr_warmup_steps"
    assert list(space.pruner) == ["zero_accuracy", "hyperband"]
    config = space.config({"lr": 2e-3, "arch.H_cycles": 3})
    assert (config.lr, config.arch.H_cycles, config.epochs, config.eval_interval) == (2e-3, 3, 60, 5)


def test_a_space_survives_being_stored_and_read_again() -> None:
    frozen = space_with(pruner={"patient": {"patience": 3, "around": {"median": {"startup_trials": 2}}}}).frozen()
    stored = json.loads(json.dumps(frozen.model_dump(mode="json")))
    assert space_from_mapping(stored, "the storage") == frozen


def test_numbers_in_yaml_1_1_scientific_notation_are_numbers() -> None:
    space = space_with(**with_parameter("lr", {"values": yaml.safe_load("[1e-3, 2E-3]")}), first=[{"lr": "1e-3"}])
    assert space.parameters["lr"].values == (1e-3, 2e-3)
    assert space.first == ({"lr": 1e-3},)


REFUSED = [
    (with_parameter("arch.halt_steps", {"values": [1]}),
     "parameters.arch.halt_steps: unknown key; the nearest valid key is arch.halt_max_steps"),
    (with_parameter("learning_rate", {"values": [1e-3]}),
     "parameters.learning_rate: unknown key; the nearest valid key is lr"),
    ({**with_parameter("lrr", {"min": 0.1, "max": 1.0}), "first": [{"lrr": 0.2}], "sampler": {"name": "grid"}},
     "parameters.lrr: unknown key; the nearest valid key is lr"),
    (with_parameter("lr", {"mim": 1, "max": 3}), "parameters.lr.mim: unknown key; the nearest valid key is min"),
    (with_parameter("lr", [1, 2]), "parameters.lr: expected keys and values, found [1, 2]"),
    (with_parameter("lr", {"min": 1, "max": "x"}), "parameters.lr.max: expected a number, found 'x'"),
    (with_parameter("lr", {"min": 1}), "parameters.lr: expected {values: [...]} or {min: ..., max: ...}"),
    (with_parameter("lr", {"min": 1, "max": 0}), "parameters.lr: min 1 is above max 0"),
    (with_parameter("lr", {"min": 0, "max": 1, "log": True}),
     "parameters.lr: log: true needs min above 0, found 0"),
    (with_parameter("lr", {"min": 1, "max": 2, "step": 0}), "parameters.lr: step: expected a number above 0, found 0"),
    (with_parameter("lr", {"min": 1, "max": 2, "step": 1, "log": True}),
     "parameters.lr: log and step exclude each other"),
    (with_parameter("lr", {"values": [1], "min": 0}),
     "parameters.lr: expected either values or min and max, found values and min"),
    (with_parameter("lr", {"values": []}), "parameters.lr.values: expected at least one, found none"),
    (with_parameter("lr", {"values": [1, 1]}), "parameters.lr: values: the same value twice in [1, 1]"),
    (with_parameter("lr", {"values": [1, [2]]}),
     "parameters.lr.values.1: expected a number, text, true, false or null, found [2]"),
    (with_parameter("lr", {"values": [float("nan")]}), "parameters.lr.values.0: expected a finite number, found nan"),
    (with_parameter("arch.H_cycles", {"min": 1.5, "max": 3}),
     "parameters.arch.H_cycles: min: expected a whole number, found 1.5"),
    (with_parameter("arch.pos_encodings", {"min": 1, "max": 3}),
     "parameters.arch.pos_encodings: is no number, so it has no min and max; expected {values: [...]}"),
    (with_parameter("data.size", {"min": 4, "max": 9}), "parameters.data.size: is no number"),
    (with_parameter("lr", {"values": [1e-3], "when": {"lrr": 3}}),
     "parameters.lr.when.lrr: no parameter of this space; the nearest is lr"),
    (with_parameter("lr", {"values": [1e-3], "when": {"lr_warmup_steps": 30}}),
     "parameters: `when` goes round in a circle: lr -> lr_warmup_steps -> lr"),
    (with_parameter("lr", {"values": [1e-3], "when": {"arch.H_cycles": "> x"}}),
     "parameters.lr.when.arch.H_cycles: expected a number after >, found 'x'"),
    ({"parameters": {}}, "parameters: expected at least one, found none"),
    (
        {"first": [{"lr": 5}]},
        "first.0.lr: 5 is not among the values that the parameter allows, 0.0001 to 0.01; write one of those",
    ),
    ({"first": [{"lrr": 5}]}, "first.0.lrr: no parameter of this space; the nearest is lr"),
    ({"first": [{"arch.halt_max_steps": 3}]}, "first.0.arch.halt_max_steps: 3 is not among the values that the "
     "parameter allows, 2, 4, 8, 16; write one of those, or extend parameters.arch.halt_max_steps"),
    ({"first": [{"arch.H_cycles": 9}]},
     "first.0.arch.H_cycles: 9 is not among the values that the parameter allows, whole numbers from 1 to 3; write"),
    ({**with_parameter("lr", {"min": 0.1, "max": 0.5, "step": 0.1}), "first": [{"lr": 0.15}]},
     "first.0.lr: 0.15 is not among the values that the parameter allows, 0.1 to 0.5 in steps of 0.1; write one of"),
    ({"first": {"lr": 1}}, "first: expected a list, found {'lr': 1}"),
    ({"first": [{"lr": 1e-4, "lr_warmup_steps": 50}]},
     "first.0.lr_warmup_steps: does not exist where lr=0.0001, see its `when`"),
    ({"sampler": {"name": "tpee"}}, "sampler: name: expected one of tpe, random, nsgaii"),
    ({"sampler": {"name": "tpe", "n_startup": 3}},
     "sampler.n_startup: unknown key; the nearest valid key is n_startup_trials"),
    ({"sampler": "tpe"}, "sampler: expected keys and values, found 'tpe'"),
    ({"sampler": {"name": "grid"}}, "parameters.lr: sampler grid tries every value, but a range of real numbers"),
    ({"pruner": {"zero": {}}}, "pruner.zero: no such pruner; expected diagnosis, hyperband, median, patient"),
    ({"pruner": {"zero_accuracy": {"epoc": 3}}},
     "pruner.zero_accuracy.epoc: unknown key; the nearest valid key is epoch"),
    ({"pruner": {"zero_accuracy": {"epoch": 0}}},
     "pruner.zero_accuracy.epoch: expected greater than or equal to 1, found 0"),
    ({"pruner": ["median"]}, "pruner: expected pruners by name, as in zero_accuracy: {epoch: 20}, found ['median']"),
    ({"pruner": {"patient": {"patience": 1, "around": "medan"}}},
     "pruner.patient.around: expected one of hyperband, median"),
    ({"pruner": {"patient": {"patience": 1, "around": {"median": {"startup": 1}}}}},
     "pruner.patient.around.median.startup: unknown key; the nearest valid key is startup_trials"),
    ({"pruner": {"threshold": {}}}, "pruner.threshold: expected lower, upper or both, found neither"),
    ({"budget": {"trials": 0}}, "budget.trials: expected greater than or equal to 1, found 0"),
    ({"budget": {"trial": 4}}, "budget.trial: unknown key; the nearest valid key is trials"),
    ({"resources": {"jobs": "all"}}, "resources.jobs: expected auto or a whole number above 0, found 'all'"),
    ({"retry": {"oomm": 1}}, "retry.oomm: expected 'oom', 'nan', 'config'"),
    ({"objective": ["exact_accuracy"]}, "objective.0: expected keys and values, found 'exact_accuracy'"),
    ({"objective": {"metric": "acc"}}, "objective.metric: expected 'exact_accuracy', 'accuracy', 'loss', 'lm_loss',"),
    ({"name": "../elsewhere"}, "name: '../elsewhere' cannot be the name of a study"),
    ({"name": "runs"}, "name: 'runs' cannot be the name of a study"),
    ({"base": 3}, "base: expected a preset (hrm_v1, hrm_v1_aggressive, hrm_v1_balanced, hrm_v1_tiny, progressive)"),
    ({"base": "hrm_v1_tinny"},
     "base: hrm_v1_tinny: neither a preset (hrm_v1, hrm_v1_aggressive, hrm_v1_balanced, hrm_v1_tiny, progressive) nor "
     "a file; did you mean hrm_v1_tiny?"),
    ({"overrides": {"epoch": 3}}, "overrides.epoch: unknown key; the nearest valid key is epochs"),
    ({"overrides": {"lr": 3}}, "overrides.lr: is a parameter too; leave it out of one of the two"),
    ({"bas": 1}, "bas: unknown key; the nearest valid key is base"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_is_wrong_is_named_with_file_and_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        space_with(**changes)
    lines = str(caught.value).splitlines()
    assert any(line.startswith(f"mine.yaml: {message}") for line in lines), lines
    assert all(line.startswith("mine.yaml: ") for line in lines)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SpaceError) as caught:
        space_with(overrides={"epoch": 3}, first=[{"lrr": 1}], **with_parameter("arch.halt_steps", {"values": [1]}))
    assert len(str(caught.value).splitlines()) == 3


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SpaceError, match=r"mine\.yaml: base: missing"):
        space_from_mapping({key: value for key, value in VALUES.items() if key != "base"}, "mine.yaml")


def test_a_name_that_is_neither_shipped_nor_a_file_gets_the_nearest(folder: Path) -> None:
    with pytest.raises(SpaceError, match=r"quickstrat: neither a shipped search space .* did you mean quickstart\?"):
        load_space("quickstrat")
    Path("a folder").mkdir()
    with pytest.raises(SpaceError, match=r"^a folder: a folder; expected the file of a search space, or one of act_"):
        load_space("a folder")
    Path("broken.yaml").write_text("name: [")
    with pytest.raises(SpaceError, match=r"broken.yaml, line 1"):
        load_space("broken.yaml")


def test_arch_as_a_section_of_overrides_changes_only_what_it_names() -> None:
    space = space_with(overrides={"arch": {"hidden_size": 32, "loss": {"loss_type": "softmax_cross_entropy"}}})
    config = space.config({})
    assert (config.arch.hidden_size, config.arch.num_heads, config.arch.H_layers) == (32, 2, 1)
    assert config.arch.loss.loss_type == "softmax_cross_entropy"


def test_the_width_that_varies_takes_the_puzzle_embedding_with_it() -> None:
    space = space_with(**with_parameter("arch.hidden_size", {"values": [32, 64]})).frozen()
    assert [space.config({"arch.hidden_size": n}).arch.puzzle_emb_ndim for n in (32, 64)] == [32, 64]


def test_freezing_changes_no_trials_config(folder: Path) -> None:
    space = space_with()
    values = {"lr": 1e-3, "arch.halt_max_steps": 2}
    assert space.frozen().config(values) == space.config(values) == load_config("hrm_v1_tiny", {
        **values, "epochs": 60, "eval_interval": 5,
    })  # fmt: skip
    Path("base.yaml").write_text("lr: 0.5\n")
    from_file = space_with(base="base.yaml").frozen()
    Path("base.yaml").write_text("beta1: 0.1\n")
    assert from_file.config({"lr": 0.25}).beta1 == 0.9


@pytest.mark.parametrize(
    ("overrides", "epochs", "interval"), [({}, None, 20), ({"epochs": 40}, None, 20), ({"epochs": 50}, None, 5)]
)
def test_a_presets_evaluation_interval_gives_way_to_other_epochs(
    overrides: dict[str, Any], epochs: None, interval: int
) -> None:
    assert space_with(overrides=overrides).frozen().config({}).eval_interval == interval


def test_epochs_that_vary_are_evaluated_about_ten_times_each() -> None:
    space = space_with(overrides={}, **with_parameter("epochs", {"values": [30, 100]})).frozen()
    assert [space.config({"epochs": n}).eval_interval for n in (30, 100)] == [3, 10]


def test_an_override_of_the_command_line_pins_a_parameter() -> None:
    pinned = space_with().with_overrides({"lr": 5e-2, "epochs": 30, "beta1": 0.5})
    assert pinned.parameters["lr"].values == (5e-2,)
    assert pinned.first == ({"lr": 5e-2, "arch.halt_max_steps": 8},)
    assert (pinned.overrides["epochs"], pinned.overrides["beta1"]) == (30, 0.5)
    again = space_from_mapping(pinned.model_dump(mode="json"), "pinned")
    assert again.config({"lr": 5e-2}).lr == 5e-2


def test_only_what_makes_trials_comparable_is_the_identity_of_a_space() -> None:
    first = space_with()
    same = space_with(
        name="other",
        budget={"trials": 1},
        resources={"jobs": 3},
        retry={},
        sampler={"name": "tpe", "seed": 9},
        audit=0.5,
    )
    assert first.identity() == same.identity()
    assert first.identity() != space_with(pruner={}).identity()
    assert first.identity() != space_with(overrides={}).identity()


def test_a_metric_that_is_a_loss_is_minimised() -> None:
    assert space_with(objective={"metric": "lm_loss"}).objective.goal == "minimize"
    assert space_with(objective={"metric": "accuracy"}).objective.goal == "maximize"


def test_the_published_schema_is_what_the_code_says() -> None:
    published = (search_spaces_folder() / SCHEMA_FILE).read_text()
    assert published == schema_text(), "write it again with `python -m hrm_sweep.sweep.schema`"


def test_the_schema_knows_every_pruner_sampler_and_key() -> None:
    schema = space_schema()
    assert "arch.halt_max_steps" in schema["properties"]["parameters"]["propertyNames"]["anyOf"][0]["enum"]
    assert {"zero_accuracy", "hyperband", "patient"} <= set(schema["properties"]["pruner"]["properties"])
    assert {"tpe", "grid", "gp"} <= set(schema["properties"]["sampler"]["discriminator"]["mapping"])
    assert schema["$defs"]["Budget"]["properties"]["trials"]["minimum"] == 1


def staged_space(**changes: Any) -> SearchSpace:
    parameters = {
        "stages.0.epochs": {"values": [4, 8]},
        "stages.1.overrides.arch.halt_max_steps": {"min": 2, "max": 6},
        "stages.1.overrides.lr": {"min": 1e-4, "max": 1e-2, "log": True, "when": {"stages.0.epochs": 4}},
    }
    stages = [{"epochs": 4, "overrides": {"arch.halt_max_steps": 2}}, {"epochs": 8}]
    values = {"name": "staged", "base": "hrm_v1_tiny", "overrides": {"stages": stages}, "parameters": parameters}
    return space_from_mapping({**values, **changes}, "staged.yaml")


def test_keys_of_a_stage_are_parameters_like_any_other() -> None:
    space = staged_space()
    values = {"stages.0.epochs": 8, "stages.1.overrides.arch.halt_max_steps": 5}
    for one in (space, space.frozen()):
        config = one.config(values)
        assert (config.epochs, one.epochs_of(values)) == (16, 16)
        assert config.eval_interval == 2  # about ten, and an evaluation ends each stage
        assert (config.stage(0).arch.halt_max_steps, config.stage(1).arch.halt_max_steps) == (2, 5)
    pinned = space.with_overrides({"stages.0.epochs": 12, "stages.0.overrides.lr": 1e-4})
    assert pinned.parameters["stages.0.epochs"].values == (12,)
    assert pinned.config({"stages.0.epochs": 12}).stage(0).lr == 1e-4


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"stages.1.overrides.arch.hidden_size": {"values": [32]}}, "a stage cannot set it"),
        ({"stages.1.overrides.arch.halt_max_steps": {"min": 2, "max": 2.5}}, "max: expected a whole number"),
        ({"stages.first.epochs": {"values": [4]}}, "unknown key"),
    ],
)
def test_a_key_that_a_stage_cannot_set_is_no_parameter(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        staged_space(parameters=parameters)
