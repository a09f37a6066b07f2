"""What the speed benchmark times: train steps and evaluations of several sizes, of the product and a plain reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from plain_hrm import PlainHRM

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.evaluation.device import Device
from hrm_sweep.model.hrm import HRM, DataShape, Rows
from hrm_sweep.planning.cost import evaluation_flops, train_flops
from hrm_sweep.training.learner import Learner

BATCHES = 8


@dataclass(frozen=True)
class Workload:
    """One row of the table: a train step, or an evaluation of one batch, on boards of so many `cells` and `digits`."""

    name: str
    title: str
    preset: str
    batch: int
    cells: int
    digits: int
    overrides: tuple[tuple[str, int], ...] = ()
    evaluates: bool = False

    @property
    def config(self) -> RunConfig:
        fixed = {"global_batch_size": self.batch, "arch.forward_dtype": "float32", "device": "cpu"}
        return load_config(self.preset, {**fixed, **dict(self.overrides)})

    @property
    def flops(self) -> float:
        """Multiplications and additions that the architecture asks for."""
        if self.evaluates:
            return evaluation_flops(self.config, self.cells, puzzles=self.batch)
        return train_flops(self.config, self.cells, steps=1)

    @property
    def model(self) -> HRM:
        torch.manual_seed(0)
        return HRM(self.config.arch, DataShape(self.digits + 2, self.cells, 1))

    @property
    def batches(self) -> list[Rows]:
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, self.cells)
        batches = []
        for _ in range(BATCHES):
            labels = torch.randint(2, self.digits + 2, shape, generator=generator, dtype=torch.int32)
            given = torch.rand(shape, generator=generator) < 0.5
            identifiers = torch.zeros(self.batch, dtype=torch.int32)
            batches.append(Rows(torch.where(given, labels, 1), labels, identifiers))
        return batches

    def product(self) -> Callable[[], object]:
        """One train step or evaluation of the product."""
        Device.choose(self.config)  # sets this process up as a run does
        model, batches = self.model, self.batches
        if self.evaluates:
            return lambda: model.solve(batches[0])
        learner = Learner(model, self.config, scheduled_steps=10**6, seed=0)

        def step() -> None:
            learner.backward(batches[learner.steps % BATCHES])
            learner.update()

        return step

    def plain(self) -> Callable[[], object]:
        """The same of plain_hrm.py, with the same weights."""
        config, model = self.config, self.model
        shape = model.shape
        plain = PlainHRM(config, shape.vocab_size, shape.seq_len, shape.num_puzzle_identifiers)
        plain.load_state_dict(model.state_dict())
        batches = [(rows.inputs.long(), rows.labels.long(), rows.puzzle_identifiers.long()) for rows in self.batches]
        if self.evaluates:
            return lambda: plain.evaluate(batches[0])
        return lambda: plain.train_step(batches[plain.t % BATCHES], config.lr, config.puzzle_emb_lr)


_WIDER = (("arch.hidden_size", 128), ("arch.num_heads", 4), ("arch.H_layers", 2), ("arch.L_layers", 2))
_M8, _M16 = ("arch.halt_max_steps", 8), ("arch.halt_max_steps", 16)
WORKLOADS = {
    one.name: one
    for one in (
        Workload("4x4-d64", "train step 4x4, D 64, 1+1 layers, batch 64", "hrm_v1_tiny", 64, 16, 4),
        Workload("4x4-d128", "train step 4x4, D 128, 2+2 layers, batch 64", "hrm_v1_tiny", 64, 16, 4, _WIDER),
        Workload("9x9-d128", "train step 9x9, D 128, 2+2 layers, batch 64", "hrm_v1_tiny", 64, 81, 9, _WIDER),
        Workload("9x9-d512", "train step 9x9, D 512, 4+4 layers, batch 16 (`hrm_v1`)", "hrm_v1", 16, 81, 9),
        Workload(
            "eval-4x4-d64", "evaluation 4x4, D 64, M 8, batch 256", "hrm_v1_tiny", 256, 16, 4, (_M8,), evaluates=True
        ),
        Workload(
            "eval-9x9-d128",
            "evaluation 9x9, D 128, M 16, batch 128",
            "hrm_v1_tiny",
            128,
            81,
            9,
            (*_WIDER, _M16),
            evaluates=True,
        ),
    )
}
