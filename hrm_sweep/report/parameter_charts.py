"""Figures of a study's report by parameter: scores over its values, and how trials ended there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm_sweep.diagnosis.regions import Concentration, Region, Relation
from hrm_sweep.diagnosis.study_evidence import End, StudyParameter, StudyTrial
from hrm_sweep.evaluation.share import is_share
from hrm_sweep.report.figures_html import Figure
from hrm_sweep.report.html import Html, element
from hrm_sweep.report.scales import Scale, linear, spelled
from hrm_sweep.report.study_charts import (
    MOST_MARKS,
    brief,
    outcome_mark,
    score_scale,
    states_of,
    thinned_trials,
    told_of,
)
from hrm_sweep.report.study_report import ReportedTrial, StudyReport, plural
from hrm_sweep.report.svg import BOTTOM, LEFT, RIGHT, TOP, drawing

_BINS = 10
_ENDS = (("complete", End.COMPLETE), ("pruned", End.PRUNED), ("failed", End.FAILED))


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
    y = score_scale(report, [trial.line.best or 0.0 for trial in scored])
    leader = None if report.best is None else report.best.number
    marks, ring = [], None
    for trial in thinned_trials(scored, MOST_MARKS):
        at = places.of(trial.line.values[parameter.name])
        if at is None:
            continue
        at += places.spread() * (((trial.number * 0.618034) % 1) - 0.5)
        up = float(y(trial.line.best or 0.0))
        marks.append(
            outcome_mark(
                round(at, 1),
                up,
                trial.line.state,
                f"{told_of(trial)}, {brief(parameter.name)} {trial.line.values[parameter.name]}",
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
    legend = [(f"mark {state}", state) for state in states_of(scored)]
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
