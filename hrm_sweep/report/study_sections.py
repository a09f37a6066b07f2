"""The words and tables of a study's report, in the order in which they are read, for terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from hrm_sweep.diagnosis import Finding, Verdict
from hrm_sweep.report.confirmation_sections import confirmation_sections
from hrm_sweep.report.goals import front_in_words, goal_text
from hrm_sweep.report.progress import duration
from hrm_sweep.report.section import Cell, Grid, Section
from hrm_sweep.report.study_report import ReportedTrial, StudyReport, numbered, operations, plural
from hrm_sweep.report.terminal import FEW_FOR_IMPORTANCES, spelled


def sections(report: StudyReport, *, trials: int, wide: bool = False) -> list[Section]:
    """All sections that have something to say. `trials` is how many rows the table of trials may have; a `wide` one
    has a column for each parameter."""
    # The best run of a confirmation is the luckiest seed, which says nothing: there the verdict comes first.
    is_confirmation = report.confirmation is not None and report.confirmation.name == report.view.name
    parts = [
        None if is_confirmation else _best(report),
        _front(report),
        *([] if report.confirmation is None else confirmation_sections(report.confirmation)),
        _searched(report),
        _endings(report),
        _audit(report),
        _failure_map(report),
        _importances(report),
        _cost(report),
        _findings(report),
        _next(report),
        _trials(report, trials, wide=wide),
    ]
    return [part for part in parts if part is not None]


def headline(report: StudyReport) -> str:
    """`5 complete, 3 pruned in 8 min 44 s`."""
    counts = ", ".join(f"{count:,} {state}" for state, count in report.counts.items()) or "no trial"
    return f"{counts} in {duration(report.cost.wall_s)}" if report.trials else counts


def _best(report: StudyReport) -> Section:
    best, metric = report.best, report.view.metric
    if best is None:
        return Section("best", "Best configuration", [_why_no_best(report)])
    score = str(report.selection) if report.selection is not None else f"{best.value:.4g}"
    sentences = [f"Trial {best.number}: {metric} {score} on the puzzles it was selected by."]
    if report.view.goals:
        sentences.insert(0, f"By the first of {len(report.view.goals)} goals; the others are on the front below.")
    if best.unseen is not None:
        sentences.append(f"On puzzles that selection never saw: {best.unseen}.")
    return Section(
        "best",
        "Best configuration",
        [*sentences, *report.rests_on()],
        lines=[*(f"{name}={_value(value)}" for name, value in best.values.items()), best.config_path],
    )


def _why_no_best(report: StudyReport) -> str:
    violating = sum(trial.line.state == "complete" and bool(trial.line.violates) for trial in report.trials)
    if violating:
        return f"None of {plural(violating, 'completed trial')} keeps to the constraints, so there is no best one."
    return "No trial has completed, so there is no best configuration."


def _front(report: StudyReport) -> Section | None:
    view = report.view
    if not view.goals:
        return None
    rows = [
        (
            Cell(str(trial.number), trial.number),
            *(Cell(goal_text(goal.metric, value), value) for goal, value in zip(view.goals, trial.goals, strict=True)),
            Cell(spelled(trial.values, short=True)),
        )
        for trial in view.on_front
    ]
    sentence = f"{front_in_words(view.goals, len(rows)).capitalize()}."
    headings = ("trial", *(goal.metric for goal in view.goals), "values")
    return Section("front", "The front", [sentence], Grid(headings, rows) if rows else None)


def _searched(report: StudyReport) -> Section:
    best = {} if report.best is None else report.best.values
    rows = [
        (Cell(one.name), Cell(one.choices), Cell(_value(best[one.name]) if one.name in best else ""))
        for one in report.searched
    ]
    facts = [f"{name.capitalize()}: {text}." for name, text in report.setting]
    headings = ("parameter", "searched", "in the best trial")
    return Section("searched", "What was searched", facts, Grid(headings, rows))


def _endings(report: StudyReport) -> Section:
    ended = len(report.evidence.ended)
    if not report.endings:
        return Section(
            "endings", "What ended badly", [f"Nothing: none of {plural(ended, 'trial')} was pruned or failed."]
        )
    rows = [
        (
            Cell(one.name),
            Cell(f"{one.count:,}", one.count),
            Cell(f"{one.count / ended:.0%}", one.count / ended),
            Cell(numbered(one.trials, 5)),
            Cell(one.said),
        )
        for one in report.endings
    ]
    said = f"Of {plural(ended, 'trial')} that ended; a trial may be in several rows."
    return Section(
        "endings", "What was pruned or failed, and why", [said], Grid(("end", "trials", "share", "which", "said"), rows)
    )


def _audit(report: StudyReport) -> Section | None:
    audit = report.audit
    if not audit.condemned:
        return None
    rows = [
        (
            Cell(str(trial.number), trial.number),
            Cell(trial.pruner),
            Cell(f"{trial.epoch:g}", trial.epoch),
            Cell(trial.state if trial.value is None else f"{trial.value:.3f}", trial.value),
            Cell("" if trial.value is None else "yes" if audit.is_better_half(trial.value) else "no"),
            Cell(trial.condemned_by),
        )
        for trial in audit.audited
    ]
    headings = ("trial", "condemned by", "at epoch", "ended at", "better half", "said")
    return Section(
        "audit",
        "Did pruning end a winner?",
        list(audit.sentences()),
        Grid(headings, rows) if rows else None,
    )


def _failure_map(report: StudyReport) -> Section | None:
    title = "Where trials end badly"
    if report.failure_map_problem:
        return Section("map", title, [f"Cannot tell: it takes {report.failure_map_problem}."])
    if not report.failure_map:
        if not report.endings:
            return None
        return Section("map", title, ["In no region more than chance explains."])
    rows = [
        (
            Cell(str(one.ending)),
            Cell(str(one.region)),
            Cell(f"{one.inside[0]:,} of {one.inside[1]:,}", one.inside[0] / max(1, one.inside[1])),
            Cell(f"{one.outside[0]:,} of {one.outside[1]:,}", one.outside[0] / max(1, one.outside[1])),
            Cell("< 1e-15" if one.p < 1e-15 else f"{one.p:.1e}" if one.p < 0.001 else f"{one.p:.3f}", one.p),
        )
        for one in report.failure_map
    ]
    sentence = (
        "Fisher's exact test, corrected for all splits of all parameters (Holm): p is the chance of such a split "
        "where parameters have nothing to do with it."
    )
    return Section("map", title, [sentence], Grid(("end", "where", "there", "elsewhere", "p"), rows))


def _importances(report: StudyReport) -> Section:
    title = f"Importance of the parameters (n = {report.importances_of:,} completed trials)"
    if not report.importances:
        return Section(
            "importances", title, ["Cannot tell: too few trials have completed, or all of them score alike."]
        )
    few = (
        [f"Too few for more than a hint; {FEW_FOR_IMPORTANCES} completed trials give a stable order."]
        if report.importances_of < FEW_FOR_IMPORTANCES
        else []
    )
    rows = [(Cell(name), Cell(f"{share:.0%}", share)) for name, share in ranked_importances(report)]
    return Section(
        "importances",
        title,
        ["PED-ANOVA: the share of the difference between the best and all that a parameter explains.", *few],
        Grid(("parameter", "importance"), rows),
    )


def ranked_importances(report: StudyReport) -> list[tuple[str, float]]:
    return sorted(report.importances.items(), key=lambda item: -item[1])


def _cost(report: StudyReport) -> Section:
    cost = report.cost
    sentences = [f"{duration(cost.trial_s)} of trials within {duration(cost.wall_s)}."]
    if cost.flops_of:
        known = "" if cost.flops_of == len(report.trials) else f", known for {cost.flops_of:,} of them"
        sentences.append(f"Training took {operations(cost.train_flops)} (floating-point operations{known}).")
    else:
        sentences.append("Floating-point operations are not known for these trials.")
    rows = [
        (
            Cell(state),
            Cell(f"{count:,}", count),
            Cell(duration(cost.by_state.get(state, 0.0)), cost.by_state.get(state, 0.0)),
            Cell(f"{cost.by_state.get(state, 0.0) / max(1e-9, cost.trial_s):.0%}"),
        )
        for state, count in report.counts.items()
    ]
    return Section("cost", "What it cost", sentences, Grid(("state", "attempts", "time", "share"), rows))


def fired(report: StudyReport) -> list[Finding]:
    return [finding for finding in report.diagnosis.findings if finding.verdict is Verdict.FIRED]


def _findings(report: StudyReport) -> Section:
    lines = [f"{finding.severity.value}: {finding.title} ({finding.rule})" for finding in fired(report)]
    return Section("findings", "Diagnosis of the study", [report.diagnosis.verdict], lines=lines)


def _next(report: StudyReport) -> Section | None:
    if not report.next_commands:
        return None
    return Section("next", "Next steps", lines=[f"{command}  # {why}" for command, why in report.next_commands])


def _trials(report: StudyReport, most: int, *, wide: bool) -> Section | None:
    """A row for each attempt, the best first, in whatever state it is."""
    if not report.trials or not most:
        return None
    names = [one.name for one in report.searched]
    shown = report.ranked[:most]
    left_out = len(report.trials) - len(shown)
    first = f"The first {len(shown):,} of {len(report.trials):,}, the best first, in whatever state; --csv has all."
    sentences = [first] if left_out else []
    parameters = [name.rsplit(".", 1)[-1] for name in names] if wide else ["values"]
    rows = [_trial_row(trial, names, wide=wide) for trial in shown]
    grid = Grid(("trial", "state", "score", "epoch", "time", *parameters, "said"), rows)
    return Section("trials", "Trials", sentences, grid)


def _trial_row(trial: ReportedTrial, names: Sequence[str], *, wide: bool) -> tuple[Cell, ...]:
    line = trial.line
    values = [_parameter(line.values.get(name)) for name in names] if wide else [Cell(spelled(line.values, short=True))]
    return (
        Cell(str(line.number), line.number),
        Cell(line.state),
        Cell("" if line.best is None else f"{line.best:.3f}", line.best),
        Cell("" if line.epoch is None else str(line.epoch), line.epoch),
        Cell("" if trial.seconds is None else duration(trial.seconds), trial.seconds),
        *values,
        Cell(line.said),
    )


def _parameter(value: object) -> Cell:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return Cell("" if value is None else _value(value), number)


def _value(value: object) -> str:
    return spelled({"": value})[1:]
