"""The model, its loss, optimizers, schedule and data order against numbers of the reference implementation.

Runs every case in the directory named by HRM_PARITY_CASES (default: the project's own copy). Nothing here skips.

`torchrun --nproc-per-node 2 tests/test_parity.py` trains every case in two ranks, and one of the tests does that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch

from hrm_sweep.config import RunConfig, config_from_mapping
from hrm_sweep.data import open_folder, test_batches, train_iteration
from hrm_sweep.model.hrm import HRM, DataShape, Rows, each_tensor
from hrm_sweep.model.losses import act_loss
from hrm_sweep.training.learner import Learner
from hrm_sweep.training.ranks import Ranks

CASES = Path(os.environ.get("HRM_PARITY_CASES", Path(__file__).parent / "fixtures" / "parity"))
CASE_FILES = sorted(CASES.glob("*.json"))
RELATIVE, ABSOLUTE, LOOSE = 1e-4, 1e-5, 0.05
DATA_KEYS = ("batch_size", "seq_len", "vocab_size", "num_puzzle_identifiers")
SUMS = ("count", "accuracy", "exact_accuracy", "q_halt_accuracy", "steps", "lm_loss", "q_halt_loss", "loss")


def assert_close(name: str, got: Any, want: Any) -> None:
    """|got - want| <= 1e-4 * max|want| + 1e-5, the maximum being over the whole tensor or list."""
    got, want = np.atleast_1d(np.asarray(got, dtype=float)), np.atleast_1d(np.asarray(want, dtype=float))
    assert got.shape == want.shape, f"{name}: shape {got.shape}, expected {want.shape}"
    difference = np.abs(got - want)
    allowed = RELATIVE * np.abs(want).max() + ABSOLUTE
    assert (difference <= allowed).all(), (
        f"{name}: max difference {difference.max():.3g}, mean {difference.mean():.3g}, allowed {allowed:.3g}; "
        f"got {got[:6]}, expected {want[:6]}"
    )


def config_of(case: dict[str, Any]) -> RunConfig:
    arch = {key: value for key, value in case["arch"].items() if key not in DATA_KEYS}
    arch["loss"] = {"loss_type": case["loss_type"]}
    train = {key: value for key, value in case["train"].items() if key not in ("steps", "total_steps")}
    return config_from_mapping(
        {"arch": arch, "global_batch_size": case["arch"]["batch_size"], "seed": case["seed"], **train}, "parity case"
    )


def model_of(case: dict[str, Any], config: RunConfig) -> HRM:
    arch = case["arch"]
    model = HRM(config.arch, DataShape(arch["vocab_size"], arch["seq_len"], arch["num_puzzle_identifiers"]))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            random = np.random.RandomState((case["seed"] * 1000003 + crc32(name.encode())) % 2**31)
            scale = {
                "inner.H_init": 1.0,
                "inner.L_init": 1.0,
                "inner.q_head.bias": 1.0,
                "inner.puzzle_emb.weights": 0.02,
            }
            values = random.standard_normal(tuple(tensor.shape)) * scale.get(name, 1 / np.sqrt(tensor.shape[-1]))
            tensor.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


def rows_of(case: dict[str, Any], step: int, *, evaluation: bool = False) -> Rows:
    arch = case["arch"]
    shape = (arch["batch_size"], arch["seq_len"])
    random = np.random.RandomState((case["seed"] * 7919 + step) % 2**31)
    labels = random.randint(2, arch["vocab_size"], shape)
    inputs = np.where(random.rand(*shape) < 0.5, labels, 1)
    identifiers = random.randint(0, arch["num_puzzle_identifiers"], (arch["batch_size"],))
    labels[random.rand(*shape) < 0.1] = -100
    if evaluation:
        labels[-2:], inputs[-2:], identifiers[-2:] = -100, 0, 0
    return Rows(*(torch.from_numpy(array.astype(np.int32)) for array in (inputs, labels, identifiers)))


def test_there_are_cases() -> None:
    assert CASE_FILES, f"no parity cases in {CASES}"


@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: path.stem)
def test_the_reference_is_reproduced(path: Path) -> None:
    reproduce(path, Ranks.alone())


@pytest.mark.parametrize("micro_batch_size", [1, 3])
@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: path.stem)
def test_the_reference_is_reproduced_in_micro_batches(path: Path, micro_batch_size: int) -> None:
    reproduce(path, Ranks.alone(), micro_batch_size)


def test_the_reference_is_reproduced_in_two_ranks() -> None:
    """Under torchrun, with gloo. The second time each rank takes its rows in micro-batches."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for rank in (0, 1):
        assert f"rank {rank} of 2: {2 * len(CASE_FILES)} cases reproduced" in ended.stdout


def reproduce(path: Path, ranks: Ranks, micro_batch_size: int | None = None) -> None:
    torch.manual_seed(0)
    case = json.loads(path.read_text())
    expected = case["expected"]
    config = config_of(case).model_copy(update={"micro_batch_size": micro_batch_size})
    model = model_of(case, config)
    learner = Learner(model, config, scheduled_steps=case["train"]["total_steps"], seed=case["seed"], ranks=ranks)
    share = ranks.share(case["arch"]["batch_size"])

    for want in expected["train"]:
        t = want["step"]
        loss = learner.backward(each_tensor([rows_of(case, t)], lambda rows: rows[0][share]))
        sums = ranks.hear_all({name: float(value) for name, value in loss.sums.items()})
        got: dict[str, Any] = {name: sum(part[name] for part in sums) for name in sums[0]}
        got["grad_norm"] = float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())
        given = learner.puzzle_gradient
        got["puzzle_emb_grad_norm"] = None if given is None else float(given.gradient.norm())
        update = learner.update()
        got |= {"lr": update.lr, "puzzle_emb_lr": update.puzzle_emb_lr}
        carry = each_tensor([learner.carry], lambda part: ranks.gather(part[0]))
        got["carry_steps"], got["halted"] = carry.steps.tolist(), carry.halted.int().tolist()
        for name, value in want.items():
            if name == "step":
                continue
            if value is None or got.get(name) is None:
                assert got.get(name) is None, f"step {t}, {name}: expected none, got {got[name]}"
                assert not value, f"step {t}, {name}: expected {value}, got none"
                continue
            assert_close(f"step {t}, {name}", got[name], value)

    state = model.state_dict()
    trained = bool(expected["train"])
    if "final_state" in expected:
        assert set(state) == set(expected["final_state"])
    for name, want in expected.get("final_state", {}).items():
        tensor = state[name].double()
        assert list(tensor.shape) == want["shape"], name
        if trained:
            for key, value in (("sum", tensor.sum()), ("l2", tensor.norm())):
                assert_close(f"final {name}, {key}", value, want[key])
            assert_close(f"final {name}, head", tensor.flatten()[:4], want["head"])
        else:
            assert float(tensor.norm()) == pytest.approx(want["l2"], rel=LOOSE)

    compare_evaluation(model, case, expected["evaluation"], config, loose=not trained)


def compare_evaluation(model: HRM, case: dict[str, Any], want: dict[str, Any], config: RunConfig, loose: bool) -> None:
    carry, output = model.solve(rows_of(case, 10000, evaluation=True))
    sums = {name: float(value) for name, value in act_loss(carry, output, config.arch.loss.loss_type).sums.items()}
    logits = output.logits.double()
    got = {
        **sums,
        "act_steps": int(carry.steps.max()),
        "logits_sum": float(logits.sum()),
        "logits_l2": float(logits.norm()),
        "logits_head": logits.flatten()[:6].tolist(),
        "q_halt_logits": output.q_halt.tolist(),
        "q_continue_logits": output.q_continue.tolist(),
    }
    assert set(want) <= set(got), f"the evaluation also holds {set(want) - set(got)}"
    if not loose:
        for name, value in want.items():
            assert_close(f"evaluation, {name}", got[name], value)
        return
    for name in ("logits_l2", "lm_loss", "q_halt_loss", "loss"):
        assert got[name] == pytest.approx(want[name], rel=LOOSE), name
    for name in ("q_halt_logits", "q_continue_logits"):
        assert np.linalg.norm(got[name]) == pytest.approx(np.linalg.norm(want[name]), rel=LOOSE), name
    for name in ("count", "act_steps", "steps"):
        assert got[name] == want[name], name


def test_the_loader_yields_the_batches_of_the_reference() -> None:
    folder = CASES / "dataset"
    expected = json.loads((folder / "expected_batches.json").read_text())
    data = open_folder(folder)
    batch_size = expected["global_batch_size"]
    passes = [
        train_iteration(
            data.train,
            seed=expected["seed"],
            iteration=iteration,
            global_batch_size=batch_size,
            epochs_per_iter=expected["epochs_per_iter"],
        )
        for iteration in range(1, len(expected["train"]) + 1)
    ]
    got_train = [[as_expected(name, batch) for name, batch in batches] for batches in passes]
    got_test = [as_expected(name, batch) for name, batch in test_batches(data.test, batch_size=batch_size)]
    assert got_train == expected["train"]
    assert got_test == expected["test"]


def as_expected(set_name: str, batch: Any) -> dict[str, Any]:
    return {
        "set": set_name,
        "effective": batch.effective,
        "inputs": batch.inputs.tolist(),
        "labels": batch.labels.tolist(),
        "puzzle_identifiers": batch.puzzle_identifiers.tolist(),
    }


if __name__ == "__main__":
    joined = Ranks.join(torch.device("cpu"))
    for size in (None, 1):
        for file in CASE_FILES:
            reproduce(file, joined, size)
    joined.leave()
    print(f"rank {joined.rank} of {joined.count}: {2 * len(CASE_FILES)} cases reproduced", flush=True)
