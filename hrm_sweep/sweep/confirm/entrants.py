"""What a confirmation is made of: who is trained, on which seeds, and how sure it has to be. Part of its search space,
so that it stands in the storage with it and cannot change while the study goes on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from hrm_sweep.config.run import NonNegativeInt, PositiveInt
from hrm_sweep.sweep.parts import Part

LEVEL = 0.05
"""The chance that the best candidate is dropped, or that any is called the winner where several are equally good."""

FIRST_LOOK = 3
"""Rounds before the first look: from two differences nobody can tell how far they scatter."""


class Candidate(Part):
    """One configuration: what it has in place of the study's base.

    name    how it is called: `trial 7`, or `baseline`.
    trial   its best trial in the search; None where the search did not try it.
    score   of that trial in the search, on the puzzles it was selected by.
    seconds  that trial took there; None where that is not known.
    values  RunConfig keys.
    """

    name: str
    trial: NonNegativeInt | None = None
    score: float | None = None
    seconds: float | None = None
    values: dict[str, Any] = Field(default_factory=dict)
    is_baseline: bool = False


class Confirmation(Part):
    """Candidates times seeds.

    of       the study that found the candidates.
    top      how many of its configurations were asked for; there may have been fewer.
    baseline  what was asked for as one; None for the base of the study.
    puzzles  digest of the test split, so that all are measured on the same puzzles.
    """

    of: str
    top: PositiveInt
    baseline: str | None = None
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=2)]
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=2)]
    puzzles: str
    level: Annotated[float, Field(gt=0, lt=0.5)] = LEVEL

    @model_validator(mode="after")
    def _told_apart(self) -> Confirmation:
        for what, given in (("candidates", [one.name for one in self.candidates]), ("seeds", list(self.seeds))):
            if len(set(given)) < len(given):
                raise ValueError(f"{what}: the same one twice in {given}")
        return self

    @property
    def looks(self) -> tuple[int, ...]:
        """After how many rounds losers are looked for. A round is one seed for every candidate."""
        return tuple(range(min(FIRST_LOOK, len(self.seeds)), len(self.seeds) + 1))

    @property
    def seconds_a_run(self) -> float | None:
        """What a run takes on average, by what the candidates took in the search; None where that is not known."""
        known = [one.seconds for one in self.candidates if one.seconds is not None]
        return sum(known) / len(known) if known else None

    def level_at(self, look: int) -> float:
        """The one-sided level at which one candidate is told to be worse than another, at one of the looks.

        The last look has half of the level and those before share the other half; each is divided by twice the number
        of opponents (Bonferroni). So the chance that somebody who is worse ever beats a given candidate is half of the
        level at most, and, of several that are equally good, that all but one are beaten, the whole of it at most: two
        or more would have to fall, or the wrong one of two (Markov's inequality).
        """
        share = 1.0 if len(self.looks) == 1 else 0.5 if look == self.looks[-1] else 0.5 / (len(self.looks) - 1)
        return self.level * share / (2 * (len(self.candidates) - 1))
