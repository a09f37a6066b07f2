"""A healthy recorded run, and ways to break copies of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hrm_sweep.config import apply_overrides
from hrm_sweep.diagnosis import Diagnosis, Finding, diagnose_run

FIXTURES = Path(__file__).parent.parent / "fixtures"
OFFICIAL = FIXTURES / "official_runs"
SUDOKU = FIXTURES / "sudoku-4x4"

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A copy of a run directory that can be broken in named ways. Every method returns the case itself."""

    path: Path
    data: Path | None = SUDOKU

    def rows(self, change: Callable[[Row], Row | None]) -> Case:
        """Map every metric row; None leaves it out."""
        file = self.path / "metrics.jsonl"
        changed = [change(json.loads(line)) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in changed if row is not None))
        return self

    def set(self, kind: str, *, after: int = 0, **values: Any) -> Case:
        """Set scalars in all rows of a kind after a step; None removes one."""

        def change(row: Row) -> Row:
            if row["kind"] == kind and row["step"] > after:
                row |= values
            return {name: value for name, value in row.items() if value is not None}

        return self.rows(change)

    def until(self, step: int) -> Case:
        """Cut the run off after a step, as if it were live there."""
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

    def without(self, *names: str) -> Case:
        for name in names:
            (self.path / name).unlink()
        return self

    def without_data(self) -> Case:
        return Case(self.path, None)

    def diagnose(self) -> Diagnosis:
        return diagnose_run(self.path, write=False, data=self.data)

    def finding(self, rule: str) -> Finding:
        return next(finding for finding in self.diagnose().findings if finding.rule == rule)


MakeCase = Callable[[str], Case]


@pytest.fixture
def case(tmp_path: Path) -> MakeCase:
    """`case("healthy")` copies tests/fixtures/runs/healthy; `case("official/healthy")` one of the reference's runs."""

    def make(name: str) -> Case:
        source = OFFICIAL / name.removeprefix("official/") if name.startswith("official/") else FIXTURES / "runs" / name
        target = tmp_path / "a run"
        shutil.copytree(source, target)
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
