"""A plan as lines for the terminal, and as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from hrm_sweep.planning.calibration import MOST_SHAPES
from hrm_sweep.planning.lint import Kind
from hrm_sweep.planning.memory import spelled_bytes
from hrm_sweep.planning.run_plan import RULE_EPOCH, RunPlan
from hrm_sweep.planning.speed import Conditions
from hrm_sweep.planning.study_plan import Effect, StudyPlan
from hrm_sweep.report.pace import span

_Quantity = Callable[[RunPlan], float]

_HEADINGS = {
    Kind.CANNOT_WORK: "what cannot work",
    Kind.CANNOT_BE_JUDGED: "what cannot be judged",
    Kind.WASTEFUL: "what is wasteful",
}


def short_lines(plan: StudyPlan, measure_with: str | None) -> Iterator[str]:
    """The lines that `run` prints before the first trial. `measure_with` is the command that measures times; None where
    there is none."""
    yield (
        f"plan: {_counts(plan, lambda run: run.steps)} optimizer steps a trial, warm-up ends at "
        f"{_counts(plan, lambda run: run.config.lr_warmup_steps)}; "
        f"{_counts(plan, lambda run: run.parameters)} parameters, {_memory(plan)} of memory; "
        f"fresh epochs {_fresh(plan)}"
    )
    unknown = "times unknown" + (f": `{escape(measure_with)}` measures" if measure_with else "")
    times = unknown if plan.seconds is None else _times(plan)
    yield f"plan: {_flops(plan)} a trial, {_evaluation_share(plan)} of it evaluation; {times}"
    yield from plan.facts


def plan_lines(plan: StudyPlan, hours: float | None, measure_with: str) -> Iterator[str]:
    """The whole plan but for its table of effects."""
    setting = plan.setting
    trials = "one run" if plan.trials is None else f"{plan.trials} trials, {setting.jobs} at once"
    threads = "" if setting.threads is None else f", {setting.threads} thread{'s' if setting.threads > 1 else ''} each"
    yield f"[bold]{escape(plan.name)}[/bold]: {trials}{threads}"
    if len(plan.runs) > 1:
        yield f"{len(plan.runs)} combinations looked at; where they differ, the least and the most is given"
    yield from _rows(_facts(plan))
    yield ""
    yield from _rows(_costs(plan, hours, measure_with))


def effects_table(effects: tuple[Effect, ...]) -> Table | None:
    """What each value does to the cost; None where no parameter changes it."""
    shown = [effect for effect in effects if effect.is_any]
    if not shown:
        return None
    timed = all(value.seconds is not None for effect in shown for value in effect.values)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("parameter", "value"):
        table.add_column(column)
    for column in ("train", "eval", "memory", "fresh", *(["seconds"] if timed else [])):
        table.add_column(column, justify="right")
    for effect in shown:
        for place, value in enumerate(effect.values):
            numbers = [value.train, value.evaluation, value.memory, value.fresh, *([value.seconds] if timed else [])]
            mark = " (base)" if value.is_reference else ""
            cells = [f"{number:.2f}x" for number in numbers if number is not None]
            table.add_row(effect.name if not place else "", f"{_value(value.value)}{mark}", *cells)
    return table


def without_effect(plan: StudyPlan) -> str | None:
    """A line that names the parameters that are searched and cost nothing."""
    names = [effect.name for effect in plan.effects if not effect.is_any and effect.name not in plan.fixed]
    return f"no effect on cost: {', '.join(names)}" if names else None


def fixed_line(plan: StudyPlan) -> str | None:
    """A line that names the parameters of the space that have one value only."""
    values = " ".join(f"{name}={_value(value)}" for name, value in plan.fixed.items())
    return f"fixed, not searched: {values}" if values else None


def finding_lines(plan: StudyPlan) -> Iterator[str]:
    """Findings under the heading of their kind, or a line that there are none."""
    for kind, heading in _HEADINGS.items():
        found = [finding for finding in plan.findings if finding.kind is kind]
        if found:
            yield f"[bold]{heading}[/bold]"
            yield from (f"  [yellow]{finding.level}[/yellow] {escape(finding.message)}" for finding in found)
    if not plan.findings:
        yield "nothing is wrong with it as far as can be seen before it runs"


def plan_mapping(plan: StudyPlan, hours: float | None) -> dict[str, Any]:
    """The plan as JSON has it: seconds, bytes, floating-point operations."""
    seconds = plan.seconds
    return {
        "schema_version": 1,
        "name": plan.name,
        "trials": plan.trials,
        "jobs": plan.setting.jobs,
        "threads": plan.setting.threads,
        "runs": {name: dict(zip(("least", "most"), ends, strict=True)) for name, ends in _quantities(plan).items()},
        "trial_seconds": None if seconds is None else dict(zip(("least", "mean", "most"), seconds, strict=True)),
        "study_seconds": plan.study_seconds,
        "measured": None if plan.conditions is None else vars(plan.conditions),
        "hours": hours,
        "trials_in_hours": None if hours is None else plan.trials_in(hours),
        "effects": [
            {"parameter": effect.name, "changes_cost": effect.is_any, "values": [vars(one) for one in effect.values]}
            for effect in plan.effects
        ],
        "fixed": dict(plan.fixed),
        "zero_rule": list(plan.facts),
        "findings": [
            {"kind": str(one.kind), "level": str(one.level), "key": one.key, "message": one.message}
            for one in plan.findings
        ],
    }


def _quantities(plan: StudyPlan) -> dict[str, tuple[float | None, float | None]]:
    of: dict[str, _Quantity] = {
        "optimizer_steps": lambda run: run.steps,
        "warmup_steps": lambda run: run.config.lr_warmup_steps,
        "warmup_epoch": lambda run: run.warmup_epoch,
        "drawn_epochs": lambda run: run.drawn_epochs,
        "effective_epochs_if_nothing_halts": lambda run: run.effective_epochs[0],
        "effective_epochs_if_all_halts": lambda run: run.effective_epochs[1],
        "step_of_epoch_20": lambda run: run.mark(RULE_EPOCH).step,
        "lr_at_epoch_20": lambda run: run.mark(RULE_EPOCH).lr,
        "lr_share_at_epoch_20": lambda run: run.mark(RULE_EPOCH).lr_share,
        "decay_steps": lambda run: run.decay_steps,
        "parameters": lambda run: run.parameters,
        "evaluations": lambda run: run.evaluations,
        "evaluated_puzzles": lambda run: run.evaluated,
        "train_flops": lambda run: run.train_flops,
        "evaluation_flops": lambda run: run.evaluation_flops,
        "evaluation_share": lambda run: run.evaluation_share,
        "memory_bytes": lambda run: run.memory.total,
        "disk_bytes": lambda run: run.disk_bytes,
    }
    found = {name: plan.ends(quantity) for name, quantity in of.items()}
    return {name: (_finite(low), _finite(high)) for name, (low, high) in found.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rows(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    for name, text in rows:
        yield f"{name:<16}{escape(text)}"


def _facts(plan: StudyPlan) -> Iterator[tuple[str, str]]:
    puzzles = plan.runs[0].puzzles
    built = puzzles.folder.as_posix() if puzzles.is_built else f"to be built in {puzzles.folder.as_posix()}"
    test = "an unknown number" if puzzles.test_examples is None else f"{puzzles.test_examples:,}"
    yield "puzzles", f"{puzzles.train.total_groups:,} for training, {test} for testing, {built}"
    yield "parameters", _counts(plan, lambda run: run.parameters)
    dropped = max(run.length.scheduled_steps - run.steps for run in plan.runs)
    lost = f", up to {dropped} fewer than scheduled (partial batches are dropped)" if dropped else ""
    yield "optimizer steps", _counts(plan, lambda run: run.steps) + lost
    warm_up, its_epoch = (
        _counts(plan, lambda run: run.config.lr_warmup_steps),
        _range(plan, lambda run: run.warmup_epoch),
    )
    yield "warm-up", f"ends at step {warm_up}, epoch {its_epoch}"
    if all(run.config.epochs >= RULE_EPOCH for run in plan.runs):
        step = _counts(plan, lambda run: run.mark(RULE_EPOCH).step)
        lr = _range(plan, lambda run: run.mark(RULE_EPOCH).lr)
        share = _range(plan, lambda run: 100 * run.mark(RULE_EPOCH).lr_share)
        yield f"epoch {RULE_EPOCH}", f"is step {step}, where the learning rate is {lr}, {share} % of lr"
    yield "epochs", f"{_range(plan, lambda run: run.drawn_epochs)} drawn"
    yield "fresh epochs", f"{_fresh(plan)}: how often each puzzle is begun, from nothing halting early to everything"
    yield "", "halting at once; which of them is not known before training"
    steps, times = _range(plan, lambda run: run.decay_steps), _range(plan, lambda run: run.decay_steps / run.steps)
    yield "weight decay", f"time constant 1 / (lr wd) {steps} steps, {times} times the run"
    yield from (("zero rule", fact.removeprefix("zero rule: ")) for fact in plan.facts)


def _costs(plan: StudyPlan, hours: float | None, measure_with: str) -> Iterator[tuple[str, str]]:
    yield "a train step", _si(plan, lambda run: run.train_flops / run.steps)
    number, of = _counts(plan, lambda run: run.evaluations), _counts(plan, lambda run: run.evaluated)
    each = _si(plan, lambda run: run.evaluation_flops / run.evaluations)
    yield "evaluations", f"{number} of {of} puzzles, {each} each"
    yield "a run", f"{_flops(plan)}, {_evaluation_share(plan)} of it evaluation"
    yield "memory", f"{_memory(plan)}, besides what torch takes itself (some 300 MiB on a CPU); at most"
    yield "", _memory_parts(plan)
    directory = _bytes(plan, lambda run: run.disk_bytes)
    yield "disk", f"{directory} a run directory; the puzzles {spelled_bytes(plan.runs[0].puzzles.bytes)}"
    unknown = f"unknown; `{measure_with}` measures it, for at most {MOST_SHAPES} shapes of model"
    yield "time", unknown if plan.seconds is None else _times(plan)
    slowest = max(plan.runs, key=lambda run: run.trial_seconds or 0.0)
    if slowest.seconds is not None:
        parts = slowest.seconds
        a_step, an_evaluation = 1000 * parts.training / slowest.steps, 1000 * parts.evaluation / slowest.evaluations
        yield "", f"the slowest: training {span(parts.training)} ({_number(a_step)} ms a step),"
        yield (
            "",
            f"evaluation {span(parts.evaluation)} ({_number(an_evaluation)} ms each), checkpoints "
            + (f"{span(parts.saving)}, start {span(parts.start)}"),
        )
    if plan.conditions is not None and plan.seconds is not None:
        yield from _measured(plan.conditions)
    if hours is not None:
        yield f"{hours:g} hours", f"buy {_bought(plan, hours)}"


def _measured(conditions: Conditions) -> Iterator[tuple[str, str]]:
    """When the times were measured, and whether something else had the cores then."""
    at = f"measured {time.strftime('%Y-%m-%d %H:%M', time.localtime(conditions.at))}"
    if not conditions.busy:
        yield "", at
        return
    yield "", f"{at}, when other programs took up to {100 * (conditions.waited or 0):.0f} % of its time:"
    yield "", "once the machine is quiet, --calibrate measures anew"


def _bought(plan: StudyPlan, hours: float) -> str:
    """What hours buy: trials of a study, or runs like the only one."""
    number = plan.trials_in(hours)
    one = "such run" if plan.trials is None else "trial"
    if number is None:
        return f"an unknown number of {one}s, because their time is unknown"
    if number == 0:
        return f"less than one {one}"
    bought = f"{number:,} {one}{'s' if number > 1 else ''}"
    return bought if plan.trials is None else f"{bought}, were none pruned"


def _times(plan: StudyPlan) -> str:
    assert plan.seconds is not None
    least, mean, most = plan.seconds
    if plan.study_seconds is None:
        return f"about {span(mean)}"
    ends = span(mean) if span(least) == span(most) else f"{span(least)} to {span(most)}"
    return f"about {ends} a trial, {span(plan.study_seconds)} the study, were none pruned"


def _memory_parts(plan: StudyPlan) -> str:
    memory = max(plan.runs, key=lambda run: run.memory.total).memory
    parts = ("weights", "gradients", "moments", "activations", "carry")
    return ", ".join(f"{name} {spelled_bytes(getattr(memory, name))}" for name in parts)


def _memory(plan: StudyPlan) -> str:
    return _bytes(plan, lambda run: run.memory.total)


def _fresh(plan: StudyPlan) -> str:
    low = min(run.effective_epochs[0] for run in plan.runs)
    high = max(run.effective_epochs[1] for run in plan.runs)
    return _joined(_number(low), _number(high))


def _evaluation_share(plan: StudyPlan) -> str:
    return f"{_joined(*(f'{100 * end:.2g}' for end in plan.ends(lambda run: run.evaluation_share)))} %"


def _flops(plan: StudyPlan) -> str:
    return _si(plan, lambda run: run.flops)


def _counts(plan: StudyPlan, of: _Quantity) -> str:
    return _joined(*(f"{end:,.0f}" for end in plan.ends(of)))


def _range(plan: StudyPlan, of: _Quantity) -> str:
    return _joined(*(_number(end) for end in plan.ends(of)))


def _number(value: float) -> str:
    """`26,041`, `0.384`, `1.3e-06`: three digits that count, and no exponent above a thousand."""
    if not math.isfinite(value):
        return "infinitely many"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _bytes(plan: StudyPlan, of: _Quantity) -> str:
    return _joined(*(spelled_bytes(int(end)) for end in plan.ends(of)))


def _si(plan: StudyPlan, of: _Quantity) -> str:
    return _joined(*(_flop(end) for end in plan.ends(of)))


def _flop(value: float) -> str:
    """`28.1 TFLOP`."""
    for prefix, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9)):
        if value >= size:
            return f"{value / size:.3g} {prefix}FLOP"
    return f"{value / 1e6:.3g} MFLOP"


def _joined(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = [
    "effects_table",
    "finding_lines",
    "fixed_line",
    "plan_lines",
    "plan_mapping",
    "short_lines",
    "without_effect",
]
