"""The reference's command line and its all_config.yaml, as Hydra and the reference read them."""

from __future__ import annotations

import re
import shlex
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.config.reference import all_config, all_config_text, not_official, official_command

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "official_runs"

# The values of the reference's two configuration files, and those that its classes take where nothing is said.
FILES: dict[str, Any] = {
    "arch": {
        "name": "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1",
        "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
        "halt_exploration_prob": 0.1,
        "halt_max_steps": 16,
        "H_cycles": 2,
        "L_cycles": 2,
        "H_layers": 4,
        "L_layers": 4,
        "hidden_size": 512,
        "num_heads": 8,
        "expansion": 4,
        "puzzle_emb_ndim": 512,
        "pos_encodings": "rope",
    },
    "data_path": "data/arc-aug-1000",
    "global_batch_size": 768,
    "epochs": 100000,
    "eval_interval": 10000,
    "checkpoint_every_eval": True,
    "lr": 1e-4,
    "lr_min_ratio": 1.0,
    "lr_warmup_steps": 2000,
    "beta1": 0.9,
    "beta2": 0.95,
    "weight_decay": 0.1,
    "puzzle_emb_weight_decay": 0.1,
    "puzzle_emb_lr": 1e-2,
}
CLASSES: dict[str, Any] = {
    "seed": 0,
    "project_name": None,
    "run_name": None,
    "checkpoint_path": None,
    "eval_save_outputs": [],
}
ARCH_CLASSES = {"rope_theta": 10000.0, "rms_norm_eps": 1e-5, "forward_dtype": "bfloat16"}


def hydra_value(text: str) -> Any:
    """A value by Hydra's grammar of overrides, as far as ours use it: lists, quoted and plain text, numbers, words."""
    if text.startswith("["):
        return [hydra_value(part) for part in split_list(text[1:-1])]
    if text.startswith("'"):
        assert text.endswith("'")
        return re.sub(r"(\\+)('|\$\{|$)", unescaped, text[1:-1])
    if text in ("null", "true", "false"):
        return {"null": None, "true": True, "false": False}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    assert re.fullmatch(r"[A-Za-z_/][\w./@%+-]*", text, re.ASCII), f"{text!r} needs quotes"
    return text


def unescaped(found: re.Match[str]) -> str:
    return "\\" * (len(found[1]) // 2) + found[2]


def split_list(inside: str) -> list[str]:
    return re.findall(r"'(?:[^'\\]|\\.)*'|[^,]+", inside, re.DOTALL)


def as_the_reference_reads_it(command: str) -> dict[str, Any]:
    """The content of the all_config.yaml that the reference would write, but for names that it makes up."""
    python, script, arch, *overrides = shlex.split(command)
    assert (python, script, arch) == ("python", "pretrain.py", "arch=hrm_v1")
    values = deepcopy(FILES)
    for override in overrides:
        key, _, text = override.partition("=")
        added, name = key.startswith("++"), key.removeprefix("++")
        *sections, last = name.split(".")
        inside = values
        for section in sections:
            inside = inside[section]
        assert added == (last not in inside), f"{name}: Hydra refuses a key that its files lack, unless ++ adds it"
        inside[last] = hydra_value(text)
    values["arch"] = {**ARCH_CLASSES, **values["arch"]}
    return {**CLASSES, **values}


@pytest.mark.parametrize("run", sorted(path.name for path in OFFICIAL.iterdir() if path.is_dir()))
def test_the_line_of_a_run_of_the_reference_gives_its_all_config(run: str) -> None:
    written = yaml.safe_load((OFFICIAL / run / "all_config.yaml").read_text())
    read = as_the_reference_reads_it(official_command(load_config(OFFICIAL / run)))
    assert read == {**written, "arch": {**ARCH_CLASSES, **written["arch"]}}


TEXTS = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["null", "True", "1e5", ".5", "nan", "a b", "it's", "\\", "${x}"]
)


@settings(max_examples=40)
@given(
    preset=st.sampled_from(["hrm_v1", "hrm_v1_tiny"]),
    lr=st.floats(0, 1e3),
    text=TEXTS,
    texts=st.lists(TEXTS, max_size=2),
    seed=st.integers(0, 3),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_any_line_gives_its_all_config(
    preset: str, lr: float, text: str, texts: list[str], seed: int, dtype: str
) -> None:
    config = load_config(
        preset,
        {"data_path": text, "run_name": text, "lr": lr, "seed": seed, "eval_save_outputs": texts}
        | {"arch.forward_dtype": dtype, "arch.rope_theta": 500.0},
    )
    assert as_the_reference_reads_it(official_command(config)) == all_config(config)


def test_all_config_reads_back_without_what_the_reference_does_not_have() -> None:
    config = load_config("hrm_v1_tiny", {"stop_when_solved": 0.9})
    read = RunConfig.model_validate(yaml.safe_load(all_config_text(config, Path("/data/mine"))))
    assert read.data_path == "/data/mine"
    assert read.arch == config.arch
    assert (read.stop_when_solved, read.data) == (None, None)


def test_what_the_reference_would_do_otherwise_is_said() -> None:
    assert list(not_official(load_config("hrm_v1"))) == []
    config = load_config("hrm_v1_tiny", {"stop_when_solved": 0.9, "arch.puzzle_emb_ndim": 0})
    assert list(not_official(config)) == [
        "the reference has no stop_when_solved (0.9 here): it trains all 60 epochs",
        "the reference does not start with arch.puzzle_emb_ndim 0: it expects a puzzle embedding",
    ]
