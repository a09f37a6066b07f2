"""What pruners would have done to trials that ran to their end: compute saved against winners lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from rich.console import Console
from rich.text import Text

from hrm_sweep.evaluation.share import Share
from hrm_sweep.report.section import Cell, Grid
from hrm_sweep.report.tables_text import terminal_table

SCHEMA_VERSION = 1
FEW = 20
"""Trials below which the interval of any share of a quarter of them is too wide to choose a pruner by."""


@dataclass(frozen=True)
class ReplayedTrial:
    """A trial that ran to its end, with the score it ended at. ended_at: the epoch at which the pruner would have ended
    it, and why; None where it would have let it live. train_flops: of its whole training, None where not known."""

    number: int
    value: float
    epochs: int
    ended_at: float | None
    reason: str
    train_flops: float | None

    @property
    def not_trained(self) -> float:
        """The share of its training that the pruner would have saved."""
        return 0.0 if self.ended_at is None else 1 - self.ended_at / self.epochs


@dataclass(frozen=True)
class PrunerReplay:
    """One pruner, or several together, on the trials of a study.

    left_out       trials for which metrics are missing.
    ended_already  how many trials the study's own pruner, if it is that, ended there: these cannot be replayed.
    """

    name: str
    trials: tuple[ReplayedTrial, ...]
    left_out: tuple[int, ...] = ()
    ended_already: int = 0

    @property
    def condemned(self) -> list[ReplayedTrial]:
        return [trial for trial in self.trials if trial.ended_at is not None]

    @property
    def knows_flops(self) -> bool:
        return all(trial.train_flops is not None for trial in self.trials)

    @property
    def saved(self) -> float:
        """The share of all training that would have been saved: of its operations, or of its epochs where these are not
        known of every trial."""
        weights = [trial.train_flops or 0.0 if self.knows_flops else float(trial.epochs) for trial in self.trials]
        whole = sum(weights)
        saved = sum(weight * trial.not_trained for weight, trial in zip(weights, self.trials, strict=True))
        return saved / whole if whole else 0.0


@dataclass(frozen=True)
class PrunerReplays:
    """Several pruners on the same study.

    recorded  how many trials ran to their end; `audited` of them had been condemned by the study's own pruners.
    pruned    how many the study's pruners ended: their curves stop there, so they cannot be replayed.
    """

    study: str
    metric: str
    maximize: bool
    recorded: int
    audited: int
    pruned: int
    replays: Sequence[PrunerReplay]

    # Winners ----------------------------------------------------------------------------------------------------------

    def best(self, replay: PrunerReplay) -> list[ReplayedTrial]:
        """The trial that ended best; all of them where several did, none where all ended alike."""
        return self._at_least(replay, 1)

    def top_quarter(self, replay: PrunerReplay) -> list[ReplayedTrial]:
        """The best quarter, rounded up, and whatever ended as well as the last of it; none where all ended alike."""
        return self._at_least(replay, math.ceil(len(replay.trials) / 4))

    def better_half(self, replay: PrunerReplay) -> list[ReplayedTrial]:
        """Those that ended better than the median."""
        if not replay.trials:
            return []
        middle = median(self._worth(trial) for trial in replay.trials)
        return [trial for trial in replay.trials if self._worth(trial) > middle]

    def _at_least(self, replay: PrunerReplay, rank: int) -> list[ReplayedTrial]:
        worths = sorted((self._worth(trial) for trial in replay.trials), reverse=True)
        if not worths or worths[0] == worths[-1]:
            return []
        return [trial for trial in replay.trials if self._worth(trial) >= worths[rank - 1] > worths[-1]]

    def _worth(self, trial: ReplayedTrial) -> float:
        return trial.value if self.maximize else -trial.value

    @staticmethod
    def lost(winners: Sequence[ReplayedTrial]) -> Share | None:
        """The share of these winners that the pruner would have ended; None where there are none."""
        if not winners:
            return None
        return Share(sum(trial.ended_at is not None for trial in winners) / len(winners), len(winners))

    # In words ---------------------------------------------------------------------------------------------------------

    @property
    def grid(self) -> Grid:
        """A row for each pruner."""
        headings = ("", "pruner", "ends", "saves", "best", "top quarter lost", "better half lost", "scores lost")
        return Grid(headings, [tuple(self._row(place, one)) for place, one in enumerate(self.replays, start=1)])

    def _row(self, place: int, replay: PrunerReplay) -> Iterator[Cell]:
        ended, best = len(replay.condemned), self.best(replay)
        yield Cell(str(place), place)
        yield Cell(replay.name)
        yield Cell(f"{ended:,}" + (f", +{replay.ended_already:,}" if replay.ended_already else ""), ended)
        yield Cell(f"{replay.saved:.0%}", replay.saved)
        gone = bool(best) and all(trial.ended_at is not None for trial in best)
        yield Cell("" if not best else "lost" if gone else "kept")
        for winners in (self.top_quarter(replay), self.better_half(replay)):
            lost = self.lost(winners)
            yield Cell("" if lost is None else _brief(lost), None if lost is None else lost.share)
        yield Cell(self._scores_lost(replay))

    def _scores_lost(self, replay: PrunerReplay) -> str:
        """What the best of those of the top quarter ended at that would have been lost, and how many more there are."""
        lost = [trial for trial in self.top_quarter(replay) if trial.ended_at is not None]
        if not lost:
            return ""
        best = max(lost, key=self._worth)
        return f"{best.value:.3f}" + (f", +{len(lost) - 1:,}" if len(lost) > 1 else "")

    @cached_property
    def sentences(self) -> list[str]:
        """What the table rests on, and what it leaves out."""
        said = []
        if any(replay.ended_already for replay in self.replays):
            said.append(
                "Ends, after the plus: trials that this pruner ended in the study itself; they stop there and cannot "
                "be replayed, so the rest of the row leaves them out."
            )
        said.append(
            f"{self.recorded:,} trial{'s' if self.recorded != 1 else ''} that ran to the end, {self.audited:,} of them "
            "condemned and audited, each pruner asked at every evaluation; trials are replayed one after the other, in "
            "the order in which they ended."
        )
        if self.pruned:
            said.append(
                f"{self.pruned:,} more were pruned and stop there: trials like them are missing here, but for the "
                "audited ones, so a pruner saves more than this on a study of its own. `audit: 1` leaves none out."
            )
        if self.recorded < FEW:
            said.append(f"With fewer than {FEW} trials the intervals are too wide to choose a pruner by.")
        weighed = "operations" if all(replay.knows_flops for replay in self.replays) else "epochs"
        said.append(
            f"Saves: share of the training's {weighed}. Lost: of so many that ended in the best quarter, or above the "
            "median; in brackets the 95 % interval (Wilson), in percent; then the best score among the lost."
        )
        said += [
            f"{replay.name}: {len(replay.left_out):,} trials left out, for it looks at more than {self.metric} and "
            "their metrics are not on this machine."
            for replay in self.replays
            if replay.left_out
        ]
        return said

    def to_mapping(self) -> dict[str, Any]:
        """For programs."""
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study,
            "metric": self.metric,
            "goal": "maximize" if self.maximize else "minimize",
            "recorded": self.recorded,
            "audited": self.audited,
            "pruned": self.pruned,
            "pruners": [self._mapping(replay) for replay in self.replays],
        }

    def _mapping(self, replay: PrunerReplay) -> dict[str, Any]:
        top, half = self.lost(self.top_quarter(replay)), self.lost(self.better_half(replay))
        return {
            "pruner": replay.name,
            "trials": len(replay.trials),
            "left_out": list(replay.left_out),
            "ended_already": replay.ended_already,
            "saved": replay.saved,
            "saved_of": "train_flops" if replay.knows_flops else "epochs",
            "best": [trial.number for trial in self.best(replay)],
            "top_quarter_lost": None if top is None else top.to_mapping(),
            "better_half_lost": None if half is None else half.to_mapping(),
            "ended": [
                {"trial": trial.number, "epoch": trial.ended_at, "score": trial.value, "reason": trial.reason}
                for trial in replay.condemned
            ],
        }


def print_replays(replays: PrunerReplays, audited: Sequence[str], console: Console) -> None:
    """The table in a terminal, below what the study's own audit says."""
    for sentence in audited:
        console.print(Text(sentence))
    title = f"{replays.study}: what pruners would have saved, and lost"
    console.print(Text(f"\n{title}" if audited else title, style="bold"))
    numbered = replays.grid  # the numbers are for the figure
    console.print(terminal_table(Grid(numbered.headings[1:], [row[1:] for row in numbered.rows])))
    for sentence in replays.sentences:
        console.print(Text(sentence))


def _brief(share: Share) -> str:
    """`1 of 4 (5-70)`: the count, and the interval in percent."""
    low, high = share.interval
    return f"{round(share.share * share.n):,} of {share.n:,} ({100 * low:.0f}-{100 * high:.0f})"
