"""Whether a part of the model moves, from train rows or from checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrm_sweep.diagnosis.checkpoints import CheckpointFacts
from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow
from hrm_sweep.diagnosis.signals import last_fifth
from hrm_sweep.runs.formats import Series

FROZEN_ROWS = 3
FROZEN_STEPS = 20
NOTICEABLE_LR = 1e-7  # below it an update of a weight can vanish in float32
NOTICEABLE_BY_EVERY_TENSOR = 1e-5  # an update of lr is then 20 times the spacing of float32 numbers at 5, a Q bias
DRIFTED_SHARE = 1e-6  # docs/thresholds.md, frozen_module


@dataclass(frozen=True)
class Movement:
    """What moves of some modules.

    frozen   modules of which nothing moves.
    partly   modules that move while one of their tensors, or more, does not.
    rows     a row for each that was looked at.
    """

    frozen: tuple[str, ...]
    partly: tuple[str, ...]
    rows: tuple[EvidenceRow, ...]


def movement(run: Evidence, modules: list[str]) -> Movement:
    """What moves of these modules. Raises MissingEvidence."""
    return _by_checkpoints(run, modules) if run.is_reference else _by_rows(run, modules)


def _by_rows(run: Evidence, modules: list[str]) -> Movement:
    updates, gradients = run.train_groups("update_norm"), run.rows.group("grad_norm")
    unchanged = run.rows.group("unchanged_tensors")
    frozen, partly, rows, judged = [], [], [], 0
    for name in [name for name in modules if name in updates]:
        recent = _recent(run, updates[name], NOTICEABLE_LR)
        if recent is None:
            continue
        judged += 1
        gradient = gradients.get(name)
        no_gradient = gradient is not None and not gradient.at(recent.step).any()
        largest = float(np.nan_to_num(recent.value, nan=np.inf).max())
        rows.append(EvidenceRow.below(f"update_norm of {name}, largest lately", largest, 0.0, recent.last_step))
        if largest == 0 or no_gradient:
            frozen.append(name)
            if no_gradient:
                rows.append(EvidenceRow.below(f"grad_norm of {name}, largest lately", 0.0, 0.0, recent.last_step))
        elif name in unchanged and (still := _recent(run, unchanged[name], NOTICEABLE_BY_EVERY_TENSOR)) is not None:
            fewest = int(np.nan_to_num(still.value).min())
            rows.append(EvidenceRow.above(f"tensors of {name} that do not move", fewest, 0, still.last_step))
            if fewest > 0:
                partly.append(name)
    if not judged:
        raise MissingEvidence(
            f"{FROZEN_ROWS} train rows over {FROZEN_STEPS} steps with an update of {', '.join(modules)}"
        )
    return Movement(tuple(frozen), tuple(partly), tuple(rows))


def _recent(run: Evidence, series: Series, least_lr: float) -> Series | None:
    """The last fifth of a series, its last few rows at least, where the learning rate was noticeable; None while that
    is too little to judge by."""
    lr = run.rows.get("lr")

    def noticeable(part: Series) -> Series:
        return part if lr is None else part.where(np.nan_to_num(lr.at(part.step), nan=0.0) >= least_lr)

    recent = noticeable(last_fifth(series))
    if len(recent) < FROZEN_ROWS:
        everything = noticeable(series)
        recent = Series(everything.step[-FROZEN_ROWS:], everything.value[-FROZEN_ROWS:])
    return None if len(recent) < FROZEN_ROWS or recent.last_step < FROZEN_STEPS else recent


def _by_checkpoints(run: Evidence, modules: list[str]) -> Movement:
    before, now = run.need_checkpoints(2)[-2:]
    if run.config.lr == 0:
        raise MissingEvidence("a learning rate above 0")
    frozen, partly, rows = [], [], []
    for name in modules:
        share = _drifted_share(now, name)
        if share is None:
            continue
        rows.append(EvidenceRow.below(f"movement of {name} since step {before.step}", share, DRIFTED_SHARE, now.step))
        unchanged = now.modules[name].unchanged
        if share < DRIFTED_SHARE:
            frozen.append(name)
        elif unchanged and run.config.lr >= NOTICEABLE_BY_EVERY_TENSOR:
            partly.append(name)
            rows += [EvidenceRow("bit for bit unchanged", tensor, now.step) for tensor in unchanged[:4]]
    if not rows:
        raise MissingEvidence(f"weights of {', '.join(modules)} in two checkpoints")
    return Movement(tuple(frozen), tuple(partly), tuple(rows))


def _drifted_share(checkpoint: CheckpointFacts, name: str) -> float | None:
    module = checkpoint.modules.get(name)
    if module is None or module.drifted is None or not module.finite:
        return None
    return module.drifted / module.norm if module.norm else 0.0
