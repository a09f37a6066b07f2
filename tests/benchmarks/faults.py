"""Faults to inject into real training runs, each with the rules that name it rightly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hrm_sweep.evaluation.attention_layout import attention_over_heads
from hrm_sweep.model.block import ReasoningModule
from hrm_sweep.model.layers import Attention
from hrm_sweep.training.learner import Learner
from hrm_sweep.training.loop import Run

Arrays = dict[str, np.ndarray]


class Ending(Enum):
    """How the process of a run ends."""

    BY_ITSELF = "by itself"
    KILLED = "by SIGKILL at half of its steps"
    DISK_FULL = "its disk is full before half of its steps"


@dataclass(frozen=True)
class Fault:
    """One way to break a run.

    named_by   rules that name it; the first finding has to be one of them.
    overrides  of the RunConfig.
    data       changes the arrays of one split, ("train" | "test", that split, the train split, random numbers).
    harm       breaks a Run before its first step; the seed chooses among ways to do the same.
    """

    kind: str
    named_by: tuple[str, ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    data: Callable[[str, Arrays, Arrays, np.random.Generator], None] | None = None
    harm: Callable[[Run, int], None] | None = None
    ending: Ending = Ending.BY_ITSELF


def change_data(folder: Path, fault: Fault, seed: int) -> None:
    """Apply `fault.data` to a puzzle folder, in place."""
    if fault.data is None:
        return
    generator = np.random.default_rng(seed)
    splits = {name: _arrays(folder / name) for name in ("train", "test")}
    for name, arrays in splits.items():
        fault.data(name, arrays, splits["train"], generator)
        for array, values in arrays.items():
            np.save(folder / name / f"all__{array}.npy", values)
        metadata = folder / name / "dataset.json"
        groups = {"total_groups": len(arrays["group_indices"]) - 1}
        metadata.write_text(json.dumps(json.loads(metadata.read_text()) | groups))


def _arrays(split: Path) -> Arrays:
    return {file.stem.removeprefix("all__"): np.load(file) for file in sorted(split.glob("all__*.npy"))}


# What is done to the puzzles ----------------------------------------------------------------------------------------


def _shuffle_labels(split: str, arrays: Arrays, train: Arrays, generator: np.random.Generator) -> None:
    arrays["labels"] = arrays["labels"][generator.permutation(len(arrays["labels"]))]


def _leak_test_puzzles(split: str, arrays: Arrays, train: Arrays, generator: np.random.Generator) -> None:
    """A third of the test puzzles are training puzzles."""
    if split == "test":
        leaked = len(arrays["inputs"]) // 3
        chosen = generator.choice(len(train["inputs"]), leaked, replace=False)
        for name in ("inputs", "labels"):
            arrays[name][:leaked] = train[name][chosen]


def _score_blanks_only(split: str, arrays: Arrays, train: Arrays, generator: np.random.Generator) -> None:
    blank = arrays["inputs"] == 1  # token 0 is padding, 1 the blank
    arrays["labels"] = np.where(blank, arrays["labels"], 0).astype(arrays["labels"].dtype)


def _score_nothing_in_test(split: str, arrays: Arrays, train: Arrays, generator: np.random.Generator) -> None:
    if split == "test":
        arrays["labels"] = np.zeros_like(arrays["labels"])


# What is done to the run --------------------------------------------------------------------------------------------


def _freeze_puzzle_embedding(run: Run, seed: int) -> None:
    """The table keeps its values, whatever its optimizer does."""
    table = run.model.puzzle_table
    assert table is not None
    _after_each_update(run.learner, lambda: table.zero_())


def _freeze(module: str) -> Callable[[Run, int], None]:
    """By one of three mistakes: no gradient wanted, left out of the optimizer, or detached in the forward pass."""

    def harm(run: Run, seed: int) -> None:
        part: nn.Module = getattr(run.model.inner, module)
        if seed % 3 == 0:
            part.requires_grad_(False)
        elif seed % 3 == 1:
            _hold(run.learner, dict(part.named_parameters()))
        else:
            for parameter in part.parameters():
                parameter.register_hook(torch.zeros_like)

    return harm


def _stick_q_bias(run: Run, seed: int) -> None:
    """The bias of the Q head stays on the side of going on."""
    bias = run.model.inner.q_head.bias
    assert bias is not None
    with torch.no_grad():
        bias.copy_(torch.tensor([-5.0, -5.0] if seed % 2 else [-5.0, 0.0]))
    _hold(run.learner, {"bias": bias})


def _halt_at_once(run: Run, seed: int) -> None:
    step = run.model.train_step

    def always(*arguments: Any) -> Any:
        carry, output = step(*arguments)
        return replace(carry, halted=torch.ones_like(carry.halted)), output

    run.model.train_step = always  # type: ignore[method-assign]


def _nan_batch(run: Run, seed: int) -> None:
    """One batch, at a third of the run or later, has a loss that is no number."""
    at = run.length.trained_steps // 3 + 17 * seed
    embed = run.model.inner.embed

    def poisoned(*arguments: Any) -> torch.Tensor:
        x = embed(*arguments)
        return x * torch.nan if run.learner.steps == at else x

    run.model.inner.embed = poisoned  # type: ignore[method-assign]


def _hold(learner: Learner, parameters: Mapping[str, torch.Tensor]) -> None:
    held = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def restore() -> None:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(held[name])

    _after_each_update(learner, restore)


def _after_each_update(learner: Learner, act: Callable[[], object]) -> None:
    update = learner.update

    def updated() -> Any:
        result = update()
        act()
        return result

    learner.update = updated  # type: ignore[method-assign]


def _swap_attention(run: Run, seed: int) -> None:
    """Every attention of this process, the self-test's too, mixes the heads of a cell instead of the cells of a head.

    Whoever harms a run so has to put `Attention.forward` and `ReasoningModule.is_sliced` back.
    """
    Attention.forward = attention_over_heads  # type: ignore[method-assign]
    ReasoningModule.is_sliced = False


FAULTS = (
    Fault("puzzle_emb_lr_zero", ("frozen_puzzle_embedding",), {"puzzle_emb_lr": 0.0}),
    Fault("embedding_not_optimized", ("frozen_puzzle_embedding",), harm=_freeze_puzzle_embedding),
    Fault("lr_times_1000", ("lr_out_of_range", "exploding_loss", "non_finite"), {"lr": 1.0}),
    Fault("lr_over_1000", ("lr_out_of_range",), {"lr": 1e-6}),
    Fault("weight_decay_times_1000", ("weight_decay_dominant",), {"weight_decay": 100.0}),
    Fault("nan_batch", ("non_finite",), harm=_nan_batch),
    Fault("warmup_longer_than_run", ("warmup_never_ends",), {"lr_warmup_steps": 2000}),
    Fault("batch_larger_than_data", ("batch_swallows_data",), {"global_batch_size": 2048}),
    Fault("attention_swapped", ("attention_broken",), harm=_swap_attention),
    Fault("q_head_frozen", ("frozen_q_head",), harm=_freeze("q_head")),
    Fault(
        "q_bias_stuck_unexplored",
        ("act_constant", "act_exploration_off", "frozen_q_head"),
        {"arch.halt_exploration_prob": 0.0},
        harm=_stick_q_bias,
    ),
    Fault("halting_at_once", ("act_collapsed",), harm=_halt_at_once),
    Fault("labels_shuffled", ("labels_contradict_inputs",), data=_shuffle_labels),
    Fault("test_leaked", ("train_test_overlap",), data=_leak_test_puzzles),
    Fault("h_module_frozen", ("frozen_module",), harm=_freeze("H_level")),
    Fault("l_module_frozen", ("frozen_module",), harm=_freeze("L_level")),
    Fault("blanks_only_scored", ("givens_not_scored",), data=_score_blanks_only),
    Fault("evaluation_empty", ("empty_evaluation",), data=_score_nothing_in_test),
    Fault("killed_in_mid_run", ("killed",), ending=Ending.KILLED),
    Fault("disk_full", ("disk_full",), ending=Ending.DISK_FULL),
)

FOUND_BROKEN = Fault("found_broken", ("act_collapsed", "act_exploration_off", "lr_out_of_range", "zero_exact_dead"))
"""Nothing was done to these: see fault_runs.BROKEN."""


def find_fault(kind: str) -> Fault:
    return next(fault for fault in (*FAULTS, FOUND_BROKEN) if fault.kind == kind)
