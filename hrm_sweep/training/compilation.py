"""Whether a run compiles its blocks, and when: `compile: auto | on | off`.

auto  compiles where that is expected to save more than it costs, in a process of its own at the lowest priority; the
      run starts without and switches when the package is there. Where it cannot be made, the log says so, once.
on    waits for the package before the first step, and is an error where it cannot be made.

Packages stay in the user's cache folder, for all trials and runs whose blocks have the same shape.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

from hrm_sweep.config import RunConfig
from hrm_sweep.errors import ConfigError
from hrm_sweep.evaluation.device import Device
from hrm_sweep.model.block import ReasoningModule
from hrm_sweep.model.compiled import Compiled, CompiledShape, compiled_shape
from hrm_sweep.model.hrm import HRM
from hrm_sweep.model.sliced import rows_in_cache
from hrm_sweep.runs.cache import cache_folder

EXPECTED_SAVING = {"cpu": 0.0, "cuda": 0.15}
"""The share of a run's time that compiled blocks save. On a CPU they are 1.1 to 1.3 times as fast as `sliced.py` for
the calls without a gradient, up to 15 % of a small model's step, for which a run would no longer resume bit for bit:
not worth it (docs/performance.md). On CUDA it was not measured."""

BUILD_SECONDS = 60.0
"""What a package costs at most on an idle machine of two cores: 17 to 50 s were measured."""


class Compilation:
    """The compiled form of the two modules of one run. `start` once before training, `step` after each step."""

    def __init__(self, config: RunConfig, model: HRM, device: Device, say: Callable[[str], None]) -> None:
        self.wanted, self.device, self.say = config.compile, device, say
        self.modules: list[tuple[ReasoningModule, CompiledShape]] = [
            (module, _shape_of(module, config, model, device)) for module in (model.inner.H_level, model.inner.L_level)
        ]
        self._build: _Build | None = None
        self._decided = self.wanted != "auto" or EXPECTED_SAVING.get(device.torch_device.type, 0.0) == 0.0
        self._started = time.monotonic()
        self._steps = 0

    def start(self) -> None:
        """Where it is `on`: wait until all is compiled. Raises ConfigError where that fails."""
        if self.wanted != "on":
            return
        self.say("compiling the blocks, which may take a minute")
        while (shape := self._missing()) is not None:
            problem = _compiler_missing()
            if problem is None:
                with _Build(shape, yields=False) as build:
                    problem = build.wait()
            if problem is not None:
                raise ConfigError(f"compile: on, but the blocks cannot be compiled: {problem}; use auto or off")
        self._switch()

    def step(self, steps_left: int) -> None:
        """Where it is `auto`: begin when it is known to pay, switch when all is compiled."""
        if self._build is not None:
            self._look()
            return
        self._steps += 1
        seconds = time.monotonic() - self._started
        if self._decided or seconds < 1.0:
            return
        self._decided = True
        saved = EXPECTED_SAVING[self.device.torch_device.type] * steps_left * seconds / self._steps
        if self._missing() is None or saved > BUILD_SECONDS:
            self._go_on()

    def close(self) -> None:
        """End what still compiles."""
        if self._build is not None:
            self._build.close()
            self._build = None

    def _go_on(self) -> None:
        shape = self._missing()
        if shape is None:
            self._switch()
        elif problem := _compiler_missing():
            self._do_without(problem)
        else:
            self._build = _Build(shape, yields=True)

    def _look(self) -> None:
        assert self._build is not None
        if not self._build.has_ended():
            return
        problem = self._build.wait()
        self.close()
        if problem:
            self._do_without(problem)
        else:
            self._go_on()

    def _do_without(self, problem: str) -> None:
        self.say(f"the blocks were not compiled ({problem}); the run goes on without")

    def _missing(self) -> CompiledShape | None:
        return next((shape for _, shape in self.modules if not _package(shape).is_file()), None)

    def _switch(self) -> None:
        for module, shape in self.modules:
            module.compiled = Compiled(_package(shape), shape.rows)
        self.say("the blocks are compiled")


class _Build:
    """A process that makes one package."""

    def __init__(self, shape: CompiledShape, *, yields: bool) -> None:
        self.path = _package(shape)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process may write
        command = [sys.executable, "-m", "hrm_sweep.model.compiled", json.dumps(asdict(shape)), str(self.path)]
        command += ["--yielding"] if yields else []
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors
        )

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> str | None:
        """None where the package is there in the end, otherwise why it is not, in a line."""
        code = self._process.wait()
        if code == 0 and self.path.is_file():
            return None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        told = [line for line in lines if line and not line[0].isspace() and "Error" in line.partition(":")[0]]
        return (told or lines or [f"exit code {code}"])[-1][:200]

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> _Build:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def compiling(compilation: Compilation) -> Iterator[Compilation]:
    """What compiles in the background ends with the block."""
    try:
        compilation.start()
        yield compilation
    finally:
        compilation.close()


def _compiler_missing() -> str | None:
    """What is missing, where torch would find no compiler of C++; to ask it takes many seconds."""
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return None if shutil.which(compiler) else f"no C++ compiler, {compiler} is not there"


def _package(shape: CompiledShape) -> Path:
    return cache_folder() / "compiled" / f"{shape.key}.pt2"


def _shape_of(module: ReasoningModule, config: RunConfig, model: HRM, device: Device) -> CompiledShape:
    """The rows of a call: a batch, or on a CPU what stays in the cache of it."""
    arch = config.arch
    positions = model.inner.puzzle_slots + model.shape.seq_len
    rows = min(config.global_batch_size, config.micro_batch_size or config.global_batch_size)
    if device.torch_device.type == "cpu":
        inner = module.inner_width
        rows = min(rows, rows_in_cache(positions, arch.hidden_size, inner))
    return compiled_shape(
        arch,
        len(module.layers),
        rows=rows,
        positions=positions,
        device=device.torch_device,
        dtype=device.dtype,
    )
