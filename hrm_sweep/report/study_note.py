"""What the dashboard says on a study's page: where it stands, what is best, and why trials ended early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hrm_sweep.diagnosis.statistics import wilson
from hrm_sweep.report.goals import ShownGoal, front_in_words, goal_text
from hrm_sweep.report.markdown import code, plain, table
from hrm_sweep.report.study_figures import StudyPoints, TrialPoint
from hrm_sweep.report.terminal import FEW_FOR_IMPORTANCES, STATES, spelled

_EXAMPLES = 5
_FRONT_ROWS = 12


@dataclass(frozen=True)
class StudyNote:
    """One study for its note.

    ended, budget   trials, retries counted with them as one.
    page            address of a trial's page, to be followed by its number.
    unseen          (share solved, puzzles) of the best trial on puzzles that selection never saw.
    confirmed       what the confirmation of the study found: the verdict, then a line for each candidate.
    importances     of the parameters, of so many completed trials.
    audit           what the audit of the pruners says, empty where they condemned no trial.
    as_of           when this was true, as text.
    goals, front    where there are several goals: these, and of each trial of the front its number and their values,
                    the best by the main goal first.
    """

    name: str
    points: StudyPoints
    ended: int
    budget: int
    page: str
    as_of: str
    unseen: tuple[float, int] | None = None
    importances: Mapping[str, float] = field(default_factory=dict)
    importances_of: int = 0
    confirmed: Sequence[str] = ()
    audit: str = ""
    goals: Sequence[ShownGoal] = ()
    front: Sequence[tuple[int, Sequence[float]]] = ()

    def markdown(self) -> str:
        parts = [
            f"**{self.ended:,} of {self.budget:,} trials have ended**: {self._counts()}",
            self._best(),
            self._confirmed(),
            self._early_ends(),
            self.audit and f"**Pruners**: {plain(self.audit)}",
            self._importances(),
            "Figures: on the first page of the study, below its history. What is wrong with the sweep as a whole: "
            + code(f"hrm-sweep diagnose --study {self.name}"),
            f"_as of {self.as_of}; written anew while trials end_",
        ]
        return "\n\n".join(part for part in parts if part)

    def _counts(self) -> str:
        states = [trial.outcome for trial in self.points.trials]
        return ", ".join(f"{states.count(state):,} {state}" for state in STATES if state in states) or "no trial"

    def _link(self, trial: TrialPoint) -> str:
        return f"[{trial.number}]({self.page}{trial.number})"

    def _best(self) -> str:
        complete = [trial for trial in self.points.trials if trial.outcome == "complete" and trial.best is not None]
        if not complete:
            return "No trial has completed yet."
        if self.front:
            return self._front()
        feasible = [trial for trial in complete if trial.is_feasible]
        if not feasible:
            return f"None of {len(complete):,} completed trials keeps to the constraints."
        best = max(feasible, key=lambda trial: (self.points.worth(trial), -trial.number))
        words = (
            f"**Best**: trial {self._link(best)}, {self.points.metric} {best.best:.4g} on the puzzles it was selected "
            f"by; {code(spelled(best.values))}"
        )
        return words + self._unseen()

    def _unseen(self) -> str:
        if self.unseen is None:
            return ""
        share, n = self.unseen
        low, high = wilson(share * n, n)
        return f"\n\nOn puzzles that selection never saw: **{share:.1%}** of {n} (95 %: {low:.1%} to {high:.1%})."

    def _front(self) -> str:
        """Where there are several goals: the first trials of the front, and the best by the main goal on unseen
        puzzles."""
        by_number = {trial.number: trial for trial in self.points.trials}
        shown = [(number, values) for number, values in self.front[:_FRONT_ROWS] if number in by_number]
        rows = [
            [
                self._link(by_number[number]),
                *(goal_text(goal.metric, value) for goal, value in zip(self.goals, values, strict=True)),
                code(spelled(by_number[number].values, short=True)),
            ]
            for number, values in shown
        ]
        rest = len(self.front) - len(shown)
        more = f"\n\nand {rest:,} more" if rest else ""
        of_first = f" of trial {self.front[0][0]}" if self.unseen else ""
        return (
            f"**Front**: {front_in_words(self.goals, len(self.front))}\n\n"
            + table(["trial", *(goal.metric for goal in self.goals), "values"], rows)
            + more
            + self._unseen().replace("saw:", f"saw, the best checkpoint{of_first}:")
        )

    def _confirmed(self) -> str:
        if not self.confirmed:
            return ""
        head, *rows = self.confirmed
        return "\n".join(
            [f"**{plain(head[:1].upper() + head[1:])}**", "", *(f"- {plain(row.strip())}" for row in rows)]
        )

    def _early_ends(self) -> str:
        by_reason: dict[str, list[TrialPoint]] = {}
        for trial in self.points.trials:
            if trial.outcome in ("pruned", "failed"):
                by_reason.setdefault(f"{trial.outcome}: {trial.reason or 'no reason given'}", []).append(trial)
        rows: Sequence[tuple[str, list[TrialPoint]]] = sorted(by_reason.items(), key=lambda item: -len(item[1]))
        if not rows:
            return ""
        lines = [
            [plain(reason), ", ".join(self._link(trial) for trial in trials[-_EXAMPLES:]), f"{len(trials):,}"]
            for reason, trials in rows
        ]
        return table(["why trials ended early", "the last ones", "trials"], lines, numbers_from=2)

    def _importances(self) -> str:
        if not self.importances:
            return ""
        ranked = sorted(self.importances.items(), key=lambda item: -item[1])
        few = "; too few for more than a hint" if self.importances_of < FEW_FOR_IMPORTANCES else ""
        shares = ", ".join(f"{code(name)} {share:.0%}" for name, share in ranked)
        return (
            f"**Importance** of the parameters: {shares} (PED-ANOVA, n = {self.importances_of} completed trials{few})"
        )
