"""A healthy recorded run, and ways to break copies of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hrm_sweep.config import apply_overrides
from hrm_sweep.diagnosis import Diagnosis, Finding, diagnose_run

FIXTURES = Path(__file__).parent.parent / "fixtures"
OFFICIAL = FIXTURES / "official_runs"
SUDOKU = FIXTURES / "sudoku-4x4"
NO_PROCESS = 2**22 + 1  # larger than the largest process number of Linux

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A copy of a run directory that can be broken in named ways. Every method returns the case."""

    path: Path
    data: Path | None = SUDOKU

    def rows(self, change: Callable[[Row], Row | None]) -> Case:
        """Map every metric row; None leaves it out."""
        file = self.path / "metrics.jsonl"
        changed = [change(json.loads(line)) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in changed if row is not None))
        return self

    def set(self, kind: str, *, after: int = 0, **values: Any) -> Case:
        """Set scalars in all rows of a kind after a step."""
        return self.rows(lambda row: row | values if row["kind"] == kind and row["step"] > after else row)

    def until(self, step: int) -> Case:
        """Cut the run off after a step, as if it were live there, on a machine that cannot be looked at."""
        self.rows(lambda row: row if row["step"] <= step else None)
        return self.status(state="running", step=step, ended_at=None)

    def config(self, **overrides: Any) -> Case:
        """Set dotted keys, written with two underscores for a dot."""
        file = self.path / ("config.yaml" if (self.path / "config.yaml").exists() else "all_config.yaml")
        dotted = {name.replace("__", "."): value for name, value in overrides.items()}
        file.write_text(yaml.safe_dump(apply_overrides(yaml.safe_load(file.read_text()), dotted, "test")))
        return self

    def status(self, **values: Any) -> Case:
        file = self.path / "status.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
        return self

    def owned_by_a_dead_process(self) -> Case:
        return self.status(owner={"host": socket.gethostname(), "pid": NO_PROCESS, "started": "0"})

    def last_written(self, *, hours_ago: float) -> Case:
        then = time.time() - 3600 * hours_ago
        self.status(updated_at=then)
        for file in self.path.iterdir():
            os.utime(file, (then, then))
        return self

    def without(self, *names: str) -> Case:
        for name in names:
            (self.path / name).unlink()
        return self

    def keep_checkpoints(self, n: int) -> Case:
        for file in sorted(self.path.glob("step_*"))[n:]:
            file.unlink()
        return self

    def without_data(self) -> Case:
        return Case(self.path, None)

    def with_changed_data(self, change: Callable[[str, Arrays, Row], None]) -> Case:
        """A copy of the puzzles with `change(split, arrays, metadata)` done to both splits, test first."""
        folder = self.path.parent / "changed data"
        shutil.copytree(SUDOKU, folder)
        for split in ("test", "train"):
            metadata = json.loads((folder / split / "dataset.json").read_text())
            files = {file.stem.removeprefix("all__"): file for file in (folder / split).glob("all__*.npy")}
            arrays = {name: np.load(file) for name, file in files.items()}
            change(split, arrays, metadata)
            (folder / split / "dataset.json").write_text(json.dumps(metadata))
            for name, file in files.items():
                np.save(file, arrays[name])
        return Case(self.path, folder)

    def diagnose(self) -> Diagnosis:
        return diagnose_run(self.path, write=False, data=self.data)

    def finding(self, rule: str) -> Finding:
        return next(finding for finding in self.diagnose().findings if finding.rule == rule)


MakeCase = Callable[[str], Case]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCase:
    """`case("healthy")` copies tests/fixtures/runs/healthy; `case("official/healthy")` one of the reference's runs."""

    def make(name: str) -> Case:
        target = tmp_path / "a run"
        if name.startswith("official/"):
            import hrm_sweep.diagnosis.evaluated as evaluated

            monkeypatch.setattr(evaluated, "PUZZLES", 40)  # five times fewer than users get: these tests are many
            shutil.copytree(OFFICIAL / name.removeprefix("official/"), target)
        else:
            shutil.copytree(FIXTURES / "runs" / name, target)
        return Case(target)

    return make


@pytest.fixture
def healthy(case: MakeCase) -> Case:
    return case("healthy")


@pytest.fixture
def poison() -> Callable[[Path, str], None]:
    """`poison(step_file, name)` makes one weight of a checkpoint NaN."""
    import torch

    def apply(path: Path, name: str) -> None:
        weights = torch.load(path, weights_only=True)
        weights[name].view(-1)[0] = float("nan")
        torch.save(weights, path)

    return apply


@pytest.fixture
def edit_weights() -> Callable[[Path, Mapping[str, float | str]], None]:
    """`edit_weights(step_file, {name: value})` fills tensors; "noise" and "one row of 100" are words it knows."""
    import torch

    def apply(path: Path, values: Mapping[str, float | str]) -> None:
        weights = torch.load(path, weights_only=True)
        for name, value in values.items():
            tensor = weights[f"model.inner.{name}"]
            if value == "noise":
                tensor.copy_(100 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)))
            elif value == "one row of 100":
                weights[f"model.inner.{name}"] = torch.cat([tensor, torch.zeros(99, tensor.shape[1])])
            else:
                tensor.fill_(value)
        torch.save(weights, path)

    return apply


@pytest.fixture
def copy_weights() -> Callable[..., None]:
    """`copy_weights(source, target, module, scale=1)` overwrites a module of one checkpoint by that of another."""
    import torch

    def apply(source: Path, target: Path, module: str, scale: float = 1.0) -> None:
        old, new = torch.load(source, weights_only=True), torch.load(target, weights_only=True)
        for name in new:
            if name.startswith(f"model.inner.{module}."):
                new[name] = old[name] * scale
        torch.save(new, target)

    return apply
