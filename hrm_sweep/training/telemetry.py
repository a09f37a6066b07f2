"""What a train row says: sums over an interval of steps, kept on the device until the interval ends, then averaged.

Each rank sums over its own rows; what a row or a checkpoint says is over all ranks, so that all of them have to ask.

Values over halted slots are sum / count over the whole interval, and absent where nothing halted: most single steps of
a young run have no halted slot at all, so a mean over steps of zeros would say 0 % where nothing was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hrm_sweep.model.losses import IGNORED, StepLoss
from hrm_sweep.runs import MetricRow
from hrm_sweep.training.learner import Learner, Update

_PER_ROW = ("loss", "lm_loss", "q_halt_loss", "q_continue_loss")
_PER_HALTED = {
    "accuracy": "accuracy",
    "exact_accuracy": "exact_accuracy",
    "q_halt_accuracy": "q_halt_accuracy",
    "steps": "act_steps",
}


def module_of(parameter_name: str) -> str:
    """The module that a parameter counts to: embed_tokens, embed_pos, H_level, L_level, lm_head or q_head."""
    return parameter_name.removeprefix("inner.").split(".")[0]


def norms_by_module(named: Mapping[str, Tensor]) -> dict[str, float]:
    """L2 norm of all tensors of each module together."""
    groups: dict[str, list[Tensor]] = {}
    for name, tensor in named.items():
        groups.setdefault(module_of(name), []).append(tensor.detach().float().norm())
    return {module: float(torch.stack(norms).norm()) for module, norms in groups.items()}


def unchanged_by_module(moved: Mapping[str, Tensor]) -> dict[str, int]:
    """How many tensors of each module did not move at all. A module can move while its bias stands still."""
    counts: dict[str, int] = {}
    for name, change in moved.items():
        counts[module_of(name)] = counts.get(module_of(name), 0) + (not change.any())
    return counts


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Norm of the gradient of total / B by module; a module without gradient has 0."""
    return norms_by_module({name: torch.zeros(1) if p.grad is None else p.grad for name, p in model.named_parameters()})


class Interval:
    """Sums since the last train row."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._ranks = learner.ranks
        self._sums: dict[str, Tensor] = {}
        self._rows = 0
        self._expected_movement = 0.0

    @property
    def is_empty(self) -> bool:
        return self._rows == 0

    def add(self, loss: StepLoss, update: Update) -> None:
        """Count one step. Nothing here waits for the device."""
        carry, output = self._learner.carry, self._learner.output
        assert carry is not None
        assert output is not None
        self._rows += len(carry.steps) * self._ranks.count
        with torch.no_grad():
            for name, value in loss.sums.items():
                self._accumulate(name, value.double())
            for name, q in (("q_halt", output.q_halt), ("q_continue", output.q_continue)):
                self._accumulate(f"{name}_sum", q.double().sum())
                self._accumulate(f"{name}_square_sum", q.double().square().sum())
            valid = carry.halted & (carry.rows.labels != IGNORED).any(dim=-1)
            histogram = torch.zeros(self._learner.model.arch.halt_max_steps + 1, device=carry.steps.device)
            self._accumulate("act_histogram", histogram.index_add_(0, carry.steps, valid.float()))
            self._add_movement(carry.rows.puzzle_identifiers, output.puzzle_leaf, update)

    def _add_movement(self, identifiers: Tensor, leaf: Tensor | None, update: Update) -> None:
        """Movement of the visited embedding rows in this step, read from the table itself: the leaf holds what the
        rows were before, so a broken optimizer is seen whatever it claims."""
        table = self._learner.model.puzzle_table
        if table is None or leaf is None:
            return
        movement = (table[identifiers.long()] - leaf.detach()).abs()
        self._accumulate("puzzle_movement", movement.mean().double() / self._ranks.count)
        self._keep_largest("puzzle_max_movement", movement.max())
        if "puzzle_visited" not in self._sums:
            self._sums["puzzle_visited"] = torch.zeros(len(table), dtype=torch.bool, device=table.device)
        self._sums["puzzle_visited"][identifiers.long()] = True
        self._expected_movement += update.puzzle_emb_lr

    def _accumulate(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def _keep_largest(self, name: str, value: Tensor) -> None:
        self._sums[name] = torch.maximum(self._sums[name], value) if name in self._sums else value

    def row(
        self, *, epoch: float, time_s: float, update: Update, modules: Mapping[str, Mapping[str, float]]
    ) -> MetricRow:
        """The train row of the interval; starts the next one. `modules` was measured at its last step."""
        sums, rows = self._sums_of_all_ranks(), self._rows
        count = round(float(sums["count"]))
        values: dict[str, float] = {name: float(sums[name]) / rows for name in _PER_ROW if name in sums}
        if count:
            values |= {shown: float(sums[name]) / count for name, shown in _PER_HALTED.items()}
        values |= {"count": count, "lr": update.lr}
        for q in ("q_halt", "q_continue"):
            mean = float(sums[f"{q}_sum"]) / rows
            spread = float(sums[f"{q}_square_sum"]) / rows - mean * mean
            values[f"{q}_mean"] = mean
            values[f"{q}_std"] = math.sqrt(max(spread, 0.0)) if math.isfinite(spread) else math.nan
        groups = dict(modules)
        table = self._learner.model.puzzle_table
        if table is not None and "puzzle_visited" in sums:
            values["puzzle_emb_lr"] = update.puzzle_emb_lr
            visited = sums["puzzle_visited"].to(table.device)
            groups["puzzle_emb"] = {
                **groups.get("puzzle_emb", {}),
                "rows_visited": int(visited.sum()),
                "mean_abs_movement": float(sums["puzzle_movement"]),
                "max_abs_movement": float(sums["puzzle_max_movement"]),
                "max_abs": float(table[visited].abs().max()),
                "expected_movement": self._expected_movement,
            }
        histogram = tuple(int(n) for n in sums["act_histogram"].tolist()[1:])
        self._sums, self._rows, self._expected_movement = {}, 0, 0.0
        return MetricRow("train", self._learner.steps, epoch, time_s, values, groups, histogram)

    def _sums_of_all_ranks(self) -> dict[str, Tensor]:
        if self._ranks.count == 1:
            return self._sums
        all_sums = self._ranks.hear_all({name: value.cpu() for name, value in self._sums.items()})
        together: dict[str, Tensor] = {}
        for name in self._sums:
            values = torch.stack([sums[name] for sums in all_sums])
            is_largest = name in ("puzzle_max_movement", "puzzle_visited")
            together[name] = values.amax(0) if is_largest else values.sum(0)
        return together

    def state(self) -> dict[str, object]:
        sums = self._sums_of_all_ranks()
        return {"sums": dict(sums), "rows": self._rows, "expected_movement": self._expected_movement}

    def load_state(self, state: dict[str, object], device: torch.device) -> None:
        """Continue the interval: what all ranks had counted together becomes the first rank's."""
        sums: dict[str, Tensor] = state["sums"]  # type: ignore[assignment]
        mine = {name: value if self._ranks.is_first else torch.zeros_like(value) for name, value in sums.items()}
        self._sums = {name: value.to(device) for name, value in mine.items()}
        self._rows = int(state["rows"])  # type: ignore[call-overload]
        self._expected_movement = float(state["expected_movement"])  # type: ignore[arg-type]
