"""What a confirmation says before its first run and after its last one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hrm_sweep.cli.output import is_quiet
from hrm_sweep.cli.studies import study_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hrm_sweep.cli.fleet import Voice
    from hrm_sweep.report.confirmation import ConfirmationReport
    from hrm_sweep.sweep.conduct import Conducted
    from hrm_sweep.sweep.resources import Share
    from hrm_sweep.sweep.study import Study


def announce_confirmation(study: Study, share: Share, hours: float | None, voice: Voice) -> None:
    """What will be trained, and what the race can tell. Raises StudyError when the puzzles have changed."""
    from rich.markup import escape

    from hrm_sweep.report.pace import span
    from hrm_sweep.report.terminal import spelled
    from hrm_sweep.sweep.budget import account
    from hrm_sweep.sweep.confirm.plan import require_same_puzzles
    from hrm_sweep.sweep.storage import shown

    require_same_puzzles(study)
    _tell_the_search(study)
    plan = study.space.confirm
    assert plan is not None
    limit = "" if hours is None else f", {hours:g} hours of this call"
    threads = f"{share.threads} thread{'s' if share.threads > 1 else ''}"
    say = voice.progress.print
    say(
        f"[bold]{escape(study.name)}[/bold]: {len(plan.candidates)} candidates of {escape(plan.of)}, "
        f"{len(plan.seeds)} fresh seeds each, {study.space.budget.trials} runs at most{limit}, "
        f"{share.jobs} at once with {threads} each"
    )
    for one in plan.candidates:
        searched = "" if one.score is None else f"{study.space.objective.metric} {one.score:.4g} in the search; "
        name = f"{one.name}, the baseline" if one.is_baseline and one.trial is not None else one.name
        say(f"  {escape(name)}: {escape(searched + (spelled(one.values) or 'as in the base'))}")
    if len(plan.looks) > 1:
        looks = ", ".join(map(str, plan.looks[:-1]))
        say(f"no pruner but the race: who is beaten for sure after {looks} seeds is trained no further")
    else:
        say(f"no pruner, and no race: {len(plan.seeds)} seeds are too few to drop anybody before the last one")
    now = account(study)
    left = now.left + now.due + now.lost
    if left and plan.seconds_a_run is not None:
        rounds = -(-left // share.jobs)  # of runs beside each other
        say(
            f"about {span(rounds * plan.seconds_a_run)} for {left} runs, were nobody dropped and each as long as the "
            f"trials of {escape(plan.of)}, {span(plan.seconds_a_run)}"
        )
    say(f"storage {shown(study.storage_url)}, runs in {study.folder}")


def conclude_confirmation(study: Study, ended: Conducted, voice: Voice) -> int:
    """Print what was found, let the search know, and say how it ended: the exit code."""
    import json

    from rich.console import Console
    from rich.markup import escape

    from hrm_sweep.report.confirmation import Verdict
    from hrm_sweep.report.confirmation_sections import confirmation_sections
    from hrm_sweep.report.study_report_text import print_sections
    from hrm_sweep.sweep.confirm.results import confirmation_report
    from hrm_sweep.sweep.study_page import keep_study_page

    report = confirmation_report(study)
    search = _tell_the_search(study, report)
    for one in (study, search):
        if one is not None:
            keep_study_page(one, voice.progress.print, every_s=0.0)
    reached = ended.account.is_reached
    code = 0 if reached and report.verdict is not Verdict.NOTHING else 1
    if ended.interrupted and not reached:
        code = 130
    if voice.as_json:
        print(json.dumps({**report.to_mapping(), "budget_reached": reached, "exit_code": code}))
        return code
    print_sections(confirmation_sections(report), Console(highlight=False))
    if not is_quiet():
        voice.results.print("\nnext:")
        for command, why in _next_commands(study, report):
            voice.results.print(f"  {escape(command)}  [dim]# {escape(why)}[/dim]", soft_wrap=True)
    return code


def _next_commands(study: Study, report: ConfirmationReport) -> Iterator[tuple[str, str]]:
    from hrm_sweep.report.confirmation import Verdict

    if report.verdict is Verdict.UNDECIDED:
        yield study_command(study, "confirm", report.of, *_named(study, report)), "continues"
    if report.verdict is Verdict.NOTHING:
        yield study_command(study, "retry", study.name), "lets failed runs be tried again, by the same confirm"
    yield study_command(study, "report", report.of, "--html", "report.html"), "both scores of each on one page"
    yield study_command(study, "clean", study.name), "removes the checkpoints of its runs"


def _named(study: Study, report: ConfirmationReport) -> list[str]:
    from hrm_sweep.sweep.confirm.plan import default_name

    return [] if study.name == default_name(report.of) else ["--name", study.name]


def _tell_the_search(study: Study, report: ConfirmationReport | None = None) -> Study | None:
    """Let the study that is confirmed know what stands so far; returns it, None when it is gone."""
    from hrm_sweep.errors import StudyError
    from hrm_sweep.sweep.confirm.kept import keep_confirmation
    from hrm_sweep.sweep.confirm.results import confirmation_report
    from hrm_sweep.sweep.study import open_study

    plan = study.space.confirm
    assert plan is not None
    try:
        search = open_study(study.storage_url, plan.of)
    except StudyError:
        return None
    keep_confirmation(search, report or confirmation_report(study))
    return search
