"""The picture of a run's curves: not empty, and with as many lines in each panel as there are curves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hrm_sweep.diagnosis import diagnose_run
from hrm_sweep.report.png import HEAD, HEIGHT, PALETTE, WIDTH, picture, plot_box
from hrm_sweep.report.run_picture import PANELS, picture_charts, run_picture
from hrm_sweep.report.svg import Chart, Line

HEALTHY = Path(__file__).parents[1] / "fixtures" / "runs" / "healthy"


def colours_in(image: Image.Image, number: int) -> set[int]:
    """Places in the palette of the colours that a panel's plot shows in at least twenty pixels."""
    pixels = np.asarray(image.crop(plot_box(number))).reshape(-1, 3)
    return {style for style, colour in enumerate(PALETTE) if (pixels == colour).all(axis=1).sum() >= 20}


def chart(*lines: Line, x_high: float = 10.0) -> Chart:
    return Chart("a title", "a unit", "optimizer steps", x_high, lines)


def line(style: int, *values: float) -> Line:
    return Line(f"line {style}", np.arange(len(values), dtype=np.float64), np.array(values), style)


def test_every_panel_of_a_healthy_run_has_as_many_lines_as_it_has_curves() -> None:
    diagnosis = diagnose_run(HEALTHY, write=False)
    charts = picture_charts(diagnosis)
    image = run_picture(diagnosis, "healthy")
    assert image is not None
    assert len(charts) == len(PANELS)
    assert image.size == (2 * WIDTH, HEAD + 2 * HEIGHT)
    for number, each in enumerate(charts):
        assert colours_in(image, number) == {one.style for one in each.lines}, each.title


def test_a_run_of_which_nothing_was_measured_has_no_picture(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text((HEALTHY / "config.yaml").read_text())
    assert run_picture(diagnose_run(tmp_path, write=False), "nothing") is None


def test_lines_that_lie_apart_are_all_there_and_a_gap_is_a_gap() -> None:
    lines = [line(style, *(style + 0.1 * k for k in range(10))) for style in range(4)]
    assert colours_in(picture("four", [chart(*lines)]), 0) == {0, 1, 2, 3}
    broken = line(0, 1.0, 1.0, 1.0, math.nan, math.inf, 1.0, 1.0)
    whole = line(0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)

    def ink(one: Line) -> int:
        pixels = np.asarray(picture("", [chart(one)]).crop(plot_box(0, columns=1))).reshape(-1, 3)
        return int((pixels == PALETTE[0]).all(axis=1).sum())

    assert 0 < ink(broken) < ink(whole)


def test_a_title_that_is_too_long_is_cut_within_the_picture() -> None:
    image = picture("words without end " * 40, [chart(line(0, 1.0, 2.0))])
    edge = np.asarray(image.crop((WIDTH - 8, 0, WIDTH, HEAD)))
    assert (edge == 255).all()


@settings(max_examples=20)
@given(st.lists(st.floats(), max_size=30), st.floats(min_value=0.0, max_value=1e300), st.booleans())
def test_any_numbers_can_be_drawn(values: list[float], x_high: float, log: bool) -> None:
    one = Chart("t", "", "x", x_high, [line(0, *values)], log=log or None)
    assert picture("any", [one]).size == (WIDTH, HEAD + HEIGHT)


@pytest.mark.parametrize("panels", [0, 1, 2, 3])
def test_panels_stand_in_two_columns(panels: int) -> None:
    image = picture("several", [chart(line(0, 1.0, 2.0))] * panels)
    assert image.size == (WIDTH * min(2, max(1, panels)), HEAD + HEIGHT * math.ceil(panels / 2))
