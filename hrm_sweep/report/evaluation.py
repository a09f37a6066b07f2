"""A checkpoint's evaluation, in the terminal, as a page and as JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from hrm_sweep.evaluation.mistakes import NEARLY_RIGHT_CELLS, Kind
from hrm_sweep.evaluation.scaling import Halting, Scaling, Speed
from hrm_sweep.evaluation.share import Share, mcnemar
from hrm_sweep.report.figures_html import Figure, figures
from hrm_sweep.report.html import Html, element, page
from hrm_sweep.report.section import Cell, Grid
from hrm_sweep.report.study_report import plural
from hrm_sweep.report.svg import Area, Chart, Line, line_chart
from hrm_sweep.report.tables_html import table
from hrm_sweep.report.tables_text import terminal_table

SCHEMA_VERSION = 1
_SURE = 0.05


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated on what, and what came out.

    subset  of the `test_puzzles` puzzles of `data`, from which those evaluated are taken; None: all of them.
    chosen  a sentence on whether the checkpoint was chosen by them.
    trained_steps  halt_max_steps in training.
    """

    checkpoint: Path
    data: Path
    test_puzzles: int
    subset: str | None
    chosen: str
    trained_steps: int
    scaling: Scaling

    @property
    def told(self) -> list[str]:
        """What it is about, a line each."""
        subset = "all" if self.subset is None else f"the {self.subset} subset of the"
        return [
            str(self.checkpoint),
            f"{self.scaling.puzzles:,} puzzles, evenly spaced over {subset} {self.test_puzzles:,} test puzzles of "
            f"{self.data}: {self.chosen}",
            f"trained with up to {self.trained_steps} ACT steps (halt_max_steps); {self.scaling.device}, "
            f"{self.scaling.rows_at_once} puzzles at once",
        ]


@contextlib.contextmanager
def solving_bar(puzzles: int, console: Console) -> Iterator[Callable[[int], None]]:
    """A progress bar in a terminal, nothing elsewhere; yields what hears how many more puzzles were solved."""
    if not console.is_terminal or console.is_dumb_terminal or console.quiet:
        yield lambda solved: None
        return
    columns = (TextColumn("puzzles"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=puzzles)
        yield lambda solved: progress.update(task, advance=solved)


# Tables and sentences, for terminal and page --------------------------------------------------------------------------


def _parts(evaluation: Evaluation) -> Iterator[tuple[str, Grid | None, list[str]]]:
    """(title, table, sentences) of each part, in the order in which they are read."""
    found = evaluation.scaling
    yield "Puzzles solved, by ACT steps", _by_steps(found), _steps_in_words(evaluation)
    if found.halting is not None:
        yield "Speed", _speed(found), _speed_in_words(found.halting, found.steps[-1])
        yield f"Halting against {found.steps[-1]} steps for all", _agreement(found), _agreement_in_words(found)
    longest = found.steps[-1]
    by_rating = found.by_rating(longest)
    if not by_rating:
        yield _BY_RATING, None, ["The folder carries no ratings, and none can be computed: the puzzles are no sudoku."]
    else:
        grid = Grid(("rating", "puzzles", *map(str, found.steps), "95 % interval"), _rating_rows(found))
        words = ["The folder carries no ratings. These are computed: candidate values that a solver has to try."]
        if len(by_rating) == 1:
            words.append("All puzzles are of one group, so there is nothing to compare.")
        words.append(f"The interval is that of {longest} steps.")
        yield _BY_RATING, grid, words
    yield "What became of them, by ACT steps", _mistakes(found), _mistakes_in_words(found)


_BY_RATING = "Puzzles solved, by rating and ACT steps"


def _by_steps(found: Scaling) -> Grid:
    halting = ("halting", "steps") if found.halting is not None else ()
    headings = ("ACT steps", "solved", "95 % interval", "cells right", "95 % interval", *halting)
    return Grid(headings, [tuple(_step_row(found, number)) for number in found.steps])


def _step_row(found: Scaling, steps: int) -> Iterator[Cell]:
    yield Cell(str(steps), steps)
    for share in (found.exact(steps), found.right_cells(steps)):
        yield Cell(f"{share.share:.1%}", share.share)
        yield Cell(_interval(share), share.interval[0])
    if found.halting is not None:
        exact, mean = found.exact_when_halting(steps), float(found.halts_after(steps).mean())
        yield Cell(f"{exact.share:.1%}", exact.share)
        yield Cell(f"{mean:.2f}", mean)


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{100 * low:.1f} to {high:.1%}"


def _steps_in_words(evaluation: Evaluation) -> list[str]:
    found = evaluation.scaling
    words = list(_against_training(found, evaluation.trained_steps))
    if found.halting is not None:
        words.append(
            "Halting: puzzles solved, and mean steps, when each stops at the first step at which q_halt > q_continue, "
            "at the latest after the number of the row."
        )
        if evaluation.trained_steps == 1:
            words.append("Trained with one ACT step, it never learned when to halt: what halting does means nothing.")
    return words


def _against_training(found: Scaling, trained: int) -> Iterator[str]:
    """The best other number of steps against that of training, puzzle by puzzle."""
    others = [number for number in found.steps if number != trained]
    if trained > found.steps[-1] or not others:
        return
    best = max(others, key=lambda number: int(found.solved[:, number - 1].sum()))
    before, after = found.solved[:, trained - 1], found.solved[:, best - 1]
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    p = min(1.0, len(others) * mcnemar(won, lost))
    test = "McNemar's test" + (f", corrected for {len(others)} comparisons" if len(others) > 1 else "")
    if won > lost and p <= _SURE:
        yield (
            f"Best with {plural(best, 'ACT step')}: that solves {won:,} puzzles that the {trained} of training do not, "
            f"and misses {lost:,} that they solve; chance does not explain it ({test}: p {p:.2g})."
        )
    else:
        yield f"No other number of steps is known to solve more than the {trained} of training ({test})."


def _speed(found: Scaling) -> Grid:
    assert found.halting is not None
    rows = [(f"{found.steps[-1]} steps for all", found.speed), ("halting, slots refilled", found.halting.speed)]
    return Grid(("", "ACT steps a puzzle", "puzzles a second", "seconds"), [_speed_row(*row) for row in rows])


def _speed_in_words(halting: Halting, limit: int) -> list[str]:
    if limit == 1 or halting.steps.min() < limit:
        return []
    return [f"No puzzle halted before the limit of {limit} steps: halting saves nothing with this checkpoint."]


def _speed_row(name: str, speed: Speed) -> tuple[Cell, ...]:
    return (
        Cell(name),
        Cell(f"{speed.act_steps:.2f}", speed.act_steps),
        Cell(f"{speed.puzzles_per_second:,.4g}", speed.puzzles_per_second),
        Cell(f"{speed.seconds:.2f}", speed.seconds),
    )


def _agreement(found: Scaling) -> Grid:
    counts = found.agreement
    assert counts is not None
    rows = (
        ("solved by both", counts.both),
        (f"solved only with {found.steps[-1]} steps", counts.only_all_steps),
        ("solved only with halting", counts.only_halting),
        ("solved by neither", counts.neither),
    )
    return Grid(("", "puzzles", "share"), [_count_row(name, count, counts.puzzles) for name, count in rows])


def _agreement_in_words(found: Scaling) -> list[str]:
    counts = found.agreement
    assert counts is not None
    return [f"Answered equally, cell by cell: {Share(counts.same / counts.puzzles, counts.puzzles)}."]


def _rating_rows(found: Scaling) -> list[tuple[Cell, ...]]:
    by_steps = [found.by_rating(number) for number in found.steps]
    rows = []
    for group, last in by_steps[-1].items():
        shares = [each[group].share for each in by_steps]
        solved = (Cell(f"{share:.1%}", share) for share in shares)
        rows.append((Cell(str(group), group.low), Cell(f"{last.n:,}", last.n), *solved, Cell(_interval(last))))
    return rows


def _count_row(name: str, count: int, puzzles: int) -> tuple[Cell, ...]:
    return Cell(name), Cell(f"{count:,}", count), Cell(f"{count / puzzles:.1%}", count / puzzles)


_TOLD = {
    Kind.SOLVED: "solved",
    Kind.GIVEN_OVERWRITTEN: "given cell overwritten",
    Kind.NEARLY_RIGHT: f"1 to {NEARLY_RIGHT_CELLS} cells wrong",
    Kind.RULES_BROKEN: "rules broken",
    Kind.OTHER: "other",
}


def _mistakes(found: Scaling) -> Grid:
    by_steps = [found.mistakes(number) for number in found.steps]
    kinds = [kind for kind in Kind if any(counts[kind] for counts in by_steps)]
    rows = [(Cell(_TOLD[kind]), *(Cell(f"{counts[kind]:,}", counts[kind]) for counts in by_steps)) for kind in kinds]
    return Grid(("puzzles", *map(str, found.steps)), rows)


def _mistakes_in_words(found: Scaling) -> list[str]:
    if found.ratings is None:
        return ["Each puzzle counts once. What is given, and what breaks a rule, is known of sudoku only."]
    return ["Each puzzle counts once, for the first that fits, from the top."]


# The terminal ---------------------------------------------------------------------------------------------------------


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    for line in evaluation.told:
        console.print(Text(line), soft_wrap=True)
    for title, grid, sentences in _parts(evaluation):
        console.print(Text(f"\n{title}", style="bold"))
        if grid is not None:
            console.print(Padding(terminal_table(grid), (0, 0, 0, 2), expand=False))
        for sentence in sentences:
            console.print(Padding(Text(sentence), (0, 0, 0, 2), expand=False))


# The page -------------------------------------------------------------------------------------------------------------


def evaluation_page(evaluation: Evaluation) -> Html:
    """One self-contained page: the curve over ACT steps, and the tables."""
    title = "A checkpoint evaluated"
    told = element("div", (element("p", line, class_="path") for line in evaluation.told))
    body = element(
        "main",
        element("header", element("h1", title), told),
        element("section", element("h2", "Curve"), figures([_curve(evaluation.scaling)]), class_="part", id="curve"),
        (
            element(
                "section",
                element("h2", name),
                None if grid is None else table(grid),
                (element("p", sentence) for sentence in sentences),
                class_="part",
            )
            for name, grid, sentences in _parts(evaluation)
        ),
        element("footer", "Made by ", element("code", "hrm-sweep evaluate"), "."),
    )
    return page(f"{title} · hrm-sweep", body, styles=["study_report.css"], scripts=["sorting.js"])


def _curve(found: Scaling) -> Figure:
    longest = found.steps[-1]
    numbers = range(1, longest + 1)
    x = np.array(numbers, dtype=np.float64)
    shares = [found.exact(number) for number in numbers]
    low, high = np.array([share.interval for share in shares]).T
    lines = [Line("all with so many steps", x, np.array([share.share for share in shares]), 0)]
    if found.halting is not None:
        halting = np.array([found.exact_when_halting(number).share for number in numbers])
        lines.append(Line("each halts by itself, at most so many", x, halting, 1, dashed=True))
    title, unit = "Puzzles solved", "share, with its 95 % interval"
    areas = [Area(x, low, high, 0)]
    chart = Chart(title, unit, "ACT steps", float(longest), lines, areas, y_range=(0.0, 1.0), percent=True)
    legend = tuple((line.look, line.name) for line in lines)
    return Figure("by-steps", title, unit, line_chart(chart, "by-steps"), legend)


# JSON -----------------------------------------------------------------------------------------------------------------


def evaluation_json(evaluation: Evaluation) -> str:
    found = evaluation.scaling
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "checkpoint": str(evaluation.checkpoint),
        "data": str(evaluation.data),
        "puzzles": found.puzzles,
        "test_puzzles": evaluation.test_puzzles,
        "subset": evaluation.subset or "all",
        "halt_max_steps": evaluation.trained_steps,
        "device": found.device,
        "rows_at_once": found.rows_at_once,
        "by_steps": [_step_mapping(found, number) for number in found.steps],
        "speed": _speed_mapping(found.speed),
        "halting": None,
    }
    if found.halting is not None and found.agreement is not None:
        content["halting"] = {
            "limit": found.steps[-1],
            "exact_accuracy": Share(float(found.halting.solved.mean()), found.puzzles).to_mapping(),
            "speed": _speed_mapping(found.halting.speed),
            "steps_histogram": np.bincount(found.halting.steps, minlength=found.steps[-1] + 1)[1:].tolist(),
            "agreement": asdict(found.agreement),
        }
    return json.dumps(content, indent=1, allow_nan=False)


def _step_mapping(found: Scaling, steps: int) -> dict[str, Any]:
    ratings = None
    if found.ratings is not None:
        ratings = [
            {"low": group.low, "high": group.high, **share.to_mapping()}
            for group, share in found.by_rating(steps).items()
        ]
    return {
        "steps": steps,
        "exact_accuracy": found.exact(steps).to_mapping(),
        "accuracy": found.right_cells(steps).to_mapping(),
        "when_halting": {
            "exact_accuracy": found.exact_when_halting(steps).to_mapping(),
            "act_steps": float(found.halts_after(steps).mean()),
        },
        "by_rating": ratings,
        "mistakes": {kind.name.lower(): count for kind, count in found.mistakes(steps).items()},
    }


def _speed_mapping(speed: Speed) -> dict[str, float]:
    return {**asdict(speed), "puzzles_per_second": speed.puzzles_per_second}
