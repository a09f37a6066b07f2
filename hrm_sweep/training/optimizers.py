"""The two optimizers: AdamATan2 for all parameters, SignSGD for the puzzle embedding. HRM_SPEC 3."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@torch.no_grad()
def adam_atan2_step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    first_moments: list[Tensor],
    second_moments: list[Tensor],
    *,
    step: int,
    lr: float,
    weight_decay: float,
    beta1: float,
    beta2: float,
) -> None:
    """One step t = `step` >= 1, in place; tensors of a position in the four lists have one shape.

    w <- w (1 - lr wd) - lr / (1 - beta1^t) atan2(m, sqrt(v / (1 - beta2^t))). The bias correction of m stands outside
    the arctangent, as in the reference's kernel. No epsilon: atan2(0, 0) is 0, and a step is bounded.
    """
    torch._foreach_mul_(parameters, 1 - lr * weight_decay)
    torch._foreach_lerp_(first_moments, gradients, 1 - beta1)
    torch._foreach_mul_(second_moments, beta2)
    torch._foreach_addcmul_(second_moments, gradients, gradients, 1 - beta2)
    scale = torch._foreach_div(second_moments, 1 - beta2**step)
    torch._foreach_sqrt_(scale)
    for moment, denominator in zip(first_moments, scale, strict=True):
        torch.atan2(moment, denominator, out=denominator)
    torch._foreach_add_(parameters, scale, alpha=-lr / (1 - beta1**step))


@torch.no_grad()
def sign_sgd_step(table: Tensor, identifiers: Tensor, gradient: Tensor, *, lr: float, weight_decay: float) -> Tensor:
    """Move the rows of `table` (N, ndim) that occur in `identifiers` (B,), in place, by `gradient` (B, ndim).

    Gradients of equal identifiers are summed; then w <- w (1 - lr wd) - lr sign(g). Returns the rows that occurred.
    """
    visited, position = torch.unique(identifiers.long(), return_inverse=True)
    summed = gradient.new_zeros(len(visited), gradient.shape[-1]).index_add_(0, position, gradient)
    table[visited] = table[visited] * (1 - lr * weight_decay) - lr * summed.sign()
    return visited  # type: ignore[no-any-return]


@dataclass
class AdamATan2:
    """The state of AdamATan2 over a list of parameters: both moments, and how many steps were taken."""

    parameters: list[Tensor]
    weight_decay: float
    beta1: float
    beta2: float

    def __post_init__(self) -> None:
        self.steps = 0
        self.first_moments = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second_moments = [torch.zeros_like(parameter) for parameter in self.parameters]

    def step(self, lr: float) -> None:
        """Take one step with the gradients that stand in the parameters."""
        self.steps += 1
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        adam_atan2_step(
            self.parameters,
            gradients,
            self.first_moments,
            self.second_moments,
            step=self.steps,
            lr=lr,
            weight_decay=self.weight_decay,
            beta1=self.beta1,
            beta2=self.beta2,
        )

    def state(self) -> dict[str, object]:
        return {"steps": self.steps, "first": list(self.first_moments), "second": list(self.second_moments)}

    def load_state(self, state: dict[str, object]) -> None:
        """Continue from what `state` returned. Raises KeyError or RuntimeError when shapes do not match."""
        self.steps = int(state["steps"])  # type: ignore[call-overload]
        for mine, saved in ((self.first_moments, state["first"]), (self.second_moments, state["second"])):
            for tensor, value in zip(mine, saved, strict=True):  # type: ignore[call-overload]
                tensor.copy_(value)
