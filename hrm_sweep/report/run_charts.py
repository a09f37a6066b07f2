"""The charts of one run: which curves stand together, what healthy runs look like behind them, what findings say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hrm_sweep.diagnosis import Evidence, EvidenceRow, Finding
from hrm_sweep.diagnosis.reference_bands import Band, Reference
from hrm_sweep.report.chart_kinds import EVALUATED, KINDS, ChartKind
from hrm_sweep.report.heat_map import HeatMap, binned, heat_map
from hrm_sweep.report.html import Html
from hrm_sweep.report.quantities import home_of, place_of
from hrm_sweep.report.scales import Floats, spelled
from hrm_sweep.report.svg import Area, Chart, Line, Note, Silhouette, line_chart
from hrm_sweep.runs.formats import Curves, Series

_MODULES = ("H_level", "L_level", "q_head", "lm_head", "embed_tokens", "embed_pos", "puzzle_emb")
_LOOK_AHEAD = 4.0  # a young run is drawn with up to four times its length of what healthy runs did next


@dataclass(frozen=True)
class Legend:
    """One entry: a colour of the style sheet ("line s0", "area s0", "silhouette") and what it stands for."""

    style: str
    text: str


@dataclass(frozen=True)
class RunChart:
    """A chart ready for the page. findings: ids of the rules whose first evidence it shows."""

    key: str
    title: str
    unit: str
    drawing: Html
    legend: tuple[Legend, ...]
    findings: tuple[str, ...]


def run_charts(run: Evidence, fired: Sequence[Finding], reference: Reference | None, prefix: str) -> list[RunChart]:
    """Every chart that has something to show, in the order in which one looks at a run.

    fired   the findings to mark, in the order of their numbers 1, 2, ...
    prefix  of identifiers, unique on the page.
    """
    x_high = _x_high(run)
    charts = []
    for kind in KINDS:
        charts.append(_curves(kind, run, reference, fired, prefix))
        if kind.key == "act":
            charts.append(_histogram(run, x_high, fired, prefix))
            charts.append(_by_act_steps(run, prefix))
    charts += _of_checkpoints(run, x_high, fired, prefix)
    return [chart for chart in charts if chart is not None]


def _x_high(run: Evidence) -> float:
    done = max(1, run.measured_step)
    plan = run.known_plan
    return float(done if plan is None else max(done, min(plan.trained_steps, _LOOK_AHEAD * done)))


# Curves over steps ----------------------------------------------------------------------------------------------------


def chart_of(kind: ChartKind, run: Evidence, reference: Reference | None, fired: Sequence[Finding]) -> Chart | None:
    """The chart of a kind, None where the run has none of its curves."""
    lines = list(_lines(kind, run))
    if not lines:
        return None
    return Chart(
        title=kind.title,
        unit=kind.unit,
        x_label="optimizer steps",
        x_high=_x_high(run),
        lines=lines,
        areas=list(_bands(kind, reference, lines, evaluated=run.is_reference)),
        silhouette=_shape(kind, reference, run),
        notes=_notes(kind.key, fired),
        log=kind.log,
        y_range=(0.0, 1.0) if kind.key == "cells" else _act_range(run) if kind.key == "act" else None,
        percent=kind.percent,
        borders=_stages(run),
    )


def _stages(run: Evidence) -> list[tuple[float, str]]:
    """Where each stage of a run began, after the first."""
    return [(float(step), f"stage {number} begins") for number, step in enumerate(run.stage_ends, start=1)]


def _curves(
    kind: ChartKind, run: Evidence, reference: Reference | None, fired: Sequence[Finding], prefix: str
) -> RunChart | None:
    chart = chart_of(kind, run, reference, fired)
    if chart is None:
        return None
    legend = [Legend(line.look, line.name) for line in chart.lines]
    legend += [Legend(f"area s{style}", "healthy runs") for style in sorted({area.style for area in chart.areas})[:1]]
    if chart.silhouette is not None:
        of = "q_continue of the" if kind.key == "q_losses" else "the"
        legend.append(Legend("silhouette", f"shape of {of} published run"))
    return _finished(kind.key, kind.title, kind.unit, line_chart(chart, f"{prefix}{kind.key}"), legend, fired)


def _finished(
    key: str, title: str, unit: str, drawing: Html, legend: Sequence[Legend], fired: Sequence[Finding]
) -> RunChart:
    findings = tuple(finding.rule for finding in fired if home_of(finding) == key)
    return RunChart(key, title, unit, drawing, tuple(legend), findings)


def _lines(kind: ChartKind, run: Evidence) -> Iterator[Line]:
    if kind.group is not None:
        by_module = run.rows.group(kind.group)
        for style, module in enumerate(_MODULES):
            if module in by_module:
                yield _line(module, by_module[module], style)
        return
    for style, (column, name) in enumerate(kind.train):
        yield from _present(run.rows, column, name, style if style == 0 else style + EVALUATED)
    for column, name, style in kind.evaluation:
        yield from _present(run.evaluations, column, name, style)
    if run.is_reference and kind.key in ("q_losses", "q_values"):  # it keeps no train rows
        for style, (column, name) in enumerate(kind.train):
            yield from _present(run.evaluations, column, name, style if style == 0 else style + EVALUATED)


def _present(curves: Curves, column: str, name: str, style: int) -> Iterator[Line]:
    series = curves.get(column)
    if series is not None and len(series):
        yield _line(name, series, style, dashed=column.endswith("_std") or "expected" in column)


def _line(name: str, series: Series, style: int, *, dashed: bool = False) -> Line:
    return Line(name, series.step.astype(np.float64), series.value, style, dashed)


def _act_range(run: Evidence) -> tuple[float, float] | None:
    config = run.recorded.config
    if config is None:
        return None
    limits = [config.stage(number).arch.halt_max_steps for number in range(len(config.stages or ()) or 1)]
    return min(1.0, min(limits) - 1.0), float(max(limits))


def _bands(kind: ChartKind, reference: Reference | None, lines: Sequence[Line], *, evaluated: bool) -> Iterator[Area]:
    """Behind every line that has one: from the lowest to the highest run; for the first, also 10 % to 90 % of them.

    `evaluated`: the lines of train columns were measured in evaluations, because there are no train rows."""
    if reference is None:
        return
    drawn = {line.style for line in lines}
    styled: list[tuple[Band | None, int]] = []
    if kind.group is not None:
        styled = [(reference.train.get(f"{kind.group}.{module}"), n) for n, module in enumerate(_MODULES)]
    elif kind.train:
        main = kind.train[:2] if kind.key in ("q_losses", "q_values") else kind.train[:1]
        styled = [
            ((reference.evaluation if evaluated else reference.train).get(column), style + EVALUATED * (style > 0))
            for style, (column, _) in enumerate(main)
        ]
        styled += [(reference.evaluation.get(column), style) for column, _, style in kind.evaluation[:1]]
    for band, style in styled:
        if band is not None and style in drawn:
            lowest, low, _, high, highest = band.quantiles
            yield Area(band.step, lowest, highest, style)
            if style == lines[0].style:
                yield Area(band.step, low, high, style)


def _shape(kind: ChartKind, reference: Reference | None, run: Evidence) -> Silhouette | None:
    plan = run.known_plan
    column = kind.train[0][0] if kind.train else ""
    if kind.key == "q_losses":
        column = "q_continue_loss"
    if reference is None or plan is None or column not in reference.shapes:
        return None
    shape = reference.shapes[column]
    return Silhouette(shape.share * plan.trained_steps, shape.level)


# What findings point at -----------------------------------------------------------------------------------------------


def _notes(key: str, fired: Sequence[Finding]) -> list[Note]:
    """A note for every row of evidence that this chart shows."""
    notes = []
    for number, finding in enumerate(fired, start=1):
        for row in finding.evidence:
            place = place_of(row)
            if place is not None and place.chart == key and (row.step is not None or row.threshold is not None):
                notes.append(_note(number, finding, row, in_units=place.in_units))
    return notes


def _note(number: int, finding: Finding, row: EvidenceRow, *, in_units: bool) -> Note:
    value = row.value if isinstance(row.value, (int, float)) and math.isfinite(row.value) else None
    threshold = row.threshold if row.threshold is not None and math.isfinite(row.threshold) else None
    text = f"{number} {finding.rule}: {row.quantity} {row.value if value is None else spelled(float(value))}"
    text += f", threshold {spelled(threshold)}" if threshold is not None else ""
    text += f", at step {spelled(row.step)}" if row.step is not None else ""
    return Note(
        label=str(number),
        kind=finding.severity.value,
        text=text,
        x=None if row.step is None else float(row.step),
        y=float(value) if in_units and value is not None else None,
        threshold=threshold if in_units else None,
    )


# Distributions --------------------------------------------------------------------------------------------------------


def _histogram(run: Evidence, x_high: float, fired: Sequence[Finding], prefix: str) -> RunChart | None:
    """How many ACT steps the slots took that halted, over the run."""
    curves = run.evaluations if run.is_reference else run.rows
    if not curves.histogram.size:
        return None
    counts = curves.histogram.astype(np.float64)
    left, right, share = binned(curves.histogram_step.astype(np.float64), counts)
    if run.is_reference:  # checkpoints say nothing about the time between them
        half = 0.03 * x_high
        left, right = np.maximum(0.0, right - half), np.minimum(x_high, right + half)
    title = "ACT steps at halting, distribution"
    chart = HeatMap(
        title=title,
        x_label="optimizer steps",
        x_high=x_high,
        left=left,
        right=right,
        share=share,
        description=_histogram_in_words(counts, share),
        notes=_notes("histogram", fired),
    )
    unit = "if halting were allowed, by checkpoint" if run.is_reference else "share of halts"
    legend = [Legend("cell h2", "few"), Legend("cell h5", "half"), Legend("cell h9", "all")]
    return _finished("histogram", title, unit, heat_map(chart, f"{prefix}histogram"), legend, fired)


def _histogram_in_words(counts: Floats, share: Floats) -> str:
    total = counts.sum(axis=0)
    if not total.any():
        return "No slot halted."
    last = share[share.sum(axis=1) > 0][-1]
    return (
        f"Share of halts after 1 to {share.shape[1]} ACT steps, over optimizer steps. Of the whole run the commonest "
        f"number is {int(total.argmax()) + 1} ({total.max() / total.sum():.0%}); at its end it is "
        f"{int(last.argmax()) + 1} ({last.max():.0%})."
    )


def _by_act_steps(run: Evidence, prefix: str) -> RunChart | None:
    """Of checkpoints that were evaluated: how much thinking longer brings."""
    by_steps = run.evaluations.group("exact_by_act_steps")
    if not by_steps:
        return None
    numbers = sorted(int(name) for name in by_steps)
    steps = by_steps[str(numbers[0])].step
    lines = [
        Line(
            f"step {step:,}",
            np.array(numbers, dtype=np.float64),
            np.array([by_steps[str(number)].at(steps)[at] for number in numbers]),
            style,
        )
        for style, (at, step) in enumerate(list(enumerate(steps))[::-1])  # the last checkpoint in the first colour
    ]
    title, unit = "Puzzles solved, by ACT steps", "share, by checkpoint"
    chart = Chart(title, unit, "ACT steps", float(numbers[-1]), lines, y_range=(0.0, 1.0), percent=True)
    legend = [Legend(line.look, line.name) for line in lines]
    return RunChart("by_act_steps", title, unit, line_chart(chart, f"{prefix}by_act_steps"), tuple(legend), ())


def _of_checkpoints(run: Evidence, x_high: float, fired: Sequence[Finding], prefix: str) -> Iterator[RunChart]:
    """Movement and norms by module, where checkpoints are all there is."""
    specifications = (
        ("embedding", "Puzzle embedding", "largest weight"),
        ("movement", "Movement between checkpoints", "share of the norm"),
        ("weight_norm", "Weight norms", "by module"),
    )
    for key, title, unit in specifications:
        lines = [
            Line(module, np.array([step for step, _ in found]), np.array([value for _, value in found]), style)
            for style, module in enumerate(_MODULES)
            if (found := _of_module(run, key, module))
        ]
        if lines:
            notes = _notes(key, fired)
            log = None if key == "embedding" else True
            chart = Chart(title, unit, "optimizer steps", x_high, lines, notes=notes, log=log)
            legend = [Legend(line.look, line.name) for line in lines]
            yield _finished(key, title, unit, line_chart(chart, f"{prefix}{key}"), legend, fired)


def _of_module(run: Evidence, key: str, module: str) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for checkpoint in run.checkpoints:
        facts = checkpoint.modules.get(module)
        if facts is None or (key == "embedding" and module != "puzzle_emb"):
            continue
        values: Mapping[str, float | None] = {
            "embedding": facts.max_abs,
            "weight_norm": facts.norm,
            "movement": None if facts.drifted is None else facts.drifted / facts.norm if facts.norm else 0.0,
        }
        value = values[key]
        if value is not None:
            found.append((float(checkpoint.step), value))
    return found
