"""The figures of a study's report. Outcomes are told apart by shape and dash as well as by colour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrm_sweep.diagnosis.regions import Concentration, Region, Relation
from hrm_sweep.diagnosis.study_evidence import End, StudyParameter, StudyTrial
from hrm_sweep.evaluation.share import Share, is_share
from hrm_sweep.report.figures_html import Figure
from hrm_sweep.report.html import Html, element, joined
from hrm_sweep.report.scales import Scale, fitted, linear, spelled
from hrm_sweep.report.study_report import ReportedTrial, StudyReport, plural
from hrm_sweep.report.study_sections import ranked_importances
from hrm_sweep.report.svg import BOTTOM, LEFT, RIGHT, TOP, axes, drawing, path_data

MOST_CURVES = 200
MOST_MARKS = 1500
_RANKED = 10  # trials whose intervals are drawn
_BINS = 10
_ENDS = (("complete", End.COMPLETE), ("pruned", End.PRUNED), ("failed", End.FAILED))


# Scores over epochs and over the study --------------------------------------------------------------------------------


def learning_curves(report: StudyReport) -> Figure | None:
    """A line for each trial, at most MOST_CURVES: of more the best half of that, and others evenly spaced."""
    all_curves = [trial for trial in report.ranked if any(math.isfinite(value) for _, value in trial.curve)]
    if not all_curves:
        return None
    curves = _thinned(all_curves, MOST_CURVES)
    x = linear(0.0, max(epoch for trial in curves for epoch, _ in trial.curve), LEFT, RIGHT)
    y = _score_scale(report, [value for trial in curves for _, value in trial.curve])
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
    legend = [(f"curve {state}", state) for state in _states(curves)]
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
    y = _score_scale(report, [trial.line.best or 0.0 for trial in scored])
    steps, best = [], -math.inf
    sign = 1 if report.view.maximize else -1
    for trial in scored:
        if trial.line.state == "complete" and sign * (trial.line.best or 0.0) > best:
            best = sign * (trial.line.best or 0.0)
            steps.append((trial.number, sign * best))
    line = "".join(
        f"{'M' if place == 0 else 'H'}{float(x(number)):g}{' ' if place == 0 else 'V'}{float(y(value)):g}"
        for place, (number, value) in enumerate(steps)
    )
    leader = f" The best of {sign * best:.4g} came with trial {steps[-1][0]}." if steps else ""
    title = "Scores in the order of the trials"
    shown = _thinned(scored, MOST_MARKS)
    picture = drawing(
        "history",
        title,
        f"{report.view.metric} of {plural(len(scored), 'trial')}, {_counted(scored)}.{leader}",
        axes(x, y, "trial", percent=is_share(report.view.metric)),
        element("path", d=f"{line}H{RIGHT}", class_="curve leader") if steps else None,
        (
            _mark(float(x(trial.number)), float(y(trial.line.best or 0.0)), trial.line.state, _told(trial))
            for trial in shown
        ),
    )
    legend = [(f"mark {state}", state) for state in _states(scored)]
    legend += [("curve leader", "best so far")] if steps else []
    return Figure("history", title, report.view.metric, picture, tuple(legend))


def _mark(x: float, y: float, state: str, told: str) -> Html:
    """A circle for a completed trial, a triangle for a pruned one, a cross for one that failed, a square that runs."""
    title = element("title", told)
    if state == "complete":
        return element("circle", title, cx=f"{x:g}", cy=f"{y:g}", r=3.4, class_="mark complete")
    if state == "pruned":
        return element("path", title, d=f"M{x - 3.6:g} {y - 2.8:g}h7.2l-3.6 6.4z", class_="mark pruned")
    if state in ("failed", "retried"):
        return element("path", title, d=f"M{x - 3:g} {y - 3:g}l6 6m0 -6l-6 6", class_=f"mark cross {state}")
    return element("path", title, d=f"M{x - 3:g} {y - 3:g}h6v6h-6z", class_=f"mark {state}")


def _told(trial: ReportedTrial) -> str:
    score = "" if trial.line.best is None else f", {trial.line.best:.4g}"
    return f"trial {trial.number}, {trial.line.state}{score}"


def _score_scale(report: StudyReport, values: Sequence[float]) -> Scale:
    if "accuracy" in report.view.metric:
        return linear(0.0, 1.0, BOTTOM, TOP)
    return fitted(np.array(values, dtype=np.float64), BOTTOM, TOP)


def _thinned(trials: Sequence[ReportedTrial], most: int) -> list[ReportedTrial]:
    if len(trials) <= most:
        return list(trials)
    rest = np.linspace(most // 2, len(trials) - 1, most - most // 2).astype(int)
    return [*trials[: most // 2], *(trials[number] for number in rest)]


def _states(trials: Sequence[ReportedTrial]) -> list[str]:
    there = {trial.line.state for trial in trials}
    return [state for state in ("complete", "pruned", "failed", "retried", "running") if state in there]


def _counted(trials: Sequence[ReportedTrial]) -> str:
    states = [trial.line.state for trial in trials]
    return ", ".join(f"{states.count(state):,} {state}" for state in _states(trials))


def _last(trials: Sequence[ReportedTrial], number: int) -> str:
    return next((spelled(trial.curve[-1][1]) for trial in trials if trial.number == number and trial.curve), "nothing")


# What the best scores are worth ---------------------------------------------------------------------------------------


def intervals(report: StudyReport) -> Figure | None:
    """The best trials with their intervals, and the best one on unseen puzzles."""
    puzzles = report.evidence.evaluated_puzzles
    if puzzles is None or not is_share(report.view.metric):
        return None
    rows = [
        (f"trial {trial.number}", Share(trial.line.best or 0.0, puzzles), "")
        for trial in report.ranked[:_RANKED]
        if trial.line.state == "complete" and trial.line.best is not None
    ]
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
        bars.append(element("text", _brief(name), x=x.begin - 8, y=f"{y + step / 2 + 3:g}", class_="label"))
        bars.append(element("text", f"{share:.0%}", x=x.end + 6, y=f"{y + step / 2 + 3:g}", class_="label left"))
    title = "Importance of the parameters"
    told = "; ".join(f"{name} {share:.0%}" for name, share in ranked)
    picture = drawing("importance", title, f"{told}. From {report.importances_of:,} completed trials.", iter(bars))
    return Figure("importance", title, f"n = {report.importances_of:,} completed trials", picture)


def _brief(name: str) -> str:
    return name.rsplit(".", 1)[-1]


# By parameter ---------------------------------------------------------------------------------------------------------


def parameter_charts(report: StudyReport) -> list[Figure]:
    """For each parameter the scores over its values."""
    charts = (_scatter(report, parameter) for parameter in report.evidence.parameters)
    return [chart for chart in charts if chart is not None]


def outcome_charts(report: StudyReport) -> list[Figure]:
    """For each parameter how trials ended over its values, with the region where they end badly; none where all
    completed."""
    if not report.endings:
        return []
    charts = (_outcomes(report, parameter) for parameter in report.evidence.parameters)
    return [chart for chart in charts if chart is not None]


@dataclass(frozen=True)
class _Places:
    """Where the values of a parameter lie along a chart: on a scale, or one slot for each listed value."""

    scale: Scale
    slots: tuple[object, ...] | None = None

    def of(self, value: object) -> float | None:
        """The place of a value, None for one that the space does not have."""
        if self.slots is not None:
            number = next((place for place, one in enumerate(self.slots) if one == value), None)
            return None if number is None else float(self.scale(number + 0.5))
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return None
        return float(self.scale(float(value)))

    def spread(self) -> float:
        """How far marks may be moved aside, so that they do not hide each other."""
        return 0.0 if self.slots is None else 0.5 * (RIGHT - LEFT) / len(self.slots)

    def axis(self) -> Html:
        marks = [element("path", d=f"M{LEFT} {BOTTOM}H{RIGHT}", class_="axis")]
        if self.slots is None:
            ticks = [(float(self.scale(tick)), spelled(tick)) for tick in self.scale.ticks(5)]
        else:
            ticks = [(float(self.scale(place + 0.5)), str(one)) for place, one in enumerate(self.slots)]
        for at, text in ticks:
            marks.append(element("path", d=f"M{at:g} {BOTTOM}v4", class_="axis"))
            marks.append(element("text", text, x=f"{at:g}", y=BOTTOM + 15, class_="tick x"))
        return element("g", marks, aria_hidden="true")


def _places(parameter: StudyParameter) -> _Places | None:
    if parameter.values is not None:
        return _Places(linear(0.0, len(parameter.values), LEFT, RIGHT), parameter.numbers or parameter.values)
    if parameter.low is None or parameter.high is None:
        return None
    if parameter.whole and parameter.high - parameter.low < _BINS:
        whole = tuple(range(int(parameter.low), int(parameter.high) + 1))
        return _Places(linear(0.0, len(whole), LEFT, RIGHT), whole)
    if parameter.log and parameter.low > 0:
        return _Places(Scale(parameter.low, max(parameter.high, parameter.low * 1.01), LEFT, RIGHT, is_log=True))
    return _Places(linear(parameter.low, parameter.high, LEFT, RIGHT))


def _scatter(report: StudyReport, parameter: StudyParameter) -> Figure | None:
    places = _places(parameter)
    scored = [
        trial
        for trial in report.trials
        if trial.line.best is not None and math.isfinite(trial.line.best) and parameter.name in trial.line.values
    ]
    if places is None or not scored:
        return None
    y = _score_scale(report, [trial.line.best or 0.0 for trial in scored])
    leader = None if report.best is None else report.best.number
    marks, ring = [], None
    for trial in _thinned(scored, MOST_MARKS):
        at = places.of(trial.line.values[parameter.name])
        if at is None:
            continue
        at += places.spread() * (((trial.number * 0.618034) % 1) - 0.5)
        up = float(y(trial.line.best or 0.0))
        marks.append(
            _mark(
                round(at, 1),
                up,
                trial.line.state,
                f"{_told(trial)}, {_brief(parameter.name)} {trial.line.values[parameter.name]}",
            )
        )
        if trial.number == leader:
            ring = element("circle", cx=f"{at:.1f}", cy=f"{up:g}", r=6, class_="mark leader")
    title = parameter.name
    picture = drawing(
        f"score-{parameter.name}",
        title,
        f"{report.view.metric} over {parameter.name} of {plural(len(scored), 'trial')}: "
        + _by_value(parameter, places, scored),
        _levels(y, percent=is_share(report.view.metric)),
        places.axis(),
        iter(marks),
        ring,
    )
    legend = [(f"mark {state}", state) for state in _states(scored)]
    legend += [("mark leader", "the best")] if ring is not None else []
    return Figure(f"score-{parameter.name}", title, report.view.metric, picture, tuple(legend))


def _by_value(parameter: StudyParameter, places: _Places, scored: Sequence[ReportedTrial]) -> str:
    """The highest score for each value, or for the lower and the upper half of a range."""
    groups: dict[str, list[ReportedTrial]] = {}
    for trial in scored:
        value = trial.line.values[parameter.name]
        at = places.of(value)
        if at is not None:
            half = "lower half" if at <= (LEFT + RIGHT) / 2 else "upper half"
            groups.setdefault(half if places.slots is None else str(value), []).append(trial)
    told = (
        f"{name}: {plural(len(group), 'trial')}, highest {max(trial.line.best or 0.0 for trial in group):.3g}"
        for name, group in sorted(groups.items())
    )
    return "; ".join(told) + "."


def _levels(y: Scale, *, percent: bool) -> Html:
    marks = []
    for tick in y.ticks(5):
        at = float(y(tick))
        marks.append(element("path", d=f"M{LEFT} {at:g}H{RIGHT}", class_="grid"))
        text = f"{100 * tick:.3g}%" if percent else spelled(tick)
        marks.append(element("text", text, x=LEFT - 6, y=f"{at + 3.5:g}", class_="tick y"))
    return element("g", marks, aria_hidden="true")


def _outcomes(report: StudyReport, parameter: StudyParameter) -> Figure | None:
    places = _places(parameter)
    having = [trial for trial in report.evidence.ended if parameter.name in trial.values]
    if places is None or not having:
        return None
    count = len(places.slots) if places.slots is not None else _BINS
    width = (RIGHT - LEFT) / count
    bins: list[list[StudyTrial]] = [[] for _ in range(count)]
    for trial in having:
        at = places.of(trial.values[parameter.name])
        if at is not None:
            bins[min(count - 1, max(0, int((at - LEFT) / width)))].append(trial)
    found = [each for each in report.failure_map if each.region.parameter == parameter.name]
    y = linear(0.0, 1.0, BOTTOM, TOP + 10)
    title = parameter.name
    picture = drawing(
        f"ends-{parameter.name}",
        title,
        _ends_in_words(parameter, having, found),
        _levels(y, percent=True),
        (_stack(trials, LEFT + number * width, width, y) for number, trials in enumerate(bins) if trials),
        (_region(each.region, places) for each in found),
        places.axis(),
    )
    there = {trial.end for trial in having}
    names = [name for name, end in _ENDS if end in there]
    places_in_words = {names[0]: ", at the bottom", names[-1]: ", on top"} if len(names) > 1 else {}
    legend = [(f"stack {name}", name + places_in_words.get(name, "")) for name in names]
    legend += [("region", "where they end badly")] if found else []
    return Figure(f"ends-{parameter.name}", title, "share of trials; their number on top", picture, tuple(legend))


def _stack(trials: Sequence[StudyTrial], left: float, width: float, y: Scale) -> Html:
    parts, below = [], 0.0
    for name, end in _ENDS:
        number = sum(trial.end is end for trial in trials)
        if not number:
            continue
        above = below + number / len(trials)
        top, bottom = float(y(above)), float(y(below))
        parts.append(
            element(
                "rect",
                element("title", f"{number} of {len(trials)} {name}"),
                x=f"{left + 1.5:.1f}",
                y=f"{top:g}",
                width=f"{width - 3:.1f}",
                height=f"{bottom - top:.1f}",
                class_=f"stack {name}",
            )
        )
        below = above
    parts.append(element("text", f"{len(trials):,}", x=f"{left + width / 2:.1f}", y=TOP + 6, class_="count"))
    return element("g", parts)


def _region(region: Region, places: _Places) -> Html:
    """A bar above the stacks, with dashed lines down where it begins and ends."""
    parts: list[Html] = [element("title", str(region))]
    for begin, end in _stretches(region, places):
        parts.append(
            element("rect", x=f"{begin:.1f}", y=TOP - 10, width=f"{end - begin:.1f}", height=4, class_="region")
        )
        edges = "".join(f"M{at:.1f} {TOP - 10}V{BOTTOM}" for at in (begin, end) if LEFT < at < RIGHT)
        if edges:
            parts.append(element("path", d=edges, class_="region edge"))
    return element("g", parts)


def _stretches(region: Region, places: _Places) -> Iterator[tuple[float, float]]:
    """Where a region lies along a chart, from the left to the right."""
    if places.slots is not None:
        half = 0.5 * (RIGHT - LEFT) / len(places.slots)
        for value in places.slots:
            at = places.of(value)
            if at is not None and (value is None or isinstance(value, int | float | str)) and region.contains(value):
                yield at - half, at + half
        return
    edge = places.of(region.value)
    if edge is None:
        return
    if region.relation is Relation.OUTSIDE:
        end = places.of(region.end)
        yield LEFT, edge
        if end is not None:
            yield end, RIGHT
    elif region.relation in (Relation.ABOVE, Relation.AT_LEAST):
        yield edge, RIGHT
    elif region.relation in (Relation.BELOW, Relation.AT_MOST):
        yield LEFT, edge


def _ends_in_words(parameter: StudyParameter, having: Sequence[StudyTrial], found: Sequence[Concentration]) -> str:
    counts = ", ".join(
        f"{sum(trial.end is end for trial in having):,} {name}"
        for name, end in _ENDS
        if any(t.end is end for t in having)
    )
    told = "; ".join(str(each) for each in found) or "no region stands out beyond chance"
    return f"How {plural(len(having), 'trial')} ended over {parameter.name}: {counts}. {told[:1].upper()}{told[1:]}."
