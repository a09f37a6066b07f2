"""Whether a part of the model moves, from train rows or from checkpoints."""

from __future__ import annotations

import numpy as np

from hrm_sweep.diagnosis.checkpoints import CheckpointFacts
from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow
from hrm_sweep.diagnosis.signals import last_fifth
from hrm_sweep.runs.formats import Series

FROZEN_ROWS = 3
FROZEN_STEPS = 20
NOTICEABLE_LR = 1e-7  # below it an update of a weight can vanish in float32
DRIFTED_SHARE = 1e-6  # docs/thresholds.md, frozen_module


def frozen_modules(run: Evidence, modules: list[str]) -> tuple[list[str], list[EvidenceRow]]:
    """Which of these modules stand still, with a row for each that was looked at. Raises MissingEvidence."""
    return _by_checkpoints(run, modules) if run.is_reference else _by_rows(run, modules)


def _by_rows(run: Evidence, modules: list[str]) -> tuple[list[str], list[EvidenceRow]]:
    updates, gradients = run.train_groups("update_norm"), run.rows.group("grad_norm")
    lr = run.rows.get("lr")
    frozen, rows, judged = [], [], 0
    for name in [name for name in modules if name in updates]:
        recent = _noticeable(last_fifth(updates[name]), lr)
        if len(recent) < FROZEN_ROWS:
            recent = _last(_noticeable(updates[name], lr), FROZEN_ROWS)
        if len(recent) < FROZEN_ROWS or recent.last_step < FROZEN_STEPS:
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
    if not judged:
        raise MissingEvidence(
            f"{FROZEN_ROWS} train rows over {FROZEN_STEPS} steps with an update of {', '.join(modules)}"
        )
    return frozen, rows


def _noticeable(update: Series, lr: Series | None) -> Series:
    if lr is None:
        return update
    return update.where(np.nan_to_num(lr.at(update.step), nan=0.0) >= NOTICEABLE_LR)


def _last(series: Series, n: int) -> Series:
    return Series(series.step[-n:], series.value[-n:])


def _by_checkpoints(run: Evidence, modules: list[str]) -> tuple[list[str], list[EvidenceRow]]:
    before, now = run.need_checkpoints(2)[-2:]
    if run.config.lr == 0:
        raise MissingEvidence("a learning rate above 0")
    frozen, rows = [], []
    for name in modules:
        share = _drifted_share(now, name)
        if share is not None:
            rows.append(
                EvidenceRow.below(f"movement of {name} since step {before.step}", share, DRIFTED_SHARE, now.step)
            )
            if share < DRIFTED_SHARE:
                frozen.append(name)
    if not rows:
        raise MissingEvidence(f"weights of {', '.join(modules)} in two checkpoints")
    return frozen, rows


def _drifted_share(checkpoint: CheckpointFacts, name: str) -> float | None:
    module = checkpoint.modules.get(name)
    if module is None or module.drifted is None or not module.finite:
        return None
    return module.drifted / module.norm if module.norm else 0.0
