"""The report of a study as one page: words, figures and tables that can be sorted."""

from __future__ import annotations

from hrm_sweep.diagnosis import Finding, Verdict
from hrm_sweep.report.figures_html import figures
from hrm_sweep.report.findings_html import evidence_table, quiet_findings, remedy
from hrm_sweep.report.front_chart import front_chart
from hrm_sweep.report.html import Html, element, joined, page
from hrm_sweep.report.parameter_charts import outcome_charts, parameter_charts
from hrm_sweep.report.section import Section
from hrm_sweep.report.study_charts import (
    history,
    importance_bars,
    intervals,
    learning_curves,
)
from hrm_sweep.report.study_report import StudyReport
from hrm_sweep.report.study_sections import fired, headline, sections
from hrm_sweep.report.tables_html import table

MOST_TRIALS = 1000
"""Rows of the table of trials. A browser takes a second for ten thousand of them, and nobody reads them."""


def report_page(report: StudyReport) -> Html:
    """One self-contained page."""
    parts = sections(report, trials=MOST_TRIALS, wide=True)
    name = report.view.name
    head = element(
        "header",
        element("p", f"study · written {report.written_at}", class_="path"),
        element("h1", name),
        element("p", f"{headline(report)}; {report.view.ended:,} of {report.view.budget:,} trials.", class_="headline"),
        element("p", report.diagnosis.verdict, class_="verdict"),
        class_=_state(report),
    )
    contents = element(
        "nav",
        element("ul", (element("li", element("a", part.title, href=f"#{part.key}")) for part in parts)),
        class_="contents",
        aria_label="Contents",
    )
    foot = element("footer", "Made by ", element("code", f"hrm-sweep report {name} --html FILE"), ".")
    body = element("main", head, contents, (_part(part, report) for part in parts), foot)
    return page(f"{name} · hrm-sweep", body, styles=["study_report.css"], scripts=["sorting.js"])


def _state(report: StudyReport) -> str:
    """A class of the style sheet: the severity of the leading finding, or healthy, or unknown."""
    if report.diagnosis.leading is not None:
        return report.diagnosis.leading.severity.value
    return "unknown" if report.diagnosis.verdict.startswith("Cannot tell") else "healthy"


def _part(part: Section, report: StudyReport) -> Html:
    draw = {
        "best": _best,
        "front": _front,
        "searched": _searched,
        "confirmed_scores": _confirmed_scores,
        "map": _map,
        "importances": _importances,
        "findings": _findings,
        "next": _next,
    }.get(part.key, _plain)
    return element(
        "section", element("h2", part.title), draw(part, report), class_="part", id=part.key, aria_label=part.title
    )


def _plain(part: Section, report: StudyReport) -> Html:
    return joined(_sentences(part), table(part.grid, tall=part.key == "trials") if part.grid is not None else None)


def _sentences(part: Section) -> Html:
    return joined(element("p", sentence) for sentence in part.sentences)


def _best(part: Section, report: StudyReport) -> Html:
    best = report.best
    if best is None:
        return _sentences(part)
    values = element(
        "ul",
        (element("li", element("code", line)) for line in part.lines[:-1]),
        class_="lines values",
        aria_label="Values",
    )
    configuration = element("details", element("summary", "Configuration"), element("pre", best.config_text))
    drawn = [figure for figure in (intervals(report), learning_curves(report), history(report)) if figure is not None]
    return joined(
        _score(report),
        values,
        element("p", best.config_path, class_="path"),
        (element("p", sentence) for sentence in report.rests_on()),
        figures(drawn),
        configuration,
    )


def _score(report: StudyReport) -> Html:
    """The number that counts, large: that of unseen puzzles where there is one."""
    best = report.best
    assert best is not None
    on_selection = str(report.selection) if report.selection is not None else f"{best.value:.4g}"
    if best.unseen is None:
        value = f"{report.selection.share:.1%}" if report.selection is not None else f"{best.value:.4g}"
        text = f" {report.view.metric} of trial {best.number} on the puzzles it was selected by: {on_selection}"
        return element("p", element("strong", value), text, class_="score")
    low, high = best.unseen.interval
    return joined(
        element(
            "p",
            element("strong", f"{best.unseen.share:.1%}"),
            f" of {best.unseen.n:,} puzzles that selection never saw, solved by trial {best.number} "
            f"(95 % interval {low:.1%} to {high:.1%})",
            class_="score",
        ),
        element("p", f"{report.view.metric} on the puzzles it was selected by: {on_selection}."),
    )


def _front(part: Section, report: StudyReport) -> Html:
    drawn = [front_chart(report, place) for place in range(1, len(report.view.goals))]
    return joined(_plain(part, report), figures([figure for figure in drawn if figure is not None]))


def _searched(part: Section, report: StudyReport) -> Html:
    facts = element(
        "dl",
        (joined(element("dt", name), element("dd", text)) for name, text in report.setting),
        class_="facts",
    )
    grid = table(part.grid) if part.grid is not None else None
    return joined(facts, grid, figures(parameter_charts(report)))


def _confirmed_scores(part: Section, report: StudyReport) -> Html:
    lines = element("ul", (element("li", element("code", line)) for line in part.lines), class_="lines")
    return joined(_plain(part, report), lines)


def _map(part: Section, report: StudyReport) -> Html:
    return joined(_plain(part, report), figures(outcome_charts(report)))


def _importances(part: Section, report: StudyReport) -> Html:
    figure = importance_bars(report)
    return joined(_sentences(part), figures([figure]) if figure is not None else None)


def _findings(part: Section, report: StudyReport) -> Html:
    findings = report.diagnosis.findings
    return joined(
        _sentences(part),
        (_finding(finding) for finding in fired(report)),
        *(
            quiet_findings(title, [each for each in findings if each.verdict is verdict], "rule-")
            for title, verdict in (("Cannot tell", Verdict.UNKNOWN), ("Clear", Verdict.CLEAR))
        ),
    )


def _finding(finding: Finding) -> Html:
    severity = finding.severity.value
    return element(
        "article",
        element(
            "div",
            element("h3", f"{finding.title} "),
            element("p", element("span", severity, class_=f"chip {severity}"), " ", element("code", finding.rule)),
            element("p", finding.explanation),
            evidence_table(finding.evidence),
            remedy(finding),
            class_="words",
        ),
        class_=f"finding {severity}",
        data_rule=finding.rule,
    )


def _next(part: Section, report: StudyReport) -> Html:
    rows = (element("li", why, ": ", element("code", command)) for command, why in report.next_commands)
    return element("ul", rows, class_="lines")
