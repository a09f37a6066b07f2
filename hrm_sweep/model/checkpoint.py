"""Weights and training states on disk. Always loaded with weights_only=True: a pickle that runs code is refused.

Weights are in the reference's format: a state dict whose names carry the prefix `model.`. Published checkpoints may
carry `_orig_mod.` before it (they were compiled) or no prefix at all; all three are read.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrm_sweep.config import RunConfig
from hrm_sweep.errors import CheckpointError

STATE_VERSION = 1
_PREFIXES = ("_orig_mod.", "model.")


def weights_to_save(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of `model` as the reference writes it, on the CPU."""
    return with_reference_names(model.state_dict())


def with_reference_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours with the reference's names, on the CPU."""
    return {f"model.{name}": tensor.detach().cpu() for name, tensor in weights.items()}


def load_weights(path: Path) -> dict[str, Tensor]:
    """Weights by state-dict name (`inner. ...`) of a `step_N` file or of one of our full states, on the CPU.

    Raises CheckpointError: no such file, not a checkpoint, damaged, or a pickle that would run code.
    """
    content = _load(path)
    weights = content.get("model", content) if isinstance(content.get("version"), int) else content
    stripped = {_without_prefixes(str(name)): value for name, value in weights.items()}
    if not stripped or not all(isinstance(value, Tensor) for value in stripped.values()):
        raise CheckpointError(f"{path}: expected a state dict of tensors, found {_describe(weights)}")
    if not any(name.startswith("inner.") for name in stripped):
        raise CheckpointError(
            f"{path}: no HRM weights in it (expected names like inner.H_init), found {_describe(weights)}"
        )
    return stripped


def config_of_checkpoint(config: RunConfig, path: Path) -> RunConfig:
    """What a checkpoint of a run with `config` was trained with last: of a run with stages, the stage in which it was
    written. Weights alone do not say; those are written at the end of a run, and so of its last stage.

    Raises CheckpointError.
    """
    if config.stages is None:
        return config
    stage = _load(path).get("stage")
    return config.stage(stage) if isinstance(stage, int) and stage < len(config.stages) else config.last_stage


def apply_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Put `weights` into `model`. Raises CheckpointError naming what is missing, unknown or of another shape."""
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in weights]
    problems += [f"{name} is unknown" for name in weights if name not in own]
    problems += [
        f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise CheckpointError(f"{where}: does not fit the configuration: {shown}; use the config the weights came with")
    model.load_state_dict(dict(weights))


def load_state(path: Path) -> dict[str, Any]:
    """A full training state of ours, on the CPU. Raises CheckpointError, also for one of a newer version."""
    content = _load(path)
    version = content.get("version")
    if not isinstance(version, int):
        raise CheckpointError(f"{path}: not a training state of hrm-sweep (no version in it); it may hold weights only")
    if version > STATE_VERSION:
        raise CheckpointError(
            f"{path}: written by a newer hrm-sweep (state version {version}, this one reads up to {STATE_VERSION}); "
            "update hrm-sweep"
        )
    return content


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on files that it is about to refuse
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: refused: it is not a plain file of tensors; loading it could run code that someone hid in it"
        ) from None
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; make it readable") from None
    except Exception:  # damaged bytes make torch's reader raise nearly anything, in words for its developers
        raise CheckpointError(
            f"{path}: damaged, incomplete or not a checkpoint ({path.stat().st_size:,} bytes); copy or write it again, "
            "or name another one"
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, found {_describe(content)}")
    return content


def _without_prefixes(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"{len(content)} entries ({', '.join(str(key) for key in list(content)[:3])}, ...)"
    return type(content).__name__
