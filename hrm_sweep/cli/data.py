"""`hrm-sweep data`: build, show and check puzzle folders."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.output import hint, is_quiet, output_console

if TYPE_CHECKING:
    from hrm_sweep.data import FolderFinding

data_app = typer.Typer(
    name="data", help="Build, show and check puzzle folders, the data that models are trained on.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A puzzle folder.")]


@data_app.command()
def sudoku(
    output_dir: Annotated[Path, typer.Option("--output-dir", metavar="DIR", help="The folder to build.")],
    size: Annotated[int, typer.Option(help="4, 6 (boxes of 2 rows by 3 columns) or 9.")] = 9,
    csv: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="TRAIN TEST", help="Take puzzles from two files with source,question,answer,rating."),
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Take puzzles from the Hugging Face hub: sapientinc/sudoku-extreme."),
    ] = None,
    subsample_size: Annotated[
        int | None, typer.Option(min=1, help="Training puzzles. Generator: 1000; otherwise all of the source.")
    ] = None,
    test_size: Annotated[
        int | None, typer.Option(min=1, help="Test puzzles of the generator: a fifth of the training puzzles.")
    ] = None,
    num_aug: Annotated[int, typer.Option(min=0, help="Symmetric copies of each training puzzle.")] = 0,
    min_blanks: Annotated[int | None, typer.Option(min=0, help="Only puzzles with so many blanks or more.")] = None,
    max_blanks: Annotated[int | None, typer.Option(min=0, help="Only puzzles with so many blanks or fewer.")] = None,
    min_difficulty: Annotated[
        int | None, typer.Option(min=0, help="Only puzzles of this rating or more: values tried to solve them.")
    ] = None,
    max_difficulty: Annotated[int | None, typer.Option(min=0, help="Only puzzles of this rating or less.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of generator, subsample and copies.")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace other puzzles that were built in DIR before.")
    ] = False,
) -> None:
    """Build a folder of sudoku: generated (where no source is named), from CSV files, or from the Hugging Face hub.

    The test split is never copied symmetrically nor subsampled.

    Example: hrm-sweep data sudoku --output-dir data/easy --size 4 --max-blanks 6
    """
    from hrm_sweep.config import config_from_mapping  # everything here: --help must not load numpy
    from hrm_sweep.data import build_folder
    from hrm_sweep.errors import ConfigError, UsageError

    if csv is not None and hub is not None:
        raise UsageError("--csv and --hub are both given: puzzles come from one source")
    asked = {
        "source": "csv" if csv is not None else "hub" if hub is not None else "generator",
        "size": size,
        "csv": None if csv is None else [str(path) for path in csv],
        "hub": hub,
        "subsample_size": subsample_size,
        "test_size": test_size,
        "num_aug": num_aug,
        "min_blanks": min_blanks,
        "max_blanks": max_blanks,
        "min_difficulty": min_difficulty,
        "max_difficulty": max_difficulty,
        "seed": seed,
    }
    console = output_console(soft_wrap=True)
    try:
        request = config_from_mapping({"data": asked}, "data sudoku").data
        assert request is not None
        with output_console(quiet=is_quiet()).status("building") as status:
            built = build_folder(
                request,
                output_dir,
                progress=lambda made, wanted: status.update(f"generated {made} of {wanted} puzzles"),
                replace=replace,
            )
    except ConfigError as error:
        raise UsageError(_with_options(str(error))) from None
    copies = (
        f", with their symmetric copies {built.train_rows:,} rows" if built.train_rows > built.train_puzzles else ""
    )
    console.print(f"{built.path}: {'already holds' if built.reused else 'built'} this data", markup=False)
    console.print(f"train  {built.train_puzzles:,} puzzles{copies}")
    console.print(f"test   {built.test_puzzles:,} puzzles")
    if built.shared_puzzles:
        console.print(
            f"[yellow]warning[/yellow]: {built.shared_puzzles:,} training puzzles stand in the test split too; "
            "accuracy on them says nothing about new puzzles"
        )
    preset = "hrm_v1" if size == 9 else "hrm_v1_tiny"
    hint(f"next: hrm-sweep train {preset} {shlex.quote(f'data_path={built.path.as_posix()}')}")


def _with_options(message: str) -> str:
    """What is wrong with a `data` block, in the words of the command line: `data.max_blanks` is `--max-blanks`."""
    told = "\n".join(re.sub(r"^(data sudoku: )?data[.:] ?", "", line) for line in message.splitlines())
    keys = r"^size\b|\b(min|max)_(blanks|difficulty)\b|\btest_size\b"
    return re.sub(keys, lambda key: f"--{key[0].replace('_', '-')}", told, flags=re.MULTILINE)


@data_app.command()
def show(
    folder: Folder,
    split: Annotated[str, typer.Option(help="train or test: where the puzzles shown come from.")] = "train",
    puzzles: Annotated[int, typer.Option(min=0, help="How many puzzles to draw.")] = 2,
) -> None:
    """Show what a puzzle folder holds, and a few of its puzzles, of any task.

    Example: hrm-sweep data show data/easy --split test --puzzles 4
    """
    from hrm_sweep.cli.puzzle_view import drawings, facts
    from hrm_sweep.data import open_folder
    from hrm_sweep.errors import UsageError

    if split not in ("train", "test"):
        raise UsageError(f"--split {split}: expected train or test")
    opened = open_folder(folder)
    shown = opened.train if split == "train" else opened.test
    console = output_console(soft_wrap=True)
    console.print(facts(opened))
    for drawing in drawings(shown, puzzles, opened.identifiers):
        console.print(drawing)


@data_app.command()
def check(
    folder: Folder, as_json: Annotated[bool, typer.Option("--json", help="Print a list of JSON objects.")] = False
) -> None:
    """Examine a puzzle folder that somebody else made, of any task, and list all that is wrong with it.

    Exit code: 0 nothing wrong, or warnings only; 1 errors; 2 not a folder.

    Example: hrm-sweep data check data/maze-30x30-hard-1k
    """
    from hrm_sweep.data import Level, check_folder

    findings = check_folder(folder)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    console = output_console(soft_wrap=True)
    if as_json:
        print(json.dumps([{"level": str(f.level), "file": f.file, "message": f.message} for f in findings], indent=1))
        sys.exit(1 if errors else 0)
    for finding in findings:
        console.print(_line(finding))
    if not findings:
        console.print(f"{folder}: nothing wrong", markup=False)
    else:
        console.print(f"{folder}: {errors} errors, {len(findings) - errors} warnings", markup=False)
    if errors:
        sys.exit(1)


def _line(finding: FolderFinding) -> str:
    from rich.markup import escape

    colour = {"error": "red", "warning": "yellow"}[finding.level]
    return f"[{colour}]{finding.level:8}[/{colour}]{escape(finding.file)}: {escape(finding.message)}"
