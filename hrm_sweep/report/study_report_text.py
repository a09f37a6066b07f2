"""The report of a study as text: in the terminal, as Markdown, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hrm_sweep.diagnosis.finding import json_number
from hrm_sweep.report.goals import front_mapping
from hrm_sweep.report.section import Grid, Section
from hrm_sweep.report.study_report import ReportedTrial, StudyReport
from hrm_sweep.report.study_sections import headline, sections

_SHOWN_TRIALS = 5  # in the terminal, which has a whole table with `hrm-sweep status` and the dashboard
_MARKDOWN_TRIALS = 30
SCHEMA_VERSION = 1


def print_report(report: StudyReport, console: Console) -> None:
    """The report in a terminal of 80 columns or more."""
    console.print(Text.assemble((report.view.name, "bold"), f": {headline(report)}"))
    print_sections(sections(report, trials=_SHOWN_TRIALS), console)


def print_sections(parts: Iterable[Section], console: Console) -> None:
    """Parts of a report, one below the other."""
    for section in parts:
        console.print(Text(f"\n{section.title}", style="bold"))
        for sentence in section.sentences:
            console.print(_indented(Text(sentence)))
        if section.grid is not None:
            console.print(_indented(_table(section.grid)))
        for line in section.lines:
            command, mark, why = line.partition("  # ")
            if mark:
                console.print(Text(f"  # {why}", style="dim"))
            console.print(Text(f"  {command}"), soft_wrap=True)  # so that it can be copied


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 0, 2), expand=False)


def _table(grid: Grid) -> Table:
    """Without what trials said: it is long, and the columns before it are told by `hrm-sweep diagnose`."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    kept = [number for number, heading in enumerate(grid.headings) if heading != "said"]
    for number in kept:
        numeric = any(row[number].number is not None for row in grid.rows)
        wraps = grid.headings[number] in ("values", "searched", "where", "which")
        table.add_column(grid.headings[number], justify="right" if numeric else "left", no_wrap=not wraps)
    for row in grid.rows:
        table.add_row(*(Text(row[number].text) for number in kept))
    return table


# Markdown -------------------------------------------------------------------------------------------------------------


def report_markdown(report: StudyReport) -> str:
    """The report as one Markdown document."""
    return "\n".join(_markdown(report)) + "\n"


def _markdown(report: StudyReport) -> Iterator[str]:
    yield f"# Study {_plain(report.view.name)}"
    yield ""
    yield f"{headline(report)}; written {report.written_at} by `hrm-sweep report`."
    for section in sections(report, trials=_MARKDOWN_TRIALS):
        yield from ("", f"## {_plain(section.title)}", "")
        for sentence in section.sentences:
            yield from (_plain(sentence), "")
        if section.grid is not None:
            yield from _markdown_table(section.grid)
        if section.lines:
            fence = "`" * max(3, *(len(run) + 1 for line in section.lines for run in [*re.findall(r"`+", line), ""]))
            yield from (fence, *(" ".join(line.splitlines()) for line in section.lines), fence)
    if report.best is not None:
        yield from ("", "## Configuration of the best trial", "", "```yaml", report.best.config_text.rstrip(), "```")


def _markdown_table(grid: Grid) -> Iterator[str]:
    yield "| " + " | ".join(map(_plain, grid.headings)) + " |"
    yield "|" + "---|" * len(grid.headings)
    for row in grid.rows:
        yield "| " + " | ".join(_plain(cell.text) for cell in row) + " |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return re.sub(r"([\\`*\[\]<>|~]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


# CSV and JSON ---------------------------------------------------------------------------------------------------------


def report_csv(report: StudyReport) -> str:
    """One row for each attempt, by number; a parameter that a trial does not have is empty."""
    names = list(dict.fromkeys(name for trial in report.trials for name in trial.line.values))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ("trial", "state", report.view.metric, "last_epoch", "epochs", "seconds", "train_flops")
    beside = [f"value.{goal.metric}" for goal in report.view.goals[1:]]
    writer.writerow((*head, *beside, *names, "said"))
    for trial in report.trials:
        line = trial.line
        values = (line.values.get(name) for name in names)
        goals = line.goals[1:] or ("",) * len(beside)
        facts = (line.best, line.epoch, line.epochs, trial.seconds, trial.train_flops, *goals)
        writer.writerow((line.number, line.state, *map(_csv_cell, (*facts, *values)), line.said))
    return out.getvalue()


def _csv_cell(value: object) -> object:
    return "" if value is None else value


def report_json(report: StudyReport) -> str:
    """Everything that the report says, for programs, in one line: indented, thousands of trials take seconds."""
    return json.dumps(_mapping(report), allow_nan=False) + "\n"


def _mapping(report: StudyReport) -> dict[str, Any]:
    best, cost = report.best, report.cost
    return {
        "schema_version": SCHEMA_VERSION,
        "study": report.view.name,
        "written_at": report.written_at,
        "metric": report.view.metric,
        "goal": "maximize" if report.view.maximize else "minimize",
        "budget": report.view.budget,
        "counts": report.counts,
        "searched": {one.name: one.choices for one in report.searched},
        "setting": dict(report.setting),
        "best": None
        if best is None
        else {
            "trial": best.number,
            "value": json_number(best.value),
            "values": dict(best.values),
            "config": best.config_path,
            "selection": None if report.selection is None else report.selection.to_mapping(),
            "unseen": None if best.unseen is None else best.unseen.to_mapping(),
            "unseen_problem": best.unseen_problem,
            "ties": None if best.ties is None else list(best.ties),
        },
        "confirmation": None if report.confirmation is None else report.confirmation.to_mapping(),
        **front_mapping(report.view.goals, [(trial.number, trial.goals) for trial in report.view.on_front]),
        "endings": [
            {"end": one.name, "trials": one.count, "numbers": list(one.trials), "said": one.said}
            for one in report.endings
        ],
        "failure_map": [
            {
                "end": str(one.ending),
                "where": str(one.region),
                "inside": list(one.inside),
                "outside": list(one.outside),
                "p": one.p,
            }
            for one in report.failure_map
        ],
        "failure_map_problem": report.failure_map_problem or None,
        "audit": report.audit.to_mapping(),
        "importances": {"n": report.importances_of, "shares": dict(report.importances)},
        "cost": {
            "trial_s": cost.trial_s,
            "wall_s": cost.wall_s,
            "train_flops": cost.train_flops if cost.flops_of else None,
            "train_flops_of": cost.flops_of,
            "seconds_by_state": dict(cost.by_state),
        },
        "diagnosis": report.diagnosis.to_mapping(),
        "next": [{"command": command, "why": why} for command, why in report.next_commands],
        "trials": [_trial(trial) for trial in report.trials],
    }


def _trial(trial: ReportedTrial) -> dict[str, Any]:
    line = trial.line
    return {
        "trial": line.number,
        "state": line.state,
        "values": dict(line.values),
        "best": json_number(line.best),
        "epochs": line.epochs,
        "curve": [[epoch, json_number(value)] for epoch, value in trial.curve],
        "seconds": trial.seconds,
        "train_flops": trial.train_flops,
        **({"goals": list(line.goals)} if len(line.goals) > 1 else {}),
        **({"violates": line.violates} if line.violates else {}),
        "said": line.said,
    }
