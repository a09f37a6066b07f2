"""The front of a study with several goals, drawn: every completed trial by the main goal and one other."""

from __future__ import annotations

import math

import numpy as np

from hrm_sweep.evaluation.share import is_share
from hrm_sweep.report.figures_html import Figure
from hrm_sweep.report.goals import goal_text
from hrm_sweep.report.html import Html, element
from hrm_sweep.report.scales import fitted
from hrm_sweep.report.study_charts import MOST_MARKS, outcome_mark, score_scale, thinned_trials
from hrm_sweep.report.study_report import ReportedTrial, StudyReport, plural
from hrm_sweep.report.svg import LEFT, RIGHT, axes, drawing


def front_chart(report: StudyReport, place: int) -> Figure | None:
    """The main goal over goal number `place` (1, 2, ...) of each completed trial. The line joins the front; with more
    than two goals it goes back and forth, for a trial may be there for its third. Trials that violate a constraint are
    drawn as crosses."""
    goals = report.view.goals
    there = [
        trial
        for trial in report.trials
        if trial.line.state == "complete" and len(trial.line.goals) == len(goals) and _is_finite(trial)
    ]
    if not there:
        return None
    main, other = goals[0], goals[place]
    x = fitted(np.array([trial.line.goals[place] for trial in there]), LEFT, RIGHT)
    y = score_scale(report, [trial.line.goals[0] for trial in there])
    numbers = set(report.view.front)
    on_front = sorted(
        (trial for trial in there if trial.number in numbers), key=lambda trial: (trial.line.goals[place], trial.number)
    )
    line = "".join(
        f"{'L' if count else 'M'}{float(x(trial.line.goals[place])):g} {float(y(trial.line.goals[0])):g}"
        for count, trial in enumerate(on_front)
    )
    shown = thinned_trials([trial for trial in there if trial.number not in numbers], MOST_MARKS)

    def mark(trial: ReportedTrial) -> Html:
        values = (
            f"{goal.metric} {goal_text(goal.metric, value)}"
            for goal, value in zip(goals, trial.line.goals, strict=True)
        )
        told = f"trial {trial.number}: {', '.join(values)}"
        state = "failed" if trial.line.violates else "complete"
        told += f"; violates a constraint: {trial.line.violates}" if trial.line.violates else ""
        return outcome_mark(float(x(trial.line.goals[place])), float(y(trial.line.goals[0])), state, told)

    title = f"{main.metric} and {other.metric}"
    described = (
        f"{plural(len(there), 'completed trial')}; on the front: "
        + "; ".join(
            f"trial {trial.number}, {goal_text(main.metric, trial.line.goals[0])} at "
            f"{goal_text(other.metric, trial.line.goals[place])}"
            for trial in on_front[:20]
        )
        + "."
    )
    picture = drawing(
        f"front-{place}",
        title,
        described,
        axes(x, y, other.metric, percent=is_share(main.metric)),
        element("path", d=line, class_="curve leader") if len(on_front) > 1 else None,
        (mark(trial) for trial in (*shown, *on_front)),
    )
    legend = [("mark complete", "completed")]
    legend += [("mark failed", "violates a constraint")] if any(trial.line.violates for trial in there) else []
    legend += [("curve leader", "the front")] if len(on_front) > 1 else []
    return Figure(f"front-{place}", title, f"{main.metric}, by {other.metric}", picture, tuple(legend))


def _is_finite(trial: ReportedTrial) -> bool:
    return all(math.isfinite(value) for value in trial.line.goals)
