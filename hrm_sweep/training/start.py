"""A run that starts from the weights of another, ours or published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from hrm_sweep.errors import CheckpointError
from hrm_sweep.model.checkpoint import load_weights
from hrm_sweep.model.hrm import HRM

_SHOWN = 5
_MODULES = ("inner.H_level.", "inner.L_level.")
_TABLE = "inner.puzzle_emb.weights"


def start_from(model: HRM, checkpoint: Path) -> Iterator[str]:
    """Put into `model` what fits it of a checkpoint, by name and shape; yields a line for the log on what did, and one
    for each part that did not and so begins as in any new run.

    Raises CheckpointError when the file cannot be read, or when nothing of its two recurrent modules fits: a bias of
    the Q head has the same shape in every model.
    """
    try:
        given, own = load_weights(checkpoint), model.state_dict()
    except CheckpointError as error:
        raise CheckpointError(f"init_from: {error}") from None
    fitting = {name: given[name] for name in own if name in given and given[name].shape == own[name].shape}
    if not any(name.startswith(_MODULES) for name in fitting):
        raise CheckpointError(
            f"{checkpoint}: init_from: no weight of its H and L modules has the name and shape of one of this model; "
            f"{next(_differences(given, own), '')}; use its architecture (arch.hidden_size and the like), or leave "
            "init_from out"
        )
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    yield f"starting from {checkpoint}: {len(fitting)} of {len(own)} tensors taken"
    differences = list(_differences(given, own))
    for line in differences[:_SHOWN]:
        yield f"init_from: {line}"
    if len(differences) > _SHOWN:
        yield f"init_from: and {len(differences) - _SHOWN} more that did not match"


def _differences(given: dict[str, Tensor], own: dict[str, Tensor]) -> Iterator[str]:
    for name, tensor in own.items():
        if name not in given:
            yield f"{name} is not in the checkpoint: it starts anew"
        elif given[name].shape != tensor.shape and name == _TABLE:
            there, here = (" by ".join(map(str, one.shape)) for one in (given[name], tensor))
            yield f"the puzzle embedding is {there} there and {here} here (identifiers by width): it starts at zero"
        elif given[name].shape != tensor.shape:
            yield f"{name} has shape {tuple(given[name].shape)} there and {tuple(tensor.shape)} here: it starts anew"
    for name in given:
        if name not in own:
            yield f"{name} of the checkpoint has no place here: it is left out"
