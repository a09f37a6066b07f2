"""Weights in every published spelling are read; what could run code, or does not fit, is refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hrm_sweep.config import ArchConfig
from hrm_sweep.errors import CheckpointError
from hrm_sweep.model.checkpoint import apply_weights, load_state, load_weights, weights_to_save
from hrm_sweep.model.hrm import HRM, DataShape


def a_model(width: int = 16) -> HRM:
    arch = ArchConfig.model_validate({"hidden_size": width, "num_heads": 2, "H_layers": 1, "L_layers": 1})
    return HRM(arch, DataShape(6, 16, 1), torch.float32)


@pytest.mark.parametrize("prefix", ["", "model.", "_orig_mod.model.", "_orig_mod."])
def test_all_published_prefixes_are_accepted(tmp_path: Path, prefix: str) -> None:
    model = a_model()
    torch.save({f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}, tmp_path / "step_7")
    weights = load_weights(tmp_path / "step_7")
    assert set(weights) == set(model.state_dict())
    other = a_model()
    apply_weights(other, weights, "step_7")
    assert torch.equal(other.inner.lm_head.weight, model.inner.lm_head.weight)


def test_saved_weights_have_the_names_of_the_reference() -> None:
    names = set(weights_to_save(a_model()))
    assert {
        "model.inner.embed_tokens.embedding_weight",
        "model.inner.puzzle_emb.weights",
        "model.inner.H_init",
    } <= names
    assert "model.inner.H_level.layers.0.self_attn.qkv_proj.weight" in names
    assert not any("rotary" in name for name in names)


class Malicious:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.proof}'",)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"model.inner.H_init": Malicious(tmp_path / "ran")}, tmp_path / "step_1")
    with pytest.raises(CheckpointError, match="refused"):
        load_weights(tmp_path / "step_1")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "damaged"), (b"not a checkpoint at all", "refused|damaged"), (None, "no such checkpoint")],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "step_1"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "step_1"
    torch.save(weights_to_save(a_model()), path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="damaged"):
        load_weights(path)


def test_weights_of_another_width_are_refused_naming_the_tensor(tmp_path: Path) -> None:
    torch.save(weights_to_save(a_model(32)), tmp_path / "step_1")
    with pytest.raises(CheckpointError, match=r"inner\.H_init has shape \(32,\), expected \(16,\)"):
        apply_weights(a_model(16), load_weights(tmp_path / "step_1"), "step_1")


def test_a_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    torch.save({"version": 99}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="newer"):
        load_state(tmp_path / "last.pt")
    torch.save({"model.inner.H_init": torch.zeros(2)}, tmp_path / "step_1")
    with pytest.raises(CheckpointError, match="not a training state"):
        load_state(tmp_path / "step_1")
