"""Compiled blocks: when there are some, what happens where there are none, and that they compute the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.errors import ConfigError
from hrm_sweep.evaluation.device import Device
from hrm_sweep.model.compiled import Compiled, compiled_shape
from hrm_sweep.model.hrm import HRM, DataShape
from hrm_sweep.model.layers import RotaryPositions
from hrm_sweep.runs import RunDirectory, State, read_metrics
from hrm_sweep.training import compilation
from hrm_sweep.training.compilation import Compilation
from hrm_sweep.training.session import run_training

SHAPE = DataShape(vocab_size=6, seq_len=16, num_puzzle_identifiers=1)
NARROW = {"arch.hidden_size": 16, "arch.num_heads": 2, "device": "cpu", "global_batch_size": 50}


def narrow(**changes: object) -> RunConfig:
    return load_config("hrm_v1_tiny", {**NARROW, **changes})


def compilation_of(config: RunConfig, said: list[str]) -> Compilation:
    device = Device.choose(config)
    return Compilation(config, HRM(config.arch, SHAPE, device.dtype), device, said.append)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRM_SWEEP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))


@pytest.mark.parametrize(("given", "value"), [(True, "on"), (False, "off"), ("on", "on"), ("auto", "auto")])
def test_on_and_off_are_words_though_yaml_reads_them_as_true_and_false(given: object, value: str) -> None:
    assert narrow(compile=given).compile == value


def test_on_a_cpu_auto_and_off_start_no_compiler() -> None:
    for wanted in ("auto", "off"):
        said: list[str] = []
        compiles = compilation_of(narrow(compile=wanted), said)
        compiles._started -= 3600
        compiles.start()
        compiles.step(steps_left=10**9)
        assert compiles._build is None
        assert not said


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_on_is_an_error_and_auto_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compilation.EXPECTED_SAVING, "cpu", 0.5)
    said: list[str] = []
    compiles = compilation_of(narrow(), said)
    compiles._started -= 3600
    compiles.step(steps_left=10)
    compiles.step(steps_left=9)
    compiles.step(steps_left=8)
    assert len(said) == 1
    assert "no C++ compiler" in said[0]
    assert "the run goes on without" in said[0]
    with pytest.raises(ConfigError, match=r"compile: on, but the blocks cannot be compiled: .*; use auto or off"):
        compilation_of(narrow(compile="on"), []).start()


def test_a_short_run_is_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compilation.EXPECTED_SAVING, "cpu", 0.5)
    compiles = compilation_of(narrow(), [])
    compiles._started -= 2
    compiles.step(steps_left=10)  # 10 steps of 2 s: 10 s saved, of 60 that it costs
    assert compiles._build is None


def test_a_package_is_named_by_all_it_depends_on() -> None:
    arch = narrow().arch
    cpu = torch.device("cpu")
    shape = compiled_shape(arch, 1, rows=8, positions=17, device=cpu, dtype=torch.float32)
    others = [
        compiled_shape(arch, 2, rows=8, positions=17, device=cpu, dtype=torch.float32),
        compiled_shape(arch, 1, rows=9, positions=17, device=cpu, dtype=torch.float32),
        compiled_shape(arch, 1, rows=8, positions=18, device=cpu, dtype=torch.float32),
        compiled_shape(arch, 1, rows=8, positions=17, device=cpu, dtype=torch.bfloat16),
        compiled_shape(
            narrow(**{"arch.expansion": 8.0}).arch, 1, rows=8, positions=17, device=cpu, dtype=torch.float32
        ),
    ]
    assert len({one.key for one in (shape, *others)}) == 1 + len(others)
    cycles = narrow(**{"arch.H_cycles": 3, "arch.halt_max_steps": 2}).arch
    assert compiled_shape(cycles, 1, rows=8, positions=17, device=cpu, dtype=torch.float32).key == shape.key


@pytest.mark.proof
@pytest.mark.filterwarnings("ignore")  # torch's own, as it loads its compiler
def test_a_compiled_run_learns_the_same_and_the_next_one_finds_the_package(tmp_path: Path, sudoku_4x4: Path) -> None:
    torch.set_num_threads(1)
    changes = {"data_path": str(sudoku_4x4), "epochs": 2, "eval_interval": 1, "log_interval": 1}
    said: list[str] = []
    losses = {}
    for wanted in ("off", "on"):
        directory = RunDirectory(tmp_path / wanted)
        status = run_training(narrow(compile=wanted, **changes), directory, threads=1, say=said.append)
        assert status.state is State.COMPLETED, status.message
        losses[wanted] = [row.values["loss"] for row in read_metrics(directory.metrics) if row.kind == "train"]
    assert "the blocks are compiled" in said
    # Later a sign of the puzzle embedding's gradient may differ, and what differs grows.
    assert losses["on"][:5] == pytest.approx(losses["off"][:5], rel=1e-4)
    assert losses["on"] == pytest.approx(losses["off"], rel=0.1)
    (package,) = (tmp_path / "cache" / "compiled").glob("*.pt2")
    made = package.stat().st_mtime_ns
    status = run_training(narrow(compile="on", **changes), RunDirectory(tmp_path / "again"), threads=1)
    assert status.state is State.COMPLETED
    assert package.stat().st_mtime_ns == made


@pytest.mark.proof
@pytest.mark.filterwarnings("ignore")
def test_auto_switches_in_mid_run_and_any_number_of_rows_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setitem(compilation.EXPECTED_SAVING, "cpu", 0.5)
    said: list[str] = []
    compiles = compilation_of(narrow(), said)
    compiles._started -= 3600
    compiles.step(steps_left=10)
    assert compiles._build is not None
    assert compiles._build.wait() is None
    compiles.step(steps_left=9)
    assert said == ["the blocks are compiled"]
    module, shape = compiles.modules[0]
    rotary = RotaryPositions(17, 8, module.arch.rope_theta)
    assert isinstance(module.compiled, Compiled)
    with torch.no_grad():
        for rows in (shape.rows - 1, shape.rows, shape.rows + 3, 2 * shape.rows):
            z, injection = torch.randn(2, rows, 17, 16)
            got = module(z, injection, rotary)
            before, module.compiled = module.compiled, None
            torch.testing.assert_close(got, module(z, injection, rotary), rtol=1e-4, atol=1e-5)
            module.compiled = before
