"""A study in the terminal: the table, the lines and the summary."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from hrm_sweep.report.live_table import LiveTable
from hrm_sweep.report.pace import TimeLeft
from hrm_sweep.report.sparkline import sparkline
from hrm_sweep.report.terminal import (
    StudyView,
    Summary,
    TrialLine,
    plain_line,
    spelled,
    summary_lines,
)

VALUES = {"lr": 0.00123456, "arch.H_cycles": 2}


def line(number: int, state: str, **changes: Any) -> TrialLine:
    return TrialLine(number, state, VALUES, **changes)


def view(*trials: TrialLine, **changes: Any) -> StudyView:
    given_values: dict[str, Any] = {"metric": "exact_accuracy", "maximize": True, "ended": 2, "budget": 8}
    return StudyView(name="mine", running_s=75, trials=trials, **{**given_values, **changes})


def drawn(study: StudyView, height: int = 24, width: int = 160) -> list[str]:
    """The lines of the table in a terminal of this size."""
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(LiveTable(study))
    *lines, cursor = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert cursor.strip() == ""
    return lines


def test_values_are_spelled_as_one_would_type_them() -> None:
    assert spelled(VALUES) == "lr=0.00123 arch.H_cycles=2"
    assert spelled(VALUES, short=True) == "lr=0.00123 H_cycles=2"


def test_the_table_shows_what_runs_what_ended_and_who_leads() -> None:
    head, _, *rows = drawn(
        view(
            line(0, "complete", epoch=60, epochs=60, latest=0.5, best=0.6),
            line(1, "running", epoch=20, epochs=60, latest=0.1, best=0.2),
            line(2, "pruned", epoch=20, epochs=60, latest=0.0, best=0.0, said="zero_accuracy at epoch 20"),
        )
    )
    assert head == "mine  2 of 8 trials, 75 s, best exact_accuracy 0.600 (trial 0)"
    assert rows[0].split()[:5] == ["0", "complete", "60/60", "0.500", "0.600"]
    assert "lr=0.00123 H_cycles=2" in rows[1]
    assert rows[2].split()[1] == "pruned"
    assert "zero_accuracy at epoch 20" in rows[2]


def test_a_long_study_shows_the_running_the_last_and_the_best() -> None:
    ended = [line(n, "complete", best=1.0 if n == 3 else 0.1) for n in range(50)]
    rows = drawn(view(*ended, line(50, "running"), line(51, "running")), height=11)[2:]
    assert [int(row.split()[0]) for row in rows] == [3, 47, 48, 49, 50, 51]


def test_where_more_run_than_fit_it_is_said_how_many() -> None:
    rows = drawn(view(*[line(n, "running") for n in range(30)]), height=11)
    assert [int(row.split()[0]) for row in rows[2:-1]] == [24, 25, 26, 27, 28, 29]
    assert rows[-1].strip() == "and 24 more running"


def test_curves_share_one_scale_and_end_with_the_latest_value() -> None:
    one = line(0, "complete", curve=(0.0, 0.5, 1.0))
    two = line(1, "running", curve=(0.0, math.nan, 0.25), left=TimeLeft(130.0, at_least=True))
    _, _, first, second = drawn(view(one, two), width=80)
    assert "▁▅█" in first
    assert "▁ ▃" in second
    assert "> 2 min" in second


def test_a_terminal_without_unicode_gets_a_curve_too() -> None:
    assert sparkline([0.0, 0.5, 1.0], 0.0, 1.0, 10, plain=True) == ".+@"


@given(values=st.lists(st.floats(-1e9, 1e9) | st.just(math.nan), max_size=60), width=st.integers(1, 40))
def test_a_curve_is_as_long_as_there_are_values_and_never_longer_than_its_column(
    values: list[float], width: int
) -> None:
    finite = [value for value in values if math.isfinite(value)]
    drawn_curve = sparkline(values, min(finite, default=0.0), max(finite, default=0.0), width)
    assert len(drawn_curve) == min(len(values), width)
    assert [mark == " " for mark in drawn_curve][-1:] == [math.isnan(value) for value in values][-1:]


TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=300)
TRIALS = st.lists(
    st.builds(
        TrialLine,
        number=st.integers(0, 99_999),
        state=st.sampled_from(["running", "complete", "pruned", "failed", "to be retried", "retried"]),
        values=st.dictionaries(TEXTS, st.floats() | TEXTS, max_size=5),
        epoch=st.none() | st.integers(0, 20_000),
        epochs=st.none() | st.integers(1, 20_000),
        latest=st.none() | st.floats(-1e6, 1e6),
        best=st.none() | st.floats(-1e6, 1e6),
        said=TEXTS,
        curve=st.lists(st.floats(allow_nan=True, width=32), max_size=30),
        left=st.none() | st.builds(TimeLeft, st.floats(0, 1e8), at_least=st.booleans()),
    ),
    max_size=60,
)


@given(
    trials=TRIALS,
    width=st.integers(60, 220),
    height=st.integers(8, 60),
    left=st.none() | st.just((60.0, 3600.0, 1e6)),
)
@settings(max_examples=60)
def test_the_table_fits_any_terminal(
    trials: list[TrialLine], width: int, height: int, left: tuple[float, float, float] | None
) -> None:
    lines = drawn(view(*trials, left_s=left), height=height, width=width)
    assert len(lines) < height  # the cursor stands below
    assert max(cell_len(text) for text in lines) <= width


def test_the_time_left_of_the_study_is_a_range_or_nothing() -> None:
    study = view(line(0, "running"))
    assert "left" not in drawn(study)[0] + drawn(study)[1].replace("left", "", 1)  # the column of that name
    told = drawn(view(line(0, "running"), left_s=(300.0, 720.0, 1500.0)))[1]
    assert told.strip() == "about 12 min left (5 min to 25 min), at the rate of the last trials"


@pytest.mark.parametrize(("maximize", "best"), [(True, 1), (False, 0)])
def test_the_best_is_the_best_for_the_goal(maximize: bool, best: int) -> None:
    leader = view(line(0, "complete", best=0.1), line(1, "complete", best=0.9), maximize=maximize).best
    assert leader is not None
    assert leader.number == best


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (line(3, "running"), "trial 3: running, lr=0.00123 arch.H_cycles=2"),
        (line(3, "complete", best=0.25), "trial 3: complete, exact_accuracy 0.250"),
        (line(3, "failed", said="nan: non-finite at step 3"), "trial 3: failed, nan: non-finite at step 3"),
    ],
)
def test_without_a_terminal_each_change_is_a_line(trial: TrialLine, said: str) -> None:
    assert plain_line(trial, "exact_accuracy") == said


def test_the_summary_says_what_is_best_what_it_is_worth_and_what_to_type_next() -> None:
    said = list(
        summary_lines(
            Summary(
                view=view(
                    line(0, "complete", best=0.6),
                    line(1, "pruned", said="zero_accuracy at epoch 20: no puzzle solved"),
                    line(2, "retried"),
                    line(3, "failed", said="oom: out of [memory]"),
                    line(4, "to be retried", said="preempted: the study was asked to stop"),
                ),
                best_config="trials/mine/0000/config.yaml",
                unseen=(0.5, 100),
                unseen_problem=None,
                importances={"arch.H_cycles": 0.25, "lr": 0.75},
                importances_of=5,
                next_commands=[("hrm-sweep dashboard", "all trials in the browser")],
            )
        )
    )
    assert said == [
        "",
        "[bold]mine[/bold]: 1 complete, 1 pruned, 1 failed, 1 to be retried, 1 retried in 75 s",
        "best: trial 0, exact_accuracy 0.600 on the puzzles it was selected by",
        "  lr=0.00123 arch.H_cycles=2",
        "  trials/mine/0000/config.yaml",
        "on puzzles that selection never saw: 50.0% solved (50 of 100; 95 % interval 40.4% to 59.6%)",
        "pruned:",
        "  trial 1  lr=0.00123 H_cycles=2  zero_accuracy at epoch 20: no puzzle solved",
        "failed:",
        "  trial 3  lr=0.00123 H_cycles=2  oom: out of \\[memory]",
        "to be retried:",
        "  trial 4  lr=0.00123 H_cycles=2  preempted: the study was asked to stop",
        "importance of the parameters (n = 5 completed trials): lr 75%, arch.H_cycles 25%",
        "  too few for more than a hint; 20 completed trials give a stable order",
        "next:",
        "  hrm-sweep dashboard  [dim]# all trials in the browser[/dim]",
    ]


def test_a_study_without_a_completed_trial_has_no_best() -> None:
    said = list(summary_lines(Summary(view(line(0, "pruned")), None, None, None)))
    assert "no trial completed, so there is no best configuration" in said
