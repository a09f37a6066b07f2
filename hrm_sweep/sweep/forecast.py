"""When the zero rule will fire, said before a study starts, in steps and in epochs.

An epoch is one example of each puzzle, so "epoch 20" can be 26 optimizer steps or 33,264. Whoever prunes by epochs
should know which.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hrm_sweep.planning.lint import FEW_STEPS, Kind, Level, LintFinding
from hrm_sweep.sweep.pruners import Pruner
from hrm_sweep.sweep.pruners.zero_accuracy import ZeroAccuracy
from hrm_sweep.sweep.space_lint import Combination

HEALTHY_RUNS = (
    "recorded healthy runs are at 0 % there: the published Sudoku-1k recipe (27 M parameters, batch 768) is at step 26 "
    "of 26,041 at epoch 20 and shows its first solved puzzles around step 5,000 to 9,000; a 0.13 M model on 4x4 "
    "sudoku (batch 64) around step 150. Choose a later epoch, or set min_steps"
)


@dataclass(frozen=True)
class Firing:
    """The evaluation at which the zero rule looks at a run for the first time. `never` when the run is over before."""

    batch: int
    epoch: int
    step: int
    trained_steps: int
    warmup_steps: int
    never: bool

    @property
    def is_early(self) -> bool:
        """Before the warm-up is over, or before anything can have been learned: no verdict on the configuration."""
        return not self.never and (self.step < self.warmup_steps or self.step < FEW_STEPS)


def zero_rule_firings(pruners: dict[str, Pruner], combinations: Iterable[Combination]) -> list[Firing]:
    """Where the zero rule first looks, once for each different answer, the earliest step first; empty without it."""
    rule = pruners.get(ZeroAccuracy.name)
    if not isinstance(rule, ZeroAccuracy):
        return []
    return sorted({_firing(rule, one) for one in combinations}, key=lambda firing: (firing.never, firing.step))


def _firing(rule: ZeroAccuracy, combination: Combination) -> Firing:
    config, length = combination.config, combination.length
    epoch = length.first_evaluation_at_or_after(rule.epoch)
    while length.step_at(epoch) < rule.min_steps and epoch <= config.epochs:
        epoch += config.eval_interval
    return Firing(
        batch=config.global_batch_size,
        epoch=epoch,
        step=length.step_at(epoch),
        trained_steps=length.trained_steps,
        warmup_steps=config.lr_warmup_steps,
        never=epoch > config.epochs,
    )


def forecast(firings: list[Firing]) -> tuple[list[str], list[LintFinding]]:
    """What to say about these firings: plain facts, and warnings."""
    facts = [_spelled(firing) for firing in _ends(firings)]
    early = [firing for firing in firings if firing.is_early]
    warnings: list[LintFinding] = []
    if firings and all(firing.never for firing in firings):
        said = (
            "the zero rule never fires, for every run is over before its epoch comes; an earlier epoch "
            "(pruner.zero_accuracy.epoch), or more epochs, lets it act"
        )
        warnings.append(LintFinding(Level.ADVICE, "pruner.zero_accuracy", said, Kind.CANNOT_BE_JUDGED))
    if early:
        worst = early[0]
        because = (
            f"before its warm-up of {worst.warmup_steps} steps is over"
            if worst.step < worst.warmup_steps
            else f"before optimizer step {FEW_STEPS}"
        )
        said = (
            f"the zero rule fires at optimizer step {worst.step} (epoch {worst.epoch}, batch {worst.batch}), "
            f"{because}: it will kill healthy runs; {HEALTHY_RUNS}"
        )
        warnings.append(LintFinding(Level.WARNING, "pruner.zero_accuracy", said, Kind.CANNOT_BE_JUDGED))
    return facts, warnings


def _ends(firings: list[Firing]) -> list[Firing]:
    """The earliest and the latest firing, and one that never comes."""
    some = [firing for firing in firings if not firing.never]
    none = [firing for firing in firings if firing.never]
    return list(dict.fromkeys([*some[:1], *some[-1:], *none[:1]]))


def _spelled(firing: Firing) -> str:
    if firing.never:
        return f"zero rule: never with batch {firing.batch}, the run of {firing.trained_steps} steps is over before"
    share = firing.step / firing.trained_steps
    return (
        f"zero rule: fires at epoch {firing.epoch} = optimizer step {firing.step} of {firing.trained_steps} "
        f"({share:.1%}) with batch {firing.batch}; warm-up ends at step {firing.warmup_steps}"
    )
