"""The speed of this machine: measured by real runs in processes of their own, kept, found again, and missed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.data import SplitMetadata
from hrm_sweep.errors import TrainingError
from hrm_sweep.planning import calibration
from hrm_sweep.planning.calibration import Calibrate, Setting, Shape, known_speed, measured_speed, speeds_of
from hrm_sweep.planning.speed import Conditions

FACTS = SplitMetadata(0, 0, 0, 6, 16, 1, 1000, 1, ("all",))
SMALL = {"arch.hidden_size": 16, "arch.num_heads": 2, "arch.halt_max_steps": 2, "eval_puzzles": 8}


def small(H: int = 1, batch: int = 8, **overrides: object) -> RunConfig:
    return load_config("hrm_v1_tiny", {**SMALL, "arch.H_cycles": H, "global_batch_size": batch, **overrides})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HRM_SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "SECONDS_A_POINT", 0.05)
    return tmp_path / "cache"


def test_two_trials_beside_each_other_are_measured_and_kept(cache: Path) -> None:
    configs = [small(H=1, batch=4), small(H=2, batch=8), small(H=1, batch=8)]
    setting, heard, began = Setting(2, 1), list[str](), time.time()
    shapes = [(config, FACTS) for config in configs]
    assert speeds_of(shapes, setting, Calibrate.NEVER) == [None] * 3
    speed, *others = speeds_of(shapes, setting, Calibrate.MISSING, heard.append)
    assert heard == ["measuring this machine, 1 of 1 ..."]
    assert speed is not None
    assert others == [speed, speed]
    assert len(speed.measured) == 4
    for one in speed.measured:
        assert one.step_s > 0
        assert one.evaluation_s > 0
        assert one.start_s >= 0
        assert one.evaluated == 8
    assert began <= speed.at <= time.time()
    (file,) = (cache / "speed").iterdir()
    assert speeds_of(shapes, setting, Calibrate.MISSING) == [speed] * 3

    shape = Shape(configs[0], FACTS, setting)
    assert known_speed(shape, [small(H=2, batch=6)]) == speed, "between what was measured"
    assert known_speed(shape, [small(H=6)]) is None, "beyond it"
    assert known_speed(Shape(configs[0], FACTS, Setting(1, 1)), configs) is None, "another setting"
    assert known_speed(Shape(small(**{"arch.hidden_size": 32}), FACTS, setting), configs) is None, "another model"
    assert known_speed(Shape(small(lr=0.5, seed=7), FACTS, setting), configs) == speed, "nothing that matters"
    file.write_text("{")
    assert known_speed(shape, configs) is None, "damaged"


@pytest.mark.skipif(
    not Path("/proc/thread-self/schedstat").is_file(), reason="only Linux says how long a thread waited"
)
def test_a_measurement_on_a_busy_core_says_so(cache: Path) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # and so both processes that measure
    try:
        speed = measured_speed(Shape(small(), FACTS, Setting(2, 1)), [small()])
    finally:
        os.sched_setaffinity(0, cores)
    found = Conditions.of([speed])
    assert found is not None
    assert found.busy
    assert found.waited is not None
    assert 0.2 < found.waited < 1


def test_what_cannot_be_measured_says_why_and_what_to_do() -> None:
    config = small(device="cuda:77")
    with pytest.raises(TrainingError, match=r"could not be measured: .*--no-calibrate plans without times"):
        measured_speed(Shape(config, FACTS, Setting(1, None)), [config])


def test_a_process_that_dies_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration.sys, "executable", "false")
    with pytest.raises(TrainingError, match="could not be measured: the process ended with code 1"):
        measured_speed(Shape(small(), FACTS, Setting(1, None)), [small()])


def test_a_model_too_large_to_measure_is_measured_with_fewer_rows_and_act_steps() -> None:
    large = load_config("hrm_v1")
    facts = SplitMetadata(0, 0, 0, 11, 81, 1, 1000, 1, ("all",))
    (point,) = calibration._to_measure(Shape(large, facts, Setting(1, None)), [large])
    assert point.global_batch_size == 1
    assert point.arch.halt_max_steps == 2
    (on_gpu,) = calibration._to_measure(Shape(large, facts, Setting(1, None, ("0",))), [large])
    assert on_gpu.global_batch_size == 768


def test_runs_in_stages_are_one_shape_however_long_the_stages_are_and_whatever_they_start_from() -> None:
    def staged(first: int) -> RunConfig:
        stages = [{"epochs": first, "overrides": {"arch.halt_max_steps": 1}}, {"epochs": 8, "overrides": {}}]
        return small(stages=stages, eval_interval=4, init_from="nowhere")

    heard = list[str]()
    shapes = [(staged(4), FACTS), (staged(8), FACTS), (small(), FACTS)]
    speeds = speeds_of(shapes, Setting(1, 1), Calibrate.MISSING, heard.append)
    assert heard == ["measuring this machine, 1 of 1 ..."]
    assert None not in speeds
