"""What is wrong with a configuration before a second is spent on it: a look at the config and at the facts of its data.

An error means that the run cannot start. A warning means that it starts, and that somebody will wonder afterwards.
Advice is for those who plan: true, and no fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import RunLength, uneven_shares
from hrm_sweep.data import SplitMetadata
from hrm_sweep.runs.trackers import missing_tracker

FEW_STEPS = 100
"""Below this many optimizer steps hardly anything is solved: a model of 0.13 M parameters solves its first 4x4 puzzle
around step 150 (batch 64), and every larger model and task needs more. Puzzles with one or two blanks need fewer: of
those a third was solved after 40 steps."""

_LOST_STEPS = 0.02  # share of the schedule that dropped partial batches may cost before it is worth a line


class Level(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    ADVICE = "advice"


class Kind(StrEnum):
    """What becomes of a run, or of a study, with such a fault."""

    CANNOT_WORK = "cannot work"
    CANNOT_BE_JUDGED = "cannot be judged"
    WASTEFUL = "wasteful"


@dataclass(frozen=True)
class LintFinding:
    """One thing that is wrong with a configuration. `key` is the dotted key to change; the message ends with the
    remedy."""

    level: Level
    key: str
    message: str
    kind: Kind = Kind.CANNOT_WORK

    def __str__(self) -> str:
        return f"{self.level}: {self.key}: {self.message}"


def lint(config: RunConfig, train: SplitMetadata, processes: int = 1) -> list[LintFinding]:
    """Everything wrong with training `config` in so many processes on data with these facts, errors first."""
    length = RunLength.of(config, train.total_groups, train.mean_puzzle_examples)
    findings = list(_length_findings(config, train, length)) + list(_switched_off_findings(config))
    if problem := uneven_shares(config, processes):
        findings.append(LintFinding(Level.ERROR, "global_batch_size", problem))
    if problem := missing_tracker(config):
        findings.append(LintFinding(Level.ERROR, "tracker", problem))
    return sorted(findings, key=lambda finding: finding.level is not Level.ERROR)


def _length_findings(config: RunConfig, train: SplitMetadata, length: RunLength) -> Iterator[LintFinding]:
    if length.trained_steps == 0:
        rows = int(config.eval_interval * train.total_groups * train.mean_puzzle_examples)
        yield LintFinding(
            Level.ERROR,
            "global_batch_size",
            f"{config.global_batch_size} is larger than the data of one evaluation interval ({rows} rows: "
            f"{config.eval_interval} epochs of {train.total_groups} puzzles), so nothing would be trained; "
            f"use a batch of at most {rows}, or a longer eval_interval",
        )
        return
    steps = length.trained_steps
    if steps < FEW_STEPS:
        yield LintFinding(
            Level.WARNING,
            "epochs",
            f"{config.epochs} epochs are only {steps} optimizer steps (an epoch is one example of each of "
            f"{train.total_groups} puzzles); an HRM seldom solves anything before about {FEW_STEPS}, unless its "
            "puzzles are easy; more epochs, or a smaller batch, make more steps",
            Kind.CANNOT_BE_JUDGED,
        )
    if config.lr_warmup_steps >= steps:
        reached = steps / config.lr_warmup_steps
        yield LintFinding(
            Level.WARNING,
            "lr_warmup_steps",
            f"{config.lr_warmup_steps} steps of warm-up, but the run has {steps}: the learning rate never gets past "
            f"{reached:.0%} of lr; a twentieth of the run is usual, here lr_warmup_steps={max(1, steps // 20)}",
        )
    if length.scheduled_steps - steps > max(4, _LOST_STEPS * length.scheduled_steps):
        yield LintFinding(
            Level.WARNING,
            "eval_interval",
            f"{length.scheduled_steps - steps} of {length.scheduled_steps} steps are lost, because the last, partial "
            f"batch of each of {length.intervals} evaluation intervals is dropped; a longer interval loses fewer",
            Kind.WASTEFUL,
        )


def _switched_off_findings(config: RunConfig) -> Iterator[LintFinding]:
    if config.lr == 0:
        yield LintFinding(Level.WARNING, "lr", "0 trains nothing but the puzzle embedding")
    if config.puzzle_emb_lr == 0 and config.arch.puzzle_emb_ndim > 0:
        yield LintFinding(
            Level.WARNING,
            "puzzle_emb_lr",
            "0 freezes the puzzle embedding at zero; to go without one set arch.puzzle_emb_ndim=0",
        )
