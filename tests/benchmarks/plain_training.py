"""Trains one configuration the way a loop in a shell does: plain_hrm.py, and nothing clever around it.

    python tests/benchmarks/plain_training.py CONFIG.yaml FOLDER

Batches, learning rates and the epochs of evaluations are those of the product. Each evaluation solves the whole test
set with halt_max_steps ACT steps; nothing is pruned and nothing stops early. FOLDER gets the weights of the best
evaluation (best.pt) and, at the end, result.json.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from plain_hrm import Batch, PlainHRM

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.config.schedule import RunLength, learning_rate
from hrm_sweep.data import Split, open_folder, test_batches, train_iteration
from hrm_sweep.data.batches import Batch as Loaded
from hrm_sweep.evaluation.accuracy import data_shape
from hrm_sweep.model.hrm import HRM
from hrm_sweep.runs import replaced_atomically


def tensors(batch: Loaded) -> Batch:
    inputs, labels, identifiers = (
        torch.from_numpy(part).long() for part in (batch.inputs, batch.labels, batch.puzzle_identifiers)
    )
    return inputs, labels, identifiers


@torch.no_grad()
def solved(plain: PlainHRM, batch: Batch) -> torch.Tensor:
    """(B,) whether each puzzle is solved after all ACT steps, halting off."""
    inner, arch = plain.inner, plain.config.arch
    inputs, labels, identifiers = batch
    empty = torch.zeros(len(inputs), inner.positions, arch.hidden_size)
    state = (empty + inner.H_init, empty + inner.L_init)
    rows = inner.puzzle_emb.weights[identifiers] if arch.puzzle_emb_ndim > 0 else None
    for _ in range(arch.halt_max_steps):
        state, logits, _ = inner(state, inputs, rows)
    return ((logits.argmax(dim=-1) == labels) | (labels == -100)).all(dim=-1)


def evaluate(plain: PlainHRM, test: Split) -> list[bool]:
    """Whether each test puzzle is solved, in batches of the size that training has."""
    found: list[bool] = []
    for _, batch in test_batches(test, batch_size=plain.config.global_batch_size):
        found += solved(plain, tensors(batch))[: batch.effective].tolist()
    return found


def batches(config: RunConfig, train: Split, iteration: int) -> Iterator[Batch]:
    drawn = train_iteration(
        train,
        seed=config.seed,
        iteration=iteration,
        global_batch_size=config.global_batch_size,
        epochs_per_iter=config.eval_interval,
    )
    return (tensors(batch) for _, batch in drawn)


def train(config: RunConfig, folder: Path) -> dict[str, object]:
    """The evaluations of a whole run, and where its time went."""
    assert config.data_path is not None
    data = open_folder(Path(config.data_path))
    facts = data.train.metadata
    length = RunLength.of(config, facts.total_groups, facts.mean_puzzle_examples)
    torch.manual_seed(config.seed)
    shape = data_shape(data.train)
    plain = PlainHRM(config, shape.vocab_size, shape.seq_len, shape.num_puzzle_identifiers)
    plain.load_state_dict(HRM(config.arch, shape, torch.float32).state_dict())  # begins where the product does
    evaluations: list[dict[str, object]] = []
    best, evaluation_s, began = -1, 0.0, time.monotonic()
    for iteration in range(1, length.intervals + 1):
        for batch in batches(config, data.train, iteration):
            lr, puzzle_emb_lr = (
                learning_rate(
                    base,
                    plain.t + 1,
                    total_steps=length.scheduled_steps,
                    warmup_steps=config.lr_warmup_steps,
                    min_ratio=config.lr_min_ratio,
                )
                for base in (config.lr, config.puzzle_emb_lr)
            )
            plain.train_step(batch, lr, puzzle_emb_lr)
            if plain.t >= length.scheduled_steps:
                break
        evaluation_began = time.monotonic()
        found = evaluate(plain, data.test)
        evaluation_s += time.monotonic() - evaluation_began
        seconds = time.monotonic() - began
        evaluations.append({"step": plain.t, "seconds": seconds, "solved": "".join("01"[one] for one in found)})
        if sum(found) > best:
            best = sum(found)
            torch.save(plain.state_dict(), folder / "best.pt")
    return {
        "evaluations": evaluations,
        "steps": plain.t,
        "loop_s": time.monotonic() - began,
        "evaluation_s": evaluation_s,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    config, folder = load_config(sys.argv[1]), Path(sys.argv[2])
    result = train(config, folder)
    with replaced_atomically(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
