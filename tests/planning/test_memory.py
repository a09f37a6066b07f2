"""Memory and disk as planned, beside what the model keeps for its backward pass and what a run writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hrm_sweep.config import load_config
from hrm_sweep.config.schedule import RunLength
from hrm_sweep.data import SplitMetadata, open_folder
from hrm_sweep.model.block import ReasoningModule
from hrm_sweep.model.hrm import DTYPES, HRM, DataShape, Rows
from hrm_sweep.model.losses import act_loss
from hrm_sweep.model.sliced_gradient import Kept
from hrm_sweep.planning.memory import Memory, disk_bytes
from hrm_sweep.runs import RunDirectory, State
from hrm_sweep.training.session import run_training

ROWS = 8


def kept_for_backward(overrides: dict[str, object], seq_len: int, *, sliced: bool) -> int:
    """Bytes of all that one train step saves for its backward pass, parameters left out; in slices as on a CPU, or as
    the blocks define it."""
    arch = load_config("hrm_v1_tiny", overrides).arch
    model = HRM(arch, DataShape(11, seq_len, 1), DTYPES[arch.forward_dtype])
    for module in model.modules():
        if isinstance(module, ReasoningModule):
            module.is_sliced = sliced
    tokens = torch.randint(1, 11, (ROWS, seq_len), dtype=torch.int32)
    rows = Rows(tokens, tokens.clone(), torch.zeros(ROWS, dtype=torch.int32))
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        carry, output = model.train_step(model.initial_carry(rows), rows)
        loss = act_loss(carry, output, arch.loss.loss_type)
    assert loss.total.grad_fn is not None
    for block in kept_by_slices(loss.total.grad_fn):
        for tensor in vars(block).values():
            keep(tensor)
    return sum(kept.values())


def kept_by_slices(node: torch.autograd.graph.Node) -> list[Kept]:
    """What the calls in slices keep, which autograd does not see, of the whole graph that ends in `node`."""
    seen, waiting, found = set[torch.autograd.graph.Node](), [node], list[Kept]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        found += [block for _, blocks in getattr(one, "slices", ()) for block in blocks]
        waiting += [function for function, _ in one.next_functions if function is not None]
    return found


@pytest.mark.parametrize(
    ("overrides", "seq_len"),
    [
        ({}, 16),
        ({"arch.hidden_size": 128, "arch.H_layers": 2, "arch.L_layers": 2}, 81),
        ({"arch.hidden_size": 128, "arch.H_layers": 3, "arch.forward_dtype": "bfloat16"}, 36),
        ({"arch.H_cycles": 3, "arch.L_cycles": 3, "arch.halt_max_steps": 16}, 16),
    ],
)
def test_activations_are_what_the_backward_pass_keeps_and_what_it_makes_of_it(
    overrides: dict[str, object], seq_len: int
) -> None:
    """What it makes for a moment is a gradient of each of the widest tensors of one block: a share of two blocks at
    most, here of two to five. The slices of a CPU keep a bit less."""
    config = load_config("hrm_v1_tiny", {**overrides, "global_batch_size": ROWS})
    facts = SplitMetadata(0, 0, 0, 11, seq_len, 1, 1000, 1, ("all",))
    planned = Memory.of(config, facts, halves=True).activations
    assert 0.4 * planned < kept_for_backward(overrides, seq_len, sliced=False) < planned
    if config.arch.forward_dtype == "float32":
        assert 0.3 * planned < kept_for_backward(overrides, seq_len, sliced=True) < planned


def test_a_run_directory_takes_the_disk_that_was_planned(folder: Path, sudoku_4x4: Path) -> None:
    overrides = {"data_path": str(sudoku_4x4), "epochs": 20, "eval_interval": 10, "log_interval": 5, "eval_puzzles": 8}
    config = load_config("hrm_v1_tiny", {**overrides, "arch.H_cycles": 1, "arch.L_cycles": 1, "arch.halt_max_steps": 2})
    directory = RunDirectory(folder / "run")
    assert run_training(config, directory, threads=1, say=lambda line: None).state is State.COMPLETED
    # best.pt may be the same file as last.pt: counted as two, as where a later evaluation was not the best
    written = sum(path.stat().st_size for path in directory.path.rglob("*") if path.is_file())
    facts = open_folder(sudoku_4x4).train.metadata
    steps = RunLength.of(config, facts.total_groups, facts.mean_puzzle_examples).trained_steps
    assert disk_bytes(config, facts, steps) == pytest.approx(written, rel=0.1)
