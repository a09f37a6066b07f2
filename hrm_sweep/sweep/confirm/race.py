"""The race: which runs are to be made, and who is out. Decided from the runs that have ended, and from nothing else.

Rounds are seeds: in a round every candidate that is still in the race is trained on the same new seed. After the third
round and each one from there on comes a look: a candidate that another one beats for sure is out, and its remaining
seeds are not run. No run of a later round begins before the look is taken, so that neither the number of workers nor
the order in which runs end changes who is out. The last one that remains still gets all its seeds, for its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hrm_sweep.sweep.confirm.entrants import Confirmation
from hrm_sweep.sweep.confirm.statistics import Difference, Solved, difference


@dataclass(frozen=True)
class Bits:
    """Which of so many puzzles were solved, one bit each."""

    packed: bytes
    puzzles: int

    @staticmethod
    def of(solved: Solved) -> Bits:
        return Bits(np.packbits(solved).tobytes(), len(solved))

    def unpacked(self) -> Solved:
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=self.puzzles).astype(np.bool_)


@dataclass(frozen=True)
class EndedRun:
    """The run of a candidate on a seed, both by their place, that will not be tried again.

    score   higher is better; None where there is none because the run failed.
    solved  None where that is not known, or where the score is no share of puzzles solved.
    """

    candidate: int
    seed: int
    score: float | None
    solved: Bits | None = None


@dataclass(frozen=True)
class Out:
    """Why a candidate is out: after `rounds` rounds, because candidate `by` beats it with the p value `p`, or, where
    `by` is None, because none of its runs gave a score."""

    rounds: int
    by: int | None
    p: float | None


@dataclass(frozen=True)
class Standing:
    """Where the race stands.

    out     candidates that are out, by their place.
    rounds  whose runs may begin: up to the look that comes next.
    """

    out: Mapping[int, Out]
    rounds: int
    candidates: int

    @property
    def remaining(self) -> list[int]:
        return [place for place in range(self.candidates) if place not in self.out]

    def runs(self) -> list[tuple[int, int]]:
        """(candidate, seed) of every run that may begin or has begun, in the order in which they begin."""
        return [
            (candidate, seed)
            for seed in range(self.rounds)
            for candidate in range(self.candidates)
            if candidate not in self.out or seed < self.out[candidate].rounds
        ]


@dataclass(frozen=True)
class _Rules:
    candidates: int
    seeds: int
    looks: tuple[tuple[int, float], ...]  # (round, level)


def standing(plan: Confirmation, ended: Sequence[EndedRun]) -> Standing:
    """Where the race stands when these runs have ended."""
    rules = _Rules(len(plan.candidates), len(plan.seeds), tuple((look, plan.level_at(look)) for look in plan.looks))
    return _standing(rules, tuple(sorted(ended, key=lambda run: (run.seed, run.candidate))))


@lru_cache(maxsize=8)
def _standing(rules: _Rules, ended: tuple[EndedRun, ...]) -> Standing:
    """Asked twice a second by everybody who waits for work, mostly with nothing new."""
    runs = {(run.candidate, run.seed): run for run in ended}
    out: dict[int, Out] = {}
    for look, level in rules.looks:
        inside = [place for place in range(rules.candidates) if place not in out]
        if any((place, seed) not in runs for place in inside for seed in range(look)):
            return Standing(out, look, rules.candidates)
        seen = {place: [runs[place, seed] for seed in range(look)] for place in inside}
        beaten = {place: found for place in inside if (found := _beaten(place, seen, look, level)) is not None}
        out |= beaten
    return Standing(out, rules.seeds, rules.candidates)


def _beaten(place: int, seen: Mapping[int, Sequence[EndedRun]], look: int, level: float) -> Out | None:
    if all(run.score is None for run in seen[place]):
        return Out(look, None, None)
    against = [(advantage(seen[other], seen[place]).p, other) for other in seen if other != place]
    p, by = min(against, default=(1.0, place))
    return Out(look, by, p) if p <= level else None


def advantage(ours: Sequence[EndedRun], theirs: Sequence[EndedRun]) -> Difference:
    """How much better the one candidate is, from those of their runs that gave a score."""
    first, second = ([run for run in side if run.score is not None] for side in (ours, theirs))
    scores, others = ([run.score for run in side if run.score is not None] for side in (first, second))
    rows = solved_rows([*first, *second])
    return difference(scores, others, None if rows is None else (rows[: len(first)], rows[len(first) :]))


def paired(ours: Sequence[EndedRun], theirs: Sequence[EndedRun]) -> tuple[list[EndedRun], list[EndedRun]]:
    """Their runs of the same seeds, where both gave a score, in the order of the seeds."""
    first = {run.seed: run for run in ours if run.score is not None}
    second = {run.seed: run for run in theirs if run.score is not None}
    common = sorted(first.keys() & second.keys())
    return [first[seed] for seed in common], [second[seed] for seed in common]


def solved_rows(runs: Sequence[EndedRun]) -> Solved | None:
    """(runs, puzzles) which puzzles were solved; None unless all of them know, of equally many puzzles."""
    known = [run.solved for run in runs if run.solved is not None]
    if not known or len(known) < len(runs) or len({bits.puzzles for bits in known}) > 1:
        return None
    return np.stack([bits.unpacked() for bits in known])
