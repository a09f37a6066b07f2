"""What a run of the reference left: its weights, read without running anything that a file may hide.

torch is needed here, and only here; it is imported by the model package when the first checkpoint is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hrm_sweep.errors import CheckpointError

MODULES = ("embed_tokens", "embed_pos", "H_level", "L_level", "lm_head", "q_head")
PUZZLE_EMBEDDING = "puzzle_emb"

Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class ModuleFacts:
    """One module of one checkpoint.

    norm      l2 norm of all its weights.
    max_abs   largest absolute weight.
    finite    whether every weight is a number.
    moved     l2 norm of the change since the checkpoint before; None for the first.
    drifted   the part of that change that no rescaling explains: weight decay alone leaves it 0. None for the first.
    unchanged names of its tensors that are bit for bit what they were in the checkpoint before.
    """

    norm: float
    max_abs: float
    finite: bool
    moved: float | None = None
    drifted: float | None = None
    unchanged: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckpointFacts:
    """One checkpoint: facts by module (`MODULES`, and `puzzle_emb` where there is one).

    q_head_untouched    whether the Q head is bit for bit what it starts as: weight 0, bias -5.
    q_bias_untouched    whether its bias alone is.
    puzzle_rows_moved   share of puzzle-embedding rows that are not zero; None without an embedding.
    """

    step: int
    modules: Mapping[str, ModuleFacts]
    q_head_untouched: bool
    puzzle_rows_moved: float | None
    q_bias_untouched: bool = False


def read_checkpoints(weights: Sequence[tuple[int, Path]]) -> tuple[tuple[CheckpointFacts, ...], tuple[str, ...]]:
    """(facts by step, problems) of `step_N` files. A file that is damaged or refused is a problem, not an error."""
    facts: list[CheckpointFacts] = []
    problems: list[str] = []
    before: dict[str, npt.NDArray[np.float32]] | None = None
    for step, path in weights:
        try:
            arrays = _load(path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        facts.append(_facts(step, arrays, before))
        before = arrays
    return tuple(facts), tuple(problems)


def _load(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    from hrm_sweep.model.checkpoint import load_weights  # torch: half a second, and only runs of the reference need it

    try:
        return {name: tensor.float().numpy() for name, tensor in load_weights(path).items()}
    except (TypeError, RuntimeError) as error:  # a tensor that is sparse, or of a type that holds no numbers
        raise CheckpointError(f"{path}: not the weights of an HRM ({error})") from None


def _facts(step: int, arrays: Arrays, before: Arrays | None) -> CheckpointFacts:
    modules = {}
    for module in (*MODULES, PUZZLE_EMBEDDING):
        names = [name for name in arrays if name.startswith(f"inner.{module}.")]
        if names:
            now = _flat(arrays, names)
            same = before is not None and all(n in before and before[n].shape == arrays[n].shape for n in names)
            facts = _module_facts(now, _flat(before, names) if before is not None and same else None)
            modules[module] = replace(facts, unchanged=_unchanged(arrays, before, names) if before and same else ())
    table = arrays.get(f"inner.{PUZZLE_EMBEDDING}.weights")
    weight, bias = arrays.get("inner.q_head.weight"), arrays.get("inner.q_head.bias")
    q_bias_untouched = bias is not None and bool((bias == -5).all())
    return CheckpointFacts(
        step=step,
        modules=modules,
        q_head_untouched=q_bias_untouched and weight is not None and not weight.any(),
        q_bias_untouched=q_bias_untouched,
        puzzle_rows_moved=None
        if table is None or table.ndim != 2 or not len(table)
        else float(table.any(axis=1).mean()),
    )


def _unchanged(arrays: Arrays, before: Arrays, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.removeprefix("inner.") for name in names if np.array_equal(arrays[name], before[name]))


def _flat(arrays: Arrays, names: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.concatenate([arrays[name].ravel() for name in names])


def _module_facts(now: npt.NDArray[np.float32], before: npt.NDArray[np.float32] | None) -> ModuleFacts:
    finite = bool(np.isfinite(now).all())
    norm = float(np.linalg.norm(now.astype(np.float64)))
    moved = drifted = None
    if before is not None:
        with np.errstate(all="ignore"):  # weights that are infinite
            change = now.astype(np.float64) - before
            moved = float(np.linalg.norm(change))
            square = float(before.astype(np.float64) @ before)
            scale = float(now.astype(np.float64) @ before) / square if square else 0.0
            drifted = float(np.linalg.norm(now - scale * before.astype(np.float64)))
    return ModuleFacts(norm, float(np.abs(now).max(initial=0.0)), finite, moved, drifted)
