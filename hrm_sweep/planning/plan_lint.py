"""What is wrong with a plan that `lint` does not see: it looks at a configuration, this at what the run comes to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hrm_sweep.config import RunConfig
from hrm_sweep.diagnosis.rules.optimisation import LARGEST_STEP, step_share
from hrm_sweep.planning.lint import Kind, Level, LintFinding
from hrm_sweep.planning.memory import spelled_bytes
from hrm_sweep.planning.run_plan import RunPlan

LARGE_EVALUATION = 1 / 3  # of the operations of a run
_LONG_WARMUP = 0.5  # of the steps
_TELLS_APART = 0.05  # shares of solved puzzles that one would like to tell apart
_SURE = 1.96  # standard errors: 95 %

ENOUGH_PUZZLES = math.ceil((_SURE * 0.5 / _TELLS_APART) ** 2)
"""385: a share of solved puzzles is then known to five points, with 95 % confidence, wherever it lies."""


def lint_plan(plan: RunPlan, memory_bytes: int | None = None) -> Iterator[LintFinding]:
    """What is wasteful about a run that can start, and what its evaluations cannot tell.

    memory_bytes   what there is for it; None where that is not known.
    """
    config = plan.config
    if not plan.steps:
        return
    if memory_bytes is not None and plan.memory.total > memory_bytes:
        at_once = min(config.global_batch_size, config.micro_batch_size or config.global_batch_size)
        less = (
            f"micro_batch_size={at_once // 4} computes the same with less"
            if at_once >= 4
            else "a smaller model (arch.hidden_size, arch.H_layers, arch.L_layers) takes less"
        )
        yield LintFinding(
            Level.WARNING,
            "micro_batch_size",
            f"about {spelled_bytes(plan.memory.total)} of memory for a batch of {config.global_batch_size}, of "
            f"{spelled_bytes(memory_bytes)} that there are; {less}",
        )
    if plan.evaluation_share > LARGE_EVALUATION:
        yield LintFinding(
            Level.WARNING,
            "eval_interval",
            f"{plan.evaluation_share:.0%} of the operations are evaluation: {plan.evaluations} evaluations of "
            f"{plan.evaluated:,} puzzles with {config.arch.halt_max_steps} ACT steps; "
            "a longer eval_interval, or fewer eval_puzzles, leaves more for training",
            Kind.WASTEFUL,
        )
    if _LONG_WARMUP * plan.steps < config.lr_warmup_steps < plan.steps:
        yield LintFinding(
            Level.WARNING,
            "lr_warmup_steps",
            f"{config.lr_warmup_steps} of {plan.steps} steps are warm-up; a twentieth of the run is usual, here "
            f"lr_warmup_steps={max(1, plan.steps // 20)}",
            Kind.WASTEFUL,
        )
    if plan.evaluated < ENOUGH_PUZZLES:
        apart = _SURE * math.sqrt(0.25 / plan.evaluated)
        yield LintFinding(
            Level.ADVICE,
            "eval_puzzles",
            f"an evaluation of {plan.evaluated} puzzles knows a share of solved ones to {100 * apart:.0f} points at "
            f"best (95 %), so smaller differences between runs may be chance; {ENOUGH_PUZZLES} tell five points apart: "
            f"{_more_puzzles(plan)}",
            Kind.CANNOT_BE_JUDGED,
        )


def lint_learning_rate(configs: Sequence[RunConfig]) -> Iterator[LintFinding]:
    """Whether lr is above the bound of the rule lr_out_of_range in all of these configurations, at least one: a search
    that goes too high, and not only there, finds that out by itself."""
    if any(step_share(config) <= LARGEST_STEP for config in configs):
        return
    lowest, highest = min(config.lr for config in configs), max(config.lr for config in configs)
    width = min(config.arch.hidden_size for config in configs)
    yield LintFinding(
        Level.WARNING,
        "lr",
        f"{lowest:g}{'' if lowest == highest else f' to {highest:g}'} is too high: a step may change a weight by more "
        f"than {LARGEST_STEP:.0%} of its size (rule lr_out_of_range); with hidden_size {width} at most "
        f"{LARGEST_STEP / math.sqrt(width):.2g}, and 1e-4 to 1e-3 is usual",
    )


def _more_puzzles(plan: RunPlan) -> str:
    """What to change so that enough puzzles decide: at most half of the test puzzles do."""
    changes = [f"eval_puzzles={ENOUGH_PUZZLES}"] if plan.config.eval_puzzles < ENOUGH_PUZZLES else []
    test = plan.puzzles.test_examples
    if test is not None and test < 2 * ENOUGH_PUZZLES:
        generated = plan.config.data_path is None and plan.config.data is not None
        more = f"data.test_size={2 * ENOUGH_PUZZLES}"
        changes.append(more if generated else f"a test split of at least {2 * ENOUGH_PUZZLES} puzzles")
    return " and ".join(changes)
