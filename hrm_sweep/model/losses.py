"""The loss of an ACT step and what is counted beside it. HRM_SPEC 2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_sweep.model.hrm import Carry, StepOutput

IGNORED = -100


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log(s(x_y) / sum s(x)) with s(x) = x + 1 for x >= 0 and 1 / (1 - x) below (arXiv 2501.04697).

    logits (B, S, V), labels (B, S) with IGNORED where nothing counts; returns (B, S), 0 there. Float64, or float32 on a
    device that has no float64 (MPS).
    """
    x = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)
    s = torch.where(x < 0, 1 / (1 - x.clamp(max=0)), x + 1)
    counted = labels != IGNORED
    chosen = s.gather(-1, labels.clamp(min=0).long().unsqueeze(-1)).squeeze(-1)
    return torch.where(counted, s.sum(dim=-1).log() - chosen.log(), 0)


def softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Ordinary cross entropy in float32; shapes as for stablemax."""
    flat = F.cross_entropy(
        logits.float().flatten(0, 1), labels.long().flatten(), ignore_index=IGNORED, reduction="none"
    )
    return flat.view(labels.shape)


CROSS_ENTROPIES = {
    "stablemax_cross_entropy": stablemax_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
}


@dataclass(frozen=True)
class StepLoss:
    """The loss of one ACT step: `total` (scalar with gradient), and detached sums over the batch by name.

    lm_loss, q_halt_loss, q_continue_loss (absent where it is not learned) are sums over all rows. count, accuracy,
    exact_accuracy, q_halt_accuracy and steps are sums over the slots that halted and have at least one counted label:
    divide by count, and where count is 0 they do not exist.
    """

    total: Tensor
    sums: dict[str, Tensor]


def act_loss(carry: Carry, output: StepOutput, loss_type: str) -> StepLoss:
    """lm + 0.5 * (q_halt + q_continue), summed over rows, with the metrics of the halted slots."""
    labels = carry.rows.labels
    counted = labels != IGNORED  # (B, S)
    n = counted.sum(dim=-1)  # (B,)
    divisor = n.clamp(min=1)
    with torch.no_grad():
        right = ((output.logits.argmax(dim=-1) == labels) & counted).sum(dim=-1)  # (B,)
        correct = right == n  # a row without counted labels is correct too

    token_loss = CROSS_ENTROPIES[loss_type](output.logits, labels)  # (B, S)
    lm_loss = (token_loss / divisor.unsqueeze(-1)).sum()
    q_halt_loss = F.binary_cross_entropy_with_logits(output.q_halt, correct.float(), reduction="sum")
    q_loss = q_halt_loss
    sums = {"lm_loss": lm_loss.detach(), "q_halt_loss": q_halt_loss.detach()}
    if output.target_q_continue is not None:
        q_continue_loss = F.binary_cross_entropy_with_logits(
            output.q_continue, output.target_q_continue, reduction="sum"
        )
        q_loss = q_loss + q_continue_loss
        sums["q_continue_loss"] = q_continue_loss.detach()
    total = lm_loss + 0.5 * q_loss

    with torch.no_grad():
        valid = carry.halted & (n > 0)
        sums["loss"] = total.detach()
        sums["count"] = valid.sum()
        sums["accuracy"] = torch.where(valid, right / divisor, 0).sum()
        sums["exact_accuracy"] = (valid & correct).sum()
        sums["q_halt_accuracy"] = (valid & ((output.q_halt >= 0) == correct)).sum()
        sums["steps"] = torch.where(valid, carry.steps, 0).sum()
    return StepLoss(total, sums)
