"""StudyReport: everything that the report of a study says, whatever it is written as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hrm_sweep.diagnosis import StudyDiagnosis
from hrm_sweep.diagnosis.regions import Concentration
from hrm_sweep.diagnosis.study_evidence import StudyEvidence
from hrm_sweep.evaluation.share import Share, is_share
from hrm_sweep.report.audit import PrunerAudit
from hrm_sweep.report.confirmation import ConfirmationReport
from hrm_sweep.report.terminal import STATES, StudyView, TrialLine


@dataclass(frozen=True)
class Searched:
    """One parameter of the search space, and what it could be, in words."""

    name: str
    choices: str


@dataclass(frozen=True)
class ReportedTrial:
    """One attempt. curve: (epoch, value) of each evaluation. seconds: from its start to its end, None while it runs.
    train_flops: operations of its optimizer steps, None where they are not known."""

    line: TrialLine
    curve: tuple[tuple[int, float], ...]
    seconds: float | None
    train_flops: float | None

    @property
    def number(self) -> int:
        return self.line.number


@dataclass(frozen=True)
class BestTrial:
    """The best trial. puzzles: how many its score was measured on. unseen: on puzzles that selection never saw, or
    unseen_problem says why not. ties: other completed trials that chance alone may have put below it, None where their
    noise is not known."""

    number: int
    value: float
    values: Mapping[str, object]
    config_path: str
    config_text: str
    puzzles: int | None
    unseen: Share | None
    unseen_problem: str | None
    ties: tuple[int, ...] | None


@dataclass(frozen=True)
class EndingCount:
    """How many trials ended in one bad way, some of their numbers, and what the first of them said."""

    name: str
    count: int
    trials: tuple[int, ...]
    said: str


@dataclass(frozen=True)
class Cost:
    """What a study took. trial_s: of all attempts added up. wall_s: from the first start to the last end.
    train_flops: of the `flops_of` attempts for which they are known."""

    trial_s: float
    wall_s: float
    train_flops: float
    flops_of: int
    by_state: Mapping[str, float]


@dataclass(frozen=True)
class StudyReport:
    """A study at one moment.

    setting        facts beside the space: (name, text).
    endings        bad ends, the commonest first; a trial may be in several. An attempt that was tried again is none.
    failure_map    where in the space trials end badly; failure_map_problem says why nothing can be said.
    audit          what pruners condemned, and what became of those that went on.
    importances    of the parameters, over `importances_of` completed trials.
    next_commands  what one would type now, with a word on why.
    confirmation   of its best configurations on fresh seeds and unseen puzzles; None while there is none.
    """

    view: StudyView
    searched: Sequence[Searched]
    setting: Sequence[tuple[str, str]]
    best: BestTrial | None
    trials: Sequence[ReportedTrial]
    evidence: StudyEvidence
    diagnosis: StudyDiagnosis
    endings: Sequence[EndingCount]
    failure_map: Sequence[Concentration]
    failure_map_problem: str
    audit: PrunerAudit
    importances: Mapping[str, float]
    importances_of: int
    cost: Cost
    next_commands: Sequence[tuple[str, str]]
    written_at: str
    confirmation: ConfirmationReport | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Attempts by state, those states that there are."""
        states = [trial.line.state for trial in self.trials]
        return {state: states.count(state) for state in STATES if state in states}

    @cached_property
    def ranked(self) -> list[ReportedTrial]:
        """All attempts by score, the best first, whatever their state: a pruned trial may have stood higher than one
        that completed. Of equals the completed ones are first. Then those that violate a constraint, then those
        without a score."""
        sign = 1 if self.view.maximize else -1

        def rank(trial: ReportedTrial) -> tuple[bool, bool, float, bool, int]:
            line = trial.line
            loss = 0.0 if line.best is None else -sign * line.best
            return line.best is None, bool(line.violates), loss, line.state != "complete", trial.number

        return sorted(self.trials, key=rank)

    @property
    def selection(self) -> Share | None:
        """The score of the best trial on the puzzles it was selected by, where its noise is known."""
        best = self.best
        if best is None or best.puzzles is None or not is_share(self.view.metric):
            return None
        return Share(best.value, best.puzzles)

    def rests_on(self) -> Iterator[str]:
        """What the best score is worth, a sentence each."""
        best = self.best
        if best is None:
            return
        complete = self.counts.get("complete", 0)
        if complete > 1:
            yield (
                f"It is the highest of {complete} scores on the same puzzles, which flatters it a little; "
                if self.view.maximize
                else f"It is the lowest of {complete} scores on the same puzzles, which flatters it a little; "
            ) + "puzzles that no choice was made by do not."
        if best.ties is not None and best.ties:
            yield (
                f"{plural(len(best.ties), 'other trial')} may be as good, for chance alone explains the difference: "
                f"{numbered(sorted(best.ties))}."
            )
        elif best.ties is not None and complete > 1:
            yield "No other trial is so close that chance alone would explain the difference."
        if best.unseen_problem:
            yield f"On unseen puzzles: not measured; {best.unseen_problem}."


def plural(count: int, what: str) -> str:
    """`1 trial`, `2 trials`, `5,000 trials`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def numbered(trials: Sequence[int], most: int = 8) -> str:
    """`trial 3`, `trials 3, 4 and 9`, `trials 1, 2, ... and 3 more`."""
    shown = [str(number) for number in trials[:most]]
    if len(trials) > most:
        return f"trials {', '.join(shown)} and {len(trials) - most:,} more"
    if len(shown) == 1:
        return f"trial {shown[0]}"
    return f"trials {', '.join(shown[:-1])} and {shown[-1]}"


def operations(count: float) -> str:
    """Floating-point operations for people: 3.2 TFLOP, 1.5 EFLOP."""
    for unit in ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} EFLOP"
