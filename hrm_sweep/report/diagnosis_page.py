"""The diagnosis of one run or several as a page: verdict, findings beside their curves, and what was looked at."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import yaml

from hrm_sweep.diagnosis import Diagnosis, Evidence, Finding, Verdict
from hrm_sweep.diagnosis.reference_bands import reference_for
from hrm_sweep.errors import DiskFullError
from hrm_sweep.report.findings_html import evidence_table, quiet_findings, remedy
from hrm_sweep.report.html import Html, element, joined, page, write_page
from hrm_sweep.report.progress import duration
from hrm_sweep.report.run_charts import RunChart, run_charts
from hrm_sweep.runs import RunDirectory


def diagnosis_page(diagnoses: Sequence[Diagnosis]) -> Html:
    """One self-contained page; several runs have a section each, after a table of them."""
    title = diagnoses[0].verdict if len(diagnoses) == 1 else f"{len(diagnoses)} runs diagnosed"
    heading = "h1" if len(diagnoses) == 1 else "h2"
    sections = [_run(diagnosis, f"r{number}-", heading) for number, diagnosis in enumerate(diagnoses, start=1)]
    overview = _overview(diagnoses) if len(diagnoses) > 1 else None
    foot = element(
        "footer",
        "Made by ",
        element("code", "hrm-sweep diagnose"),
        ". What a rule looks at, and when it stays quiet: ",
        element("code", "hrm-sweep diagnose --explain RULE"),
        ".",
    )
    return page(f"{title} · hrm-sweep", element("main", overview, sections, foot))


def write_report(diagnosis: Diagnosis) -> None:
    """Put report.html into a run directory of ours, in place of one that is there unless the puzzles were not found
    this time. A folder that cannot be written, or is full, is left as it is."""
    page_file = RunDirectory(diagnosis.evidence.path).report
    if diagnosis.evidence.is_reference or (diagnosis.evidence.data is None and page_file.exists()):
        return
    with contextlib.suppress(OSError, DiskFullError):
        write_page(page_file, diagnosis_page([diagnosis]))


def _overview(diagnoses: Sequence[Diagnosis]) -> Html:
    entries = [
        element(
            "li",
            element("a", str(each.run), href=f"#r{number}-run", class_="path"),
            element("p", _badge(_state_of(each)), " ", each.verdict),
        )
        for number, each in enumerate(diagnoses, start=1)
    ]
    return element("nav", element("h1", f"{len(diagnoses)} runs"), element("ol", entries))


def _run(diagnosis: Diagnosis, prefix: str, heading: str) -> Html:
    run = diagnosis.evidence
    fired = [finding for finding in diagnosis.findings if finding.verdict is Verdict.FIRED]
    reference = reference_for(run)
    charts = run_charts(run, fired, reference, prefix)
    numbers = {finding.rule: number for number, finding in enumerate(fired, start=1)}
    beside: dict[str, RunChart] = {}
    for chart in charts:
        if chart.findings:
            beside[chart.findings[0]] = chart
    others = [chart for chart in charts if chart not in beside.values()]
    state = _state_of(diagnosis)
    return element(
        "section",
        element("p", str(diagnosis.run), class_="path"),
        element(heading, diagnosis.verdict, class_="verdict"),
        _facts(run),
        [element("p", problem, class_="problem") for problem in diagnosis.problems],
        element("p", reference.sentence, class_="bands") if reference is not None and charts else None,
        element("h3", "Findings") if fired else None,
        [
            _finding(
                finding, numbers, beside.get(finding.rule), _chart_elsewhere(finding, charts, beside), fired, prefix
            )
            for finding in fired
        ],
        _curves(others, bool(beside), fired, prefix) if charts else element("p", "No metrics, no curves."),
        quiet_findings(
            "Cannot tell", [finding for finding in diagnosis.findings if finding.verdict is Verdict.UNKNOWN], prefix
        ),
        quiet_findings(
            "Clear", [finding for finding in diagnosis.findings if finding.verdict is Verdict.CLEAR], prefix
        ),
        _configuration(run),
        id=f"{prefix}run",
        class_=f"run {state}",
    )


def _state_of(diagnosis: Diagnosis) -> str:
    """A class of the style sheet: the severity of the leading finding, or healthy, or unknown."""
    if diagnosis.leading is not None:
        return diagnosis.leading.severity.value
    return "unknown" if diagnosis.verdict.startswith("Cannot tell") else "healthy"


def _badge(kind: str, text: str | None = None) -> Html:
    return element("span", text or kind, class_=f"chip {kind}")


# What the run is ------------------------------------------------------------------------------------------------------


def _facts(run: Evidence) -> Html:
    facts = [(name, text) for name, text in _named_facts(run) if text]
    return element("dl", (element("div", element("dt", name), element("dd", text)) for name, text in facts))


def _named_facts(run: Evidence) -> list[tuple[str, str]]:
    config, status, environment, plan = run.recorded.config, run.status, run.recorded.environment, run.known_plan
    of = f" of {plan.trained_steps:,}" if plan is not None else ""
    state = "reference run" if run.is_reference else "" if status is None else status.state.value
    if status is not None and status.cause is not None:
        state += f", {status.cause.value}"
    facts = [("state", state), ("optimizer steps", f"{run.steps_done:,}{of}"), ("puzzles solved", _solved(run))]
    if config is not None:
        now = config.stage(run.stage)
        arch, stage = now.arch, "" if config.stages is None else f" in stage {run.stage}"
        facts += [
            (
                "model",
                f"width {arch.hidden_size}, {arch.H_layers}+{arch.L_layers} layers, {arch.H_cycles}x{arch.L_cycles} "
                f"cycles, up to {arch.halt_max_steps} ACT steps{stage}",
            ),
            (
                "recipe",
                f"batch {now.global_batch_size}, lr {now.lr:g}, warm-up {now.lr_warmup_steps}, "
                f"weight decay {now.weight_decay:g}, puzzle_emb_lr {now.puzzle_emb_lr:g}{stage}",
            ),
            ("puzzles", str(config.data_path or "")),
        ]
    if environment is not None:
        torch = environment.packages.get("torch", "")
        facts.append(("ran on", f"{environment.device_name}, {environment.dtype}, torch {torch}"))
    if len(run.rows) and math.isfinite(run.rows.time_s[-1]):
        facts.append(("trained for", duration(float(run.rows.time_s[-1]))))
    return facts


def _solved(run: Evidence) -> str:
    exact = run.evaluations.get("exact_accuracy")
    if exact is None or not len(exact.finite()):
        return ""
    return f"{exact.finite().last:.1%} at the last evaluation, {exact.finite().value.max():.1%} at the best"


# Findings -------------------------------------------------------------------------------------------------------------


def _chart_elsewhere(finding: Finding, charts: Sequence[RunChart], beside: dict[str, RunChart]) -> RunChart | None:
    """The chart that shows a finding, where it stands beside another one."""
    if finding.rule in beside:
        return None
    return next((chart for chart in charts if finding.rule in chart.findings), None)


def _finding(
    finding: Finding,
    numbers: dict[str, int],
    chart: RunChart | None,
    elsewhere: RunChart | None,
    fired: Sequence[Finding],
    prefix: str,
) -> Html:
    words = element(
        "div",
        element(
            "h4",
            element("span", str(numbers[finding.rule]), class_=f"number {finding.severity.value}"),
            f" {finding.title} ",
        ),
        element("p", _badge(finding.severity.value), " ", element("code", finding.rule), class_="rule"),
        element("p", finding.explanation),
        evidence_table(finding.evidence),
        remedy(finding),
        _pointer(elsewhere, prefix),
        element("p", "Known from: ", finding.reference, class_="reference"),
        class_="words",
    )
    return element(
        "article",
        words,
        _figure(chart, fired, prefix) if chart is not None else None,
        class_=f"finding {finding.severity.value}",
        id=f"{prefix}{finding.rule}",
        data_rule=finding.rule,
    )


def _pointer(elsewhere: RunChart | None, prefix: str) -> Html | None:
    if elsewhere is None:
        return None
    return element(
        "p", "Seen in: ", element("a", elsewhere.title, href=f"#{prefix}{elsewhere.key}-figure"), class_="seen"
    )


def _configuration(run: Evidence) -> Html | None:
    config = run.recorded.config
    if config is None:
        return None
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return element("details", element("summary", "Configuration"), element("pre", text))


# Curves ---------------------------------------------------------------------------------------------------------------


def _curves(charts: Sequence[RunChart], some_above: bool, fired: Sequence[Finding], prefix: str) -> Html:
    return joined(
        element("h3", "Other curves" if some_above else "Curves"),
        element("div", (_figure(chart, fired, prefix) for chart in charts), class_="charts"),
    )


def _figure(chart: RunChart, fired: Sequence[Finding], prefix: str) -> Html:
    numbers = {finding.rule: (number, finding.severity.value) for number, finding in enumerate(fired, start=1)}
    chips = [
        element(
            "a",
            element("span", str(numbers[rule][0]), class_=f"number {numbers[rule][1]}"),
            f" {rule}",
            href=f"#{prefix}{rule}",
            class_="chip",
        )
        for rule in chart.findings
    ]
    legend = [
        element("li", Html(_key(entry.style)), entry.text)
        for entry in chart.legend
        if len(chart.legend) > 1 or entry.text
    ]
    return element(
        "figure",
        element("figcaption", element("strong", chart.title), " ", element("span", chart.unit, class_="unit")),
        chart.drawing,
        element("ul", legend, class_="legend") if legend else None,
        element("p", chips, class_="chips") if chips else None,
        class_="chart",
        id=f"{prefix}{chart.key}-figure",
    )


def _key(style: str) -> Html:
    """A sample of a line or an area for the legend."""
    shape = (
        element("path", d="M1 6H19", class_=style)
        if style.startswith("line")
        else element("rect", x=2, y=1, width=16, height=10, class_=style)
    )
    return element("svg", shape, viewBox="0 0 20 12", class_="key", aria_hidden="true")
