"""What a study remembers of its confirmation, so that nobody has to ask for its own score without hearing of the other.

Written into the attributes of the search by whoever runs the confirmation, when it begins and when its command ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hrm_sweep.errors import StudyError
from hrm_sweep.evaluation.share import is_share
from hrm_sweep.report.confirmation import ConfirmationReport, Estimate, Verdict
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.study import Study, open_study, study_names


@dataclass(frozen=True)
class KeptScore:
    """One candidate: its score in the search beside the mean over `seeds` fresh ones, None while there is none."""

    name: str
    trial: int | None
    search: float | None
    confirmed: Estimate | None
    seeds: int


@dataclass(frozen=True)
class KeptConfirmation:
    """study: the confirmation. leading: names of those in the race, the best first."""

    study: str
    metric: str
    verdict: Verdict
    leading: tuple[str, ...]
    scores: tuple[KeptScore, ...]

    @property
    def words(self) -> str:
        """`winner: trial 7`, `tie: trial 7, baseline`, `undecided`."""
        named = self.verdict in (Verdict.WINNER, Verdict.TIE)
        return f"{self.verdict.value}: {', '.join(self.leading)}" if named else self.verdict.value

    def of_trial(self, trial: int) -> KeptScore | None:
        return next((one for one in self.scores if one.trial == trial), None)

    def lines(self) -> Iterator[str]:
        """One line for the verdict, and one for each candidate."""
        yield f"confirmed by {self.study}: {self.words}"
        for one in self.scores:
            yield f"  {one.name}: {self.said(one)}"

    def said(self, one: KeptScore) -> str:
        """`84.5% in the search, 81.0% confirmed (95 % interval 77.2 to 84.8, 5 seeds)`."""
        search = "not in the search" if one.search is None else f"{self._score(one.search)} in the search"
        if one.confirmed is None:
            return f"{search}, not confirmed"
        low, high = one.confirmed.low, one.confirmed.high
        interval = "" if low is None or high is None else f"95 % interval {self._score(low)} to {self._score(high)}, "
        plural = "" if one.seeds == 1 else "s"
        return f"{search}, {self._score(one.confirmed.value)} confirmed ({interval}{one.seeds} seed{plural})"

    def _score(self, value: float) -> str:
        return f"{value:.1%}" if is_share(self.metric) else f"{value:.4g}"


def keep_confirmation(search: Study, report: ConfirmationReport) -> None:
    """Let the search know what its confirmation has found so far."""
    scores = [
        {
            "name": one.name,
            "trial": one.trial,
            "search": one.search,
            "confirmed": None if one.confirmed is None else one.confirmed.to_mapping(),
            "seeds": one.seeds,
        }
        for one in report.candidates
    ]
    content = {
        "study": report.name,
        "metric": report.metric,
        "verdict": report.verdict.value,
        "leading": list(report.leading),
        "scores": scores,
    }
    search.optuna.set_user_attr(attributes.CONFIRMED, content)


def known_confirmation(study: Study) -> KeptConfirmation | None:
    """What the study remembers; None for one that was not confirmed."""
    given: dict[str, Any] | None = study.attribute(attributes.CONFIRMED)
    if not given:
        return None
    scores = tuple(
        KeptScore(
            one["name"],
            one["trial"],
            one["search"],
            None if one["confirmed"] is None else Estimate(**one["confirmed"]),
            one["seeds"],
        )
        for one in given["scores"]
    )
    return KeptConfirmation(given["study"], given["metric"], Verdict(given["verdict"]), tuple(given["leading"]), scores)


def confirmation_of(study: Study) -> Study | None:
    """The study that confirms `study`, or `study` itself where it is a confirmation; None where there is none."""
    if study.space.confirm is not None:
        return study
    known = known_confirmation(study)
    if known is None or known.study not in study_names(study.storage):
        return None
    try:
        found = open_study(study.storage_url, known.study)
    except StudyError:
        return None
    return found if found.space.confirm is not None else None
