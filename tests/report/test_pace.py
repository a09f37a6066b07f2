"""Time left: measured or not said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.report.pace import Pace, TimeLeft, span
from hrm_sweep.runs import MetricRow


def run(
    epochs: int, interval: int, *, epoch_s: float, evaluation_s: float, rows_per_interval: int = 4
) -> Iterator[MetricRow]:
    """The rows of a run of constant speed."""
    time_s = 0.0
    for evaluated in range(0, epochs, interval):
        for row in range(1, rows_per_interval + 1):
            time_s += epoch_s * interval / rows_per_interval
            yield MetricRow("train", 0, evaluated + interval * row / rows_per_interval, time_s)
        time_s += evaluation_s
        yield MetricRow("eval", 0, float(evaluated + interval), time_s)


def test_nothing_is_said_before_a_speed_was_measured() -> None:
    pace = Pace(40, 10)
    assert pace.left() is None
    pace.add(MetricRow("train", 5, 1.0, 60.0))  # the time before the first row was spent on starting
    assert pace.left() is None
    pace.add(MetricRow("train", 10, 2.0, 61.0))
    assert pace.left() == TimeLeft(38.0, at_least=True)


@given(
    epoch_s=st.floats(0.01, 100),
    evaluation_s=st.floats(0, 1000),
    intervals=st.integers(2, 12),
    interval=st.integers(1, 50),
)
def test_at_constant_speed_the_time_left_is_exact_once_an_evaluation_was_seen(
    epoch_s: float, evaluation_s: float, intervals: int, interval: int
) -> None:
    rows = list(run(intervals * interval, interval, epoch_s=epoch_s, evaluation_s=evaluation_s))
    pace = Pace(intervals * interval, interval)
    for row in rows:
        pace.add(row)
        left = pace.left()
        if left is not None and not left.at_least:
            assert left.seconds == pytest.approx(rows[-1].time_s - row.time_s, rel=1e-6, abs=1e-6 * rows[-1].time_s)
        elif left is not None:
            assert left.seconds <= rows[-1].time_s - row.time_s + 1e-6 * rows[-1].time_s
    assert pace.left() == TimeLeft(0.0, at_least=False)


def test_rows_that_a_resume_trains_again_do_not_go_back_in_time() -> None:
    pace = Pace(10, 10)
    for epoch, time_s in ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (2.0, 2.0), (3.0, 3.0)):
        pace.add(MetricRow("train", 0, epoch, time_s))
    left = pace.left()
    assert left is not None
    assert left.seconds == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (99, "99 s"), (101, "2 min"), (6001, "1.7 h"), (200_000, "2.3 days")]
)
def test_times_are_for_people(seconds: float, said: str) -> None:
    assert span(seconds) == said
