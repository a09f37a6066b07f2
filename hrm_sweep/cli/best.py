"""`hrm-sweep best` and `hrm-sweep export`: what a study found, in a form that something else takes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.studies import STORAGE_OPTION, storage_url, study_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hrm_sweep.sweep.best import Best
    from hrm_sweep.sweep.study import Study


_OPTIONS = (
    ("--yaml", "the whole configuration"),
    ("--command", "a line that trains it again"),
    ("--official", "the same for the reference implementation"),
)
_TRIAL_OPTION = typer.Option("--trial", min=0, help="This completed trial in place of the best one.")


def best(
    study: Annotated[str, typer.Argument(help="Name of a study.")],
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the whole configuration, as a file for train.")
    ] = False,
    command: Annotated[bool, typer.Option("--command", help="Print the hrm-sweep train line that trains it.")] = False,
    official: Annotated[
        bool, typer.Option("--official", help="Print the pretrain.py line of the reference implementation.")
    ] = False,
    trial: Annotated[int | None, _TRIAL_OPTION] = None,
    storage: Annotated[str | None, STORAGE_OPTION] = None,
) -> None:
    """Print the best configuration of a study; of one with several goals, its front.

    --yaml and --command give exactly the configuration that was trained; on a CPU the last digits also depend on the
    number of threads, which --command says on standard error. --official names the puzzle folder by its full path, for
    it is typed in the folder of the reference; what the reference does not have is said on standard error.

    Several goals have no single best trial, so these three then need --trial, with a number from the front.

    Example: hrm-sweep best quickstart --yaml > best.yaml
    """
    from hrm_sweep.config import config_text
    from hrm_sweep.errors import UsageError
    from hrm_sweep.sweep.best import only_one_of

    if as_yaml + command + official > 1:
        raise UsageError("best: --yaml, --command and --official exclude each other; ask for one of them")
    opened = _opened(study, storage)
    if opened.space.objective.beside and trial is None and not (as_yaml or command or official):
        for line in _front(opened):
            typer.echo(line)
        return
    found = only_one_of(opened, trial)
    if as_yaml:
        typer.echo(config_text(found.config), nl=False)
    elif command:
        from hrm_sweep.config.spelling import train_command
        from hrm_sweep.report.study_report import plural
        from hrm_sweep.runs import read_environment

        typer.echo(train_command(found.config))
        environment = read_environment(found.directory.environment)
        if environment is not None and environment.device == "cpu":
            of, same = plural(environment.threads, "thread"), f"OMP_NUM_THREADS={environment.threads}"
            typer.echo(f"note: it was trained with {of}; {same} before it comes closest to its numbers", err=True)
    elif official:
        from hrm_sweep.config.reference import not_official, official_command
        from hrm_sweep.data.resolve import data_folder

        typer.echo(official_command(found.config, data_folder(found.config).absolute()))
        for line in not_official(found.config):
            typer.echo(f"note: {line}", err=True)
    else:
        for line in _said(opened, found, trial):
            typer.echo(line)


def export(
    study: Annotated[str, typer.Argument(help="Name of a study.")],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet, or is empty.")],
    trial: Annotated[int | None, _TRIAL_OPTION] = None,
    storage: Annotated[str | None, STORAGE_OPTION] = None,
) -> None:
    """Write the best trial of a study as a run directory that the reference's own evaluation reads.

    all_config.yaml and step_N, its weights at its best evaluation. The puzzle folder is named by its full path.

    Example: hrm-sweep export quickstart checkpoints/quickstart
    """
    from hrm_sweep.config.reference import not_official
    from hrm_sweep.data.resolve import data_folder
    from hrm_sweep.errors import StudyError
    from hrm_sweep.evaluation.export import export_checkpoint, require_free
    from hrm_sweep.sweep.best import only_one_of

    require_free(target)
    found = only_one_of(_opened(study, storage), trial)
    checkpoint = found.directory.best_checkpoint
    if not checkpoint.is_file():
        raise StudyError(
            f"{checkpoint}: not there, so the weights of trial {found.trial} are not here; was it cleaned away, or "
            "did the trial run elsewhere?"
        )
    weights = export_checkpoint(checkpoint, found.config, data_folder(found.config).absolute(), target)
    typer.echo(f"trial {found.trial}: {weights.parent / 'all_config.yaml'}, {weights}")
    for line in not_official(found.config):
        typer.echo(f"note: {line}", err=True)
    typer.echo(f"evaluate it with: {shlex.join(['python', 'evaluate.py', f'checkpoint={weights.absolute()}'])}")
    typer.echo(f"next: {shlex.join(['hrm-sweep', 'diagnose', str(target)])}")


def _opened(study: str, storage: str | None) -> Study:
    from hrm_sweep.sweep.storage import quiet_optuna
    from hrm_sweep.sweep.study import open_study

    quiet_optuna()
    return open_study(storage_url(storage), study)


def _front(study: Study) -> Iterator[str]:
    """The front as a table, what its confirmation found, and how one of it is taken."""
    from hrm_sweep.errors import StudyError
    from hrm_sweep.report.terminal import front_lines
    from hrm_sweep.sweep.best import why_no_best
    from hrm_sweep.sweep.view import study_view

    view = study_view(study, 0.0)
    if not view.front:
        raise StudyError(f"{study.name}: {why_no_best(study)}")
    yield from front_lines(view)
    yield from _confirmed(study)
    yield from _next_to_confirm(study)
    for option, what in _OPTIONS:
        yield f"next: {study_command(study, 'best', study.name, '--trial', str(view.front[0]), option)}  # {what}"


def _said(study: Study, found: Best, trial: int | None) -> Iterator[str]:
    from hrm_sweep.config.spelling import spelled_override
    from hrm_sweep.evaluation.share import Share, is_share
    from hrm_sweep.report.goals import goal_text

    if study.space.confirm is not None and trial is None:
        from hrm_sweep.report.confirmation_sections import confirmation_words
        from hrm_sweep.sweep.confirm.results import confirmation_report

        of = study.space.confirm.of
        yield f"{study.name} confirms {of}. {next(confirmation_words(confirmation_report(study)))}"
        yield f"next: {study_command(study, 'best', of)}  # the configurations, with both scores"
        yield "What follows is the highest of its runs, which is the luckiest seed:"
    metric = study.space.objective.metric
    score = f"{found.value:.4g}"
    if found.puzzles is not None and is_share(metric):
        score = str(Share(found.value, found.puzzles))
    yield f"{study.name}: trial {found.trial}, {metric} {score} on the puzzles it was selected by"
    for goal, value in zip(study.space.objective.beside, found.goals[1:], strict=True):
        yield f"  {goal.metric} {goal_text(goal.metric, value)}"
    if found.holdout is not None:
        unseen = Share(found.holdout.exact_accuracy, found.holdout.n)
        yield f"on puzzles that selection never saw: {unseen}"
    yield from _confirmed(study)
    yield "  " + " ".join(spelled_override(key, value) for key, value in found.values.items())
    yield f"  {found.directory.config.as_posix()}"
    yield from _next_to_confirm(study)
    chosen = [] if trial is None else ["--trial", str(trial)]
    for option, what in _OPTIONS:
        yield f"next: {study_command(study, 'best', study.name, *chosen, option)}  # {what}"


def _confirmed(study: Study) -> Iterator[str]:
    """Both scores of each candidate, where the study was confirmed."""
    from hrm_sweep.sweep.confirm.kept import known_confirmation

    confirmed = known_confirmation(study)
    if confirmed is not None:
        yield from confirmed.lines()


def _next_to_confirm(study: Study) -> Iterator[str]:
    from hrm_sweep.cli.next_steps import confirm_step

    for command, why in confirm_step(study):
        yield f"next: {command}  # {why}"
