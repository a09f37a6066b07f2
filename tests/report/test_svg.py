"""Charts: every number is drawn at a place on the page, and no extreme is lost on the way."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.report.heat_map import HeatMap, binned, heat_map
from hrm_sweep.report.scales import fitted, linear, spelled
from hrm_sweep.report.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Area,
    Chart,
    Line,
    Note,
    Silhouette,
    line_chart,
    path_data,
    thinned,
)

anything = st.floats(allow_nan=True, allow_infinity=True, width=64)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def coordinates(drawing: str) -> list[float]:
    """Every number of every coordinate attribute. Raises ValueError where one is none."""
    spelled_out = re.findall(r' (?:d|x|y|cx|cy|width|height)="([^"]*)"', drawing)
    numbers = []
    for text in spelled_out:
        left = NUMBER.sub("", text)
        if re.search(r"[a-z]{2}", left):  # nan, inf
            raise ValueError(text)
        numbers += [float(number) for number in NUMBER.findall(text)]
    return numbers


def chart(x: list[float], y: list[float], **more: object) -> Chart:
    line = Line("lm_loss", np.array(x, dtype=np.float64), np.array(y, dtype=np.float64))
    return Chart("Loss", "nats", "steps", max(x, default=1.0), [line], **more)  # type: ignore[arg-type]


@given(st.lists(anything, max_size=60), st.booleans(), anything, anything)
def test_no_value_whatever_is_drawn_outside_the_chart(
    y: list[float], log: bool, value: float, threshold: float
) -> None:
    x = [10.0 * (n + 1) for n in range(len(y))]
    note = Note(
        "1",
        "error",
        "a note",
        x=10.0,
        y=value if math.isfinite(value) else None,
        threshold=threshold if math.isfinite(threshold) else None,
    )
    area = Area(np.array(x), np.array(y, dtype=np.float64), np.array(y, dtype=np.float64))
    drawing = line_chart(chart(x, y, log=log or None, notes=[note], areas=[area]), "a")
    assert all(-WIDTH <= number <= max(WIDTH, HEIGHT) for number in coordinates(drawing))


@given(st.lists(anything, min_size=1, max_size=3000), st.integers(4, 400))
def test_thinning_keeps_the_extremes_and_invents_nothing(y: list[float], points: int) -> None:
    x, values = np.arange(len(y), dtype=np.float64), np.array(y)
    thin_x, thin_y = thinned(x, values, points)
    assert len(thin_x) <= max(points, 2 * (points // 2)) or len(y) <= points
    assert (np.diff(thin_x) > 0).all()
    kept = np.isfinite(thin_y)
    np.testing.assert_array_equal(values[thin_x[kept].astype(int)], thin_y[kept])
    finite = values[np.isfinite(values)]
    if len(finite):
        assert (thin_y[kept].min(), thin_y[kept].max()) == (finite.min(), finite.max())


def test_one_spike_in_fifty_thousand_rows_is_drawn() -> None:
    y = np.ones(50_000)
    y[31_415] = 7.0
    x, thin = thinned(np.arange(50_000.0), y)
    assert len(x) <= POINTS
    assert thin[x == 31_415] == 7.0


def test_a_long_stretch_without_values_stays_a_gap() -> None:
    y = np.ones(10_000)
    y[4_000:6_000] = np.nan
    x, thin = thinned(np.arange(10_000.0), y, 100)
    assert np.isnan(thin[(x > 4_200) & (x < 5_800)]).all()
    assert path_data(x, thin).count("M") == 2


def test_a_path_lifts_its_pen_at_a_gap_and_shows_a_lonely_point() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert path_data(x, np.array([5.0, 6.0, np.nan, 7.0])) == "M0 5L1 6M3 7h0"


def test_rows_in_any_order_are_drawn_from_left_to_right() -> None:
    x, y = thinned(np.array([30.0, 10.0, 20.0]), np.array([3.0, 1.0, 2.0]))
    assert (x.tolist(), y.tolist()) == ([10, 20, 30], [1, 2, 3])


def test_the_first_value_that_is_no_number_is_marked() -> None:
    drawing = line_chart(chart([10, 20, 30], [1, math.nan, math.inf]), "a")
    assert "lm_loss is NaN or infinite at 20, 2 value(s) in all" in drawing


def test_a_chart_is_named_and_described_for_those_who_cannot_see_it() -> None:
    drawing = line_chart(chart([10, 20], [1.5, 0.25]), "a")
    assert 'role="img"' in drawing
    assert 'aria-labelledby="a-title a-desc"' in drawing
    assert "Loss in nats over steps. lm_loss: from 1.5 to 0.25, lowest 0.25, highest 1.5." in drawing


def test_a_threshold_a_step_and_a_value_are_marked_with_the_number_of_the_finding() -> None:
    note = Note("3", "warning", "3 plateau: lm_loss 1", x=20, y=1.0, threshold=0.5)
    drawing = line_chart(chart([10, 20], [1.5, 1.0], notes=[note]), "a")
    assert all(f'class="{name}"' in drawing for name in ("threshold", "step", "ring", "badge warning"))
    assert ">3</text>" in drawing


def test_a_threshold_is_in_sight_however_far_the_curve_is_from_it() -> None:
    note = Note("1", "error", "", threshold=40.0)
    assert 'class="threshold"' in line_chart(chart([10, 20], [1.5, 1.0], notes=[note]), "a")


def test_zeros_are_drawn_at_the_bottom_of_a_logarithmic_chart() -> None:
    drawing = line_chart(chart([10, 20], [1e-3, 0.0], log=True), "a")
    assert f'cy="{BOTTOM}"' in drawing


def test_a_silhouette_has_no_scale() -> None:
    shape = Silhouette(np.array([0.0, 10.0]), np.array([0.0, 1.0]))
    drawing = line_chart(chart([10], [1e9], silhouette=shape), "a")
    assert f'd="M{LEFT} {BOTTOM}L{LEFT} {BOTTOM}L{RIGHT} {TOP}V{BOTTOM}z" class="silhouette"' in drawing


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.05, "0.05"), (12, "12"), (26041, "26,041"), (3e-7, "3e-7"), (2.5e9, "2.5e9")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert spelled(value) == text


@given(st.floats(-1e140, 1e140), st.floats(-1e140, 1e140))
def test_ticks_lie_within_their_scale_and_are_few(one: float, other: float) -> None:
    scale = fitted(np.array([one, other]), 0, 100)
    ticks = scale.ticks(5)
    assert len(ticks) <= 12
    assert all(scale.low - abs(scale.low) * 1e-6 <= tick <= scale.high * 1.000001 for tick in ticks if tick > 0)


def test_a_linear_scale_of_one_value_has_room() -> None:
    assert linear(3, 3, 0, 10)(3.0) == 5


# Heat maps -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), min_size=1, max_size=300))
def test_columns_of_a_heat_map_are_shares(counts: list[list[int]]) -> None:
    step = np.arange(1.0, len(counts) + 1) * 10
    left, right, share = binned(step, np.array(counts, dtype=np.float64))
    assert len(share) <= 72
    assert left[0] == 0
    assert right[-1] == step[-1]
    np.testing.assert_array_equal(left[1:], right[:-1])
    total = share.sum(axis=1)
    assert np.all(np.isclose(total, 1) | (total == 0))


def test_a_heat_map_draws_each_shade_once_and_counts_whole_rows() -> None:
    left, right, share = binned(np.array([10.0, 20.0, 30.0]), np.array([[4.0, 0], [4, 0], [0, 0]]))
    drawing = heat_map(HeatMap("ACT", "steps", 30, left, right, share, "described"), "h")
    assert drawing.count('class="cell') == 1  # two full columns side by side, and one in which nothing halted
    assert re.findall(r'class="tick y">([^<]*)<', drawing) == ["1", "2", "steps"]
    coordinates(drawing)
