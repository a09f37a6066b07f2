"""Seconds between measured points."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.planning.cost import act_step_flops
from hrm_sweep.planning.speed import BUSY, Conditions, Measured, Point, Speed, corners

SEQ_LEN = 16
AT = 1.8e9  # when it was measured


def made_up_step_s(point: Point) -> float:
    """A machine on which a step is made of the four parts that steps are made of."""
    return 0.002 + 1e-10 * point.work + 1e-5 * point.batch + 2e-11 * point.work * point.batch


def config(H: int, L: int, batch: int, M: int = 8) -> RunConfig:
    arch = {"arch.H_cycles": H, "arch.L_cycles": L, "arch.halt_max_steps": M}
    return load_config("hrm_v1_tiny", {**arch, "global_batch_size": batch})


def measured(configs: list[RunConfig]) -> Speed:
    found = []
    for one in corners(configs, SEQ_LEN):
        point = Point.of(one, SEQ_LEN)
        work = one.arch.halt_max_steps * act_step_flops(one.arch, SEQ_LEN)
        found.append(Measured(point, made_up_step_s(point), 100 * (1e-4 + 1e-11 * work), 100, work, 0.01, 0.5, None))
    return Speed(tuple(found), AT)


@given(H=st.integers(1, 3), L=st.integers(1, 4), batch=st.integers(32, 128), M=st.integers(2, 16))
def test_between_the_corners_the_model_is_exact_for_a_machine_of_its_kind(H: int, L: int, batch: int, M: int) -> None:
    configs = [config(*ends) for ends in itertools.product((1, 3), (1, 4), (32, 128))]
    speed, wanted = measured(configs), config(H, L, batch, M)
    point = Point.of(wanted, SEQ_LEN)
    assert speed.covers([point])
    assert speed.step_s(point) == pytest.approx(made_up_step_s(point))
    work = M * act_step_flops(wanted.arch, SEQ_LEN)
    if work >= 8 * act_step_flops(config(1, 1, 32).arch, SEQ_LEN):
        assert speed.evaluation_s(wanted, SEQ_LEN, 50) == pytest.approx(50 * (1e-4 + 1e-11 * work))


def test_the_corners_are_those_of_work_and_batch_the_smaller_batches_first() -> None:
    configs = [config(*ends) for ends in itertools.product((1, 2, 3), (2,), (32, 64, 128))]
    points = [Point.of(one, SEQ_LEN) for one in corners(configs, SEQ_LEN)]
    works = sorted({Point.of(one, SEQ_LEN).work for one in configs})
    assert points == [Point(work, batch) for batch in (32, 128) for work in (works[0], works[-1])]
    assert len(corners([config(2, 2, 64)], SEQ_LEN)) == 1


def test_from_one_point_time_grows_in_proportion() -> None:
    speed = measured([config(2, 2, 64)])
    point = Point.of(config(2, 2, 64), SEQ_LEN)
    assert speed.step_s(Point(point.work, 128)) == pytest.approx(2 * speed.step_s(point))
    assert not speed.covers([Point(point.work, 128)])


def test_noise_in_which_more_work_was_faster_gives_no_negative_time() -> None:
    one = Measured(Point(1e6, 32), 0.02, 1.0, 100, 1e6, 0.0, 0.0, None)
    two = Measured(Point(3e6, 32), 0.01, 0.9, 100, 3e6, 0.0, 0.0, None)
    speed = Speed((one, two), AT)
    assert speed.step_s(Point(9e6, 320)) > 0
    assert speed.step_s(Point(1e3, 1)) > 0


def test_a_plan_is_as_old_as_its_oldest_speed_and_as_busy_as_its_busiest() -> None:
    def speed(at: float, *waits: float | None) -> Speed:
        return Speed(tuple(Measured(Point(1e6, 32), 0.02, 1, 100, 1e6, 0, 0, None, waited) for waited in waits), at)

    assert Conditions.of([None, None]) is None
    unsaid = Conditions.of([speed(3.0, None)])
    assert unsaid == Conditions(3.0, None)
    assert not unsaid.busy
    quiet = Conditions.of([speed(9.0, 0.01, None), None, speed(4.0, BUSY / 2)])
    assert quiet == Conditions(4.0, BUSY / 2)
    assert not quiet.busy
    busy = Conditions.of([speed(9.0, 0.0), speed(10.0, 0.4)])
    assert busy == Conditions(9.0, 0.4)
    assert busy.busy
