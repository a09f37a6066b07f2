"""`hrm-sweep plan`: what a study or a run will cost, and whether it can work, before a second of it is trained."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.complete import plannable
from hrm_sweep.cli.output import is_quiet, output_console

if TYPE_CHECKING:
    from collections.abc import Callable

    from hrm_sweep.planning.calibration import Calibrate
    from hrm_sweep.planning.study_plan import StudyPlan


def plan(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPACE_OR_CONFIG] [key=value ...]",
            help="A search space, or what `train` takes (default: quickstart), and what to change in it.",
            autocompletion=plannable,
        ),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(min=0, help="Say how many trials, or such runs, so many hours buy.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trials at once (default: what the space says).")] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Measure the speed of this machine anew, or never (default: where it is not known yet).",
        ),
    ] = None,
    as_preset: Annotated[
        bool, typer.Option("--preset", help="Plan the preset of this name, also where a search space has it too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; progress goes to standard error.")
    ] = False,
) -> None:
    """Say what a study or a run will cost and what is wrong with it, before it is trained.

    Nothing is written but the measured speed, which is kept in the cache directory of the user (HRM_SWEEP_CACHE names
    another), by shape of model, threads and trials at once. Data is not built: a `data` block says enough.

    Exit codes: 0, also with warnings; 2 when it cannot start, or bad input.

    Example: hrm-sweep plan sudoku_extreme_1k --hours 24

    Example: hrm-sweep plan progressive --preset stages.2.epochs=24
    """
    import json
    import math

    from hrm_sweep.errors import UsageError
    from hrm_sweep.planning.calibration import Calibrate
    from hrm_sweep.report.plan_text import (
        effects_table,
        finding_lines,
        fixed_line,
        plan_lines,
        plan_mapping,
        without_effect,
    )

    if hours is not None and not math.isfinite(hours):
        raise UsageError(f"--hours: expected a number of hours, found {hours}")
    how = {None: Calibrate.MISSING, True: Calibrate.ANEW, False: Calibrate.NEVER}[calibrate]
    progress = output_console(stderr=True, quiet=is_quiet())
    words = list(arguments or [])
    made = _planned(words, jobs, how, lambda line: progress.print(line, style="dim"), as_preset=as_preset)
    if as_json:
        print(json.dumps(plan_mapping(made, hours), indent=1))
        return
    console = output_console()
    for line in plan_lines(made, hours, _measuring(words, as_preset=as_preset)):
        console.print(line)
    table = effects_table(made.effects)
    if table is not None:
        console.print("\nagainst the base, all else equal, a run costs")
        console.print(table)
    for told in (without_effect(made), fixed_line(made)):
        if told is not None:
            console.print(told, markup=False)
    console.print()
    for line in finding_lines(made):
        console.print(line)


def _measuring(words: list[str], *, as_preset: bool) -> str:
    return shlex.join(["hrm-sweep", "plan", *(["--preset"] if as_preset else []), *words])


def _planned(
    words: list[str], jobs: int | None, how: Calibrate, say: Callable[[str], None], *, as_preset: bool
) -> StudyPlan:
    """The plan of what the first word names: a search space where it is one, unless a preset is asked for; otherwise a
    configuration."""
    from hrm_sweep.config import load_config, parse_overrides, preset_names
    from hrm_sweep.errors import SpaceError, UsageError
    from hrm_sweep.sweep.resources import Share, available_cores, visible_gpus
    from hrm_sweep.sweep.space import DEFAULT_SPACE, is_space
    from hrm_sweep.sweep.space_plan import plan_one

    rest = list(words)
    source = rest.pop(0) if rest and "=" not in rest[0] else DEFAULT_SPACE
    if stray := [word for word in rest if "=" not in word]:
        raise UsageError(f"{stray[0]!r}: expected key=value after the search space or file, for example epochs=60")
    is_preset = source in preset_names()
    if as_preset and not is_preset:
        raise UsageError(f"--preset: expected a preset ({', '.join(preset_names())}), found {source}")
    if as_preset or not is_space(source):
        config = load_config(source, parse_overrides(rest))
        devices = visible_gpus() if config.device in ("auto", "cuda") else ()
        return plan_one(source, config, Share(1, available_cores(), devices), how, say)
    try:
        return _planned_space(source, rest, jobs, how, say)
    except SpaceError as error:
        hint = f"\n{source} is a preset too: --preset plans that, instead of the search space" if is_preset else ""
        raise SpaceError(f"{error}{hint}") from None


def _planned_space(
    source: str, changes: list[str], jobs: int | None, how: Calibrate, say: Callable[[str], None]
) -> StudyPlan:
    """The plan of a search space with these `key=value` on top."""
    from hrm_sweep.config import parse_overrides
    from hrm_sweep.sweep.jobs import measured_share
    from hrm_sweep.sweep.resources import share_out
    from hrm_sweep.sweep.space import load_space, space_from_mapping
    from hrm_sweep.sweep.space_lint import lint_space
    from hrm_sweep.sweep.space_plan import plan_space
    from hrm_sweep.sweep.storage import chosen_storage
    from hrm_sweep.sweep.transfer import with_points_of

    space = load_space(source)
    overrides = parse_overrides(changes)
    if overrides:
        changed = space.with_overrides(overrides).model_dump(mode="json")
        space = space_from_mapping(changed, f"{source} with {shlex.join(changes)}")
    if jobs is not None:
        space = space.model_copy(update={"resources": space.resources.model_copy(update={"jobs": jobs})})
    if space.first_from is not None:
        space, _ = with_points_of(space, chosen_storage(None), None)
    report = lint_space(space, source, build=False)
    share = share_out(space.resources, [one.config for one in report.combinations])
    share = measured_share(space, report, share, how, say)
    return plan_space(space, report, share, how, say)
