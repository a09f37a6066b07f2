"""The figures of a study's report. Outcomes are told apart by shape and dash as well as by colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hrm_sweep.evaluation.share import Share, is_share
from hrm_sweep.report.figures_html import Figure
from hrm_sweep.report.html import Html, element, joined
from hrm_sweep.report.scales import Scale, fitted, linear, spelled
from hrm_sweep.report.study_report import ReportedTrial, StudyReport, plural
from hrm_sweep.report.study_sections import ranked_importances
from hrm_sweep.report.svg import BOTTOM, LEFT, RIGHT, TOP, axes, drawing, path_data
from hrm_sweep.report.terminal import STATES, TO_BE_RETRIED

MOST_CURVES = 200
MOST_MARKS = 1500
_RANKED = 10  # trials whose intervals are drawn


# Scores over epochs and over the study --------------------------------------------------------------------------------


def learning_curves(report: StudyReport) -> Figure | None:
    """A line for each trial, at most MOST_CURVES: of more the best half of that, and others evenly spaced."""
    all_curves = [trial for trial in report.ranked if any(math.isfinite(value) for _, value in trial.curve)]
    if not all_curves:
        return None
    curves = thinned_trials(all_curves, MOST_CURVES)
    x = linear(0.0, max(epoch for trial in curves for epoch, _ in trial.curve), LEFT, RIGHT)
    y = score_scale(report, [value for trial in curves for _, value in trial.curve])
    leader = None if report.best is None else report.best.number
    title = "Learning curves"
    shown = "" if len(curves) == len(all_curves) else f" {len(curves)} of {len(all_curves):,} are drawn."
    described = (
        f"{report.view.metric} by epoch of {plural(len(all_curves), 'trial')}, {_counted(all_curves)}.{shown} "
        + (f"The best, trial {leader}, ends at {_last(curves, leader)}." if leader is not None else "")
    )
    picture = drawing(
        "learning-curves",
        title,
        described,
        axes(x, y, "epoch", percent=is_share(report.view.metric)),
        (_curve(trial, x, y, leader) for trial in sorted(curves, key=lambda trial: trial.number == leader)),
    )
    legend = [(f"curve {state}", state) for state in states_of(curves)]
    legend += [("curve leader", "the best")] if leader is not None else []
    return Figure("curves", title, f"{report.view.metric}, by epoch", picture, tuple(legend))


def _curve(trial: ReportedTrial, x: Scale, y: Scale, leader: int | None) -> Html:
    epochs = np.array([epoch for epoch, _ in trial.curve], dtype=np.float64)
    values = np.array([value for _, value in trial.curve], dtype=np.float64)
    places = np.where(np.isfinite(values), y(np.nan_to_num(values, posinf=y.high, neginf=y.low)), np.nan)
    name = "curve leader" if trial.number == leader else f"curve {trial.line.state}"
    shape = element("title", f"trial {trial.number}, {trial.line.state}")
    return element("path", shape, d=path_data(x(epochs), places), class_=name)


def history(report: StudyReport) -> Figure | None:
    """Every score in the order of the trials, and the best so far."""
    scored = [trial for trial in report.trials if trial.line.best is not None and math.isfinite(trial.line.best)]
    if not scored:
        return None
    x = linear(0.0, max(1.0, report.trials[-1].number), LEFT, RIGHT)
    y = score_scale(report, [trial.line.best or 0.0 for trial in scored])
    steps, best = [], -math.inf
    sign = 1 if report.view.maximize else -1
    for trial in scored:
        if trial.line.state == "complete" and not trial.line.violates and sign * (trial.line.best or 0.0) > best:
            best = sign * (trial.line.best or 0.0)
            steps.append((trial.number, sign * best))
    line = "".join(
        f"{'M' if place == 0 else 'H'}{float(x(number)):g}{' ' if place == 0 else 'V'}{float(y(value)):g}"
        for place, (number, value) in enumerate(steps)
    )
    leader = f" The best of {sign * best:.4g} came with trial {steps[-1][0]}." if steps else ""
    title = "Scores in the order of the trials"
    shown = thinned_trials(scored, MOST_MARKS)
    picture = drawing(
        "history",
        title,
        f"{report.view.metric} of {plural(len(scored), 'trial')}, {_counted(scored)}.{leader}",
        axes(x, y, "trial", percent=is_share(report.view.metric)),
        element("path", d=f"{line}H{RIGHT}", class_="curve leader") if steps else None,
        (
            outcome_mark(float(x(trial.number)), float(y(trial.line.best or 0.0)), trial.line.state, told_of(trial))
            for trial in shown
        ),
    )
    legend = [(f"mark {state}", state) for state in states_of(scored)]
    legend += [("curve leader", "best so far")] if steps else []
    return Figure("history", title, report.view.metric, picture, tuple(legend))


def outcome_mark(x: float, y: float, state: str, told: str) -> Html:
    """A circle for a completed trial, a triangle for a pruned one, a cross for one that failed, a square that runs."""
    title = element("title", told)
    if state == "complete":
        return element("circle", title, cx=f"{x:g}", cy=f"{y:g}", r=3.4, class_="mark complete")
    if state == "pruned":
        return element("path", title, d=f"M{x - 3.6:g} {y - 2.8:g}h7.2l-3.6 6.4z", class_="mark pruned")
    if state in ("failed", TO_BE_RETRIED, "retried"):
        return element("path", title, d=f"M{x - 3:g} {y - 3:g}l6 6m0 -6l-6 6", class_=f"mark cross {state}")
    return element("path", title, d=f"M{x - 3:g} {y - 3:g}h6v6h-6z", class_=f"mark {state}")


def told_of(trial: ReportedTrial) -> str:
    score = "" if trial.line.best is None else f", {trial.line.best:.4g}"
    return f"trial {trial.number}, {trial.line.state}{score}"


def score_scale(report: StudyReport, values: Sequence[float]) -> Scale:
    if "accuracy" in report.view.metric:
        return linear(0.0, 1.0, BOTTOM, TOP)
    return fitted(np.array(values, dtype=np.float64), BOTTOM, TOP)


def thinned_trials(trials: Sequence[ReportedTrial], most: int) -> list[ReportedTrial]:
    if len(trials) <= most:
        return list(trials)
    rest = np.linspace(most // 2, len(trials) - 1, most - most // 2).astype(int)
    return [*trials[: most // 2], *(trials[number] for number in rest)]


def states_of(trials: Sequence[ReportedTrial]) -> list[str]:
    there = {trial.line.state for trial in trials}
    return [state for state in STATES if state in there]


def _counted(trials: Sequence[ReportedTrial]) -> str:
    states = [trial.line.state for trial in trials]
    return ", ".join(f"{states.count(state):,} {state}" for state in states_of(trials))


def _last(trials: Sequence[ReportedTrial], number: int) -> str:
    return next((spelled(trial.curve[-1][1]) for trial in trials if trial.number == number and trial.curve), "nothing")


# What the best scores are worth ---------------------------------------------------------------------------------------


def intervals(report: StudyReport) -> Figure | None:
    """The best trials with their intervals, and the best one on unseen puzzles."""
    puzzles = report.evidence.evaluated_puzzles
    if puzzles is None or not is_share(report.view.metric):
        return None
    rows = [
        (f"trial {trial.number}", Share(trial.line.best, puzzles), "")
        for trial in report.ranked
        if trial.line.state == "complete" and trial.line.best is not None
    ][:_RANKED]
    if not rows:
        return None
    if report.best is not None and report.best.unseen is not None:
        rows.insert(0, (f"trial {report.best.number}, unseen", report.best.unseen, " unseen"))
    left = LEFT + 64
    lowest = min(share.interval[0] for _, share, _ in rows)
    x = linear(max(0.0, math.floor(10 * lowest - 0.5) / 10), 1.0, left, RIGHT - 14)
    step = (BOTTOM - TOP) / len(rows)
    title = "The best trials, with 95 % intervals"
    picture = drawing(
        "intervals",
        title,
        "; ".join(f"{name}: {share}" for name, share, _ in rows) + ".",
        _shares_along(x),
        (_whisker(name, share, kind, x, TOP + (row + 0.5) * step) for row, (name, share, kind) in enumerate(rows)),
    )
    legend = [("whisker", f"on the {puzzles:,} puzzles of selection")]
    legend += [("whisker unseen", "on unseen puzzles")] if rows[0][2] else []
    return Figure("intervals", title, "puzzles solved", picture, tuple(legend))


def _whisker(name: str, share: Share, kind: str, x: Scale, y: float) -> Html:
    low, high = (float(x(edge)) for edge in share.interval)
    return joined(
        element("path", d=f"M{low:g} {y:g}H{high:g}M{low:g} {y - 3:g}v6M{high:g} {y - 3:g}v6", class_=f"whisker{kind}"),
        element(
            "circle",
            element("title", f"{name}: {share}"),
            cx=float(x(share.share)),
            cy=f"{y:g}",
            r=4,
            class_=f"point{kind}",
        ),
        element("text", name, x=float(x.begin) - 8, y=f"{y + 3.5:g}", class_="label"),
    )


def _shares_along(x: Scale) -> Html:
    """A horizontal axis of percentages, with grid lines up the chart."""
    marks = [element("path", d=f"M{x.begin:g} {BOTTOM}H{x.end:g}", class_="axis")]
    for tick in x.ticks(5):
        at = float(x(tick))
        marks.append(element("path", d=f"M{at:g} {TOP}V{BOTTOM}", class_="grid"))
        marks.append(element("text", f"{tick:.0%}", x=f"{at:g}", y=BOTTOM + 15, class_="tick x"))
    return element("g", marks, aria_hidden="true")


def importance_bars(report: StudyReport) -> Figure | None:
    ranked = ranked_importances(report)[:_RANKED]
    if not ranked:
        return None
    x = linear(0.0, 1.0, LEFT + 96, RIGHT - 34)
    step = min(26.0, (BOTTOM - TOP) / len(ranked))
    bars = []
    for row, (name, share) in enumerate(ranked):
        y = TOP + row * step
        end = float(x(share))
        bars.append(
            element("rect", x=x.begin, y=f"{y + 3:g}", width=x.end - x.begin, height=f"{step - 8:g}", class_="bar rest")
        )
        bars.append(
            element("rect", x=x.begin, y=f"{y + 3:g}", width=f"{end - x.begin:g}", height=f"{step - 8:g}", class_="bar")
        )
        bars.append(element("text", brief(name), x=x.begin - 8, y=f"{y + step / 2 + 3:g}", class_="label"))
        bars.append(element("text", f"{share:.0%}", x=x.end + 6, y=f"{y + step / 2 + 3:g}", class_="label left"))
    title = "Importance of the parameters"
    told = "; ".join(f"{name} {share:.0%}" for name, share in ranked)
    picture = drawing("importance", title, f"{told}. From {report.importances_of:,} completed trials.", iter(bars))
    return Figure("importance", title, f"n = {report.importances_of:,} completed trials", picture)


def brief(name: str) -> str:
    return name.rsplit(".", 1)[-1]
