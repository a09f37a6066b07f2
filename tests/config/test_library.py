"""Where configurations come from: presets, files, run directories."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hrm_sweep.config import load_config, preset_names, write_config
from hrm_sweep.config.library import PRESETS, is_preset
from hrm_sweep.errors import ConfigError

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "official_runs" / "healthy" / "all_config.yaml"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_says_what_it_is_for_and_leaves_the_embedding_to_the_width(name: str) -> None:
    config = load_config(name)
    assert config.arch.puzzle_emb_ndim == config.arch.hidden_size
    assert config.data is not None
    text = (PRESETS / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    assert "puzzle_emb_ndim" not in text


@pytest.mark.parametrize(
    ("name", "steps", "cycles"),
    [("hrm_v1", 16, 2), ("hrm_v1_balanced", 8, 2), ("hrm_v1_aggressive", 2, 1), ("hrm_v1_tiny", 8, 2)],
)
def test_the_presets_of_the_note_differ_in_steps_and_cycles(name: str, steps: int, cycles: int) -> None:
    arch = load_config(name).arch
    assert (arch.halt_max_steps, arch.H_cycles, arch.L_cycles) == (steps, cycles, cycles)
    big = load_config("hrm_v1").arch
    same_model = arch.model_copy(update={"halt_max_steps": 16, "H_cycles": 2, "L_cycles": 2}) == big
    assert same_model is (name != "hrm_v1_tiny")


def test_tiny_is_the_recipe_of_the_healthy_reference_run() -> None:
    theirs, ours = load_config(OFFICIAL).to_mapping(), load_config("hrm_v1_tiny").to_mapping()
    where_from = {"data", "data_path", "project_name", "run_name", "checkpoint_path", "checkpoint_every_eval"}
    assert {key for key in ours if ours[key] != theirs[key]} <= where_from


@pytest.mark.parametrize(
    ("overrides", "interval"),
    [({}, 20), ({"epochs": 100}, 20), ({"epochs": 50}, 5), ({"epochs": 50, "eval_interval": 25}, 25)],
)
def test_a_preset_with_other_epochs_is_evaluated_about_ten_times(overrides: dict[str, int], interval: int) -> None:
    assert load_config("hrm_v1_tiny", overrides).eval_interval == interval


def test_a_file_keeps_its_evaluation_interval(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 60\neval_interval: 20\n")
    with pytest.raises(ConfigError, match="eval_interval 20 does not divide epochs 50"):
        load_config(tmp_path / "mine.yaml", {"epochs": 50})


def test_a_run_directory_stands_for_its_config_and_ours_comes_first(tmp_path: Path) -> None:
    (tmp_path / "all_config.yaml").write_text(OFFICIAL.read_text())
    assert load_config(tmp_path).lr == 1e-3
    write_config(load_config("hrm_v1", {"lr": 0.5}), tmp_path / "config.yaml")
    assert load_config(tmp_path).lr == 0.5


def test_scientific_numbers_without_a_point_are_numbers_in_files_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("lr: 1e-3\n")
    assert yaml.safe_load("lr: 1e-3") == {"lr": "1e-3"}  # YAML 1.1 wants 1.0e-3
    assert load_config(tmp_path / "mine.yaml").lr == 1e-3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lr: [1", "mine.yaml, line 1, column 7: not valid YAML: "),
        (b"lr: 1\n\tepochs: 2", "mine.yaml, line 2, column 1: not valid YAML: "),
        (b"- lr", "mine.yaml: expected keys and values, found list"),
        (b"", "mine.yaml: expected keys and values, found an empty file"),
        (b"lr: \xff\xfe", "mine.yaml: not valid YAML: "),
        (b"lr: \x00", "mine.yaml: not valid YAML: "),
        (b"run_name: 2024-99-99", "mine.yaml: not valid YAML: "),
        (b"a: " + b"[" * 5000, "mine.yaml: not valid YAML: "),
        (b"leanring_rate: 3\nlrr: 3", "mine.yaml: lrr: unknown key"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert f"{tmp_path}/{message}" in str(caught.value)


def test_an_unknown_source_lists_the_presets_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("hrm_v1_tinny")
    assert str(caught.value) == (
        "hrm_v1_tinny: neither a preset (hrm_v1, hrm_v1_aggressive, hrm_v1_balanced, hrm_v1_tiny, progressive) "
        "nor a file; did you mean hrm_v1_tiny?"
    )


def test_a_search_space_is_named_as_what_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nbase: hrm_v1_tiny\nparamters:\n  lr: {values: [0.001]}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(mine)
    assert str(caught.value) == (
        f"{mine}: a search space (it has base), where one configuration is expected; `hrm-sweep run {mine}` takes it "
        "(`hrm-sweep plan` says what it will cost)"
    )
    with pytest.raises(ConfigError, match=r"quickstart: a shipped search space, .* `hrm-sweep run quickstart` takes"):
        load_config("quickstart")


def test_what_tells_a_search_space_from_a_configuration_is_in_one_and_not_in_the_other() -> None:
    from hrm_sweep.config import RunConfig
    from hrm_sweep.config.library import _OF_A_SPACE
    from hrm_sweep.sweep.space import SearchSpace

    assert SearchSpace.model_fields.keys() >= _OF_A_SPACE
    assert not _OF_A_SPACE & RunConfig.model_fields.keys()


def test_a_folder_without_a_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.yaml or all_config\.yaml in this folder"):
        load_config(tmp_path)


def test_a_preset_wins_over_a_file_of_its_name(folder: Path) -> None:
    Path("hrm_v1").write_text("lr: 1")
    assert is_preset("hrm_v1")
    assert load_config("hrm_v1").lr == 1e-4
    assert load_config(Path("./hrm_v1").resolve()).lr == 1
