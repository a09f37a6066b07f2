"""Every source, held to what all sources promise."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import hub_serving
from made_up_data import FIXTURES

from hrm_sweep.config import DataConfig
from hrm_sweep.data.sources import SOURCES

_SUITE = Path(__file__).resolve().parents[1] / "conformance" / "data_source.py"
_SPEC = importlib.util.spec_from_file_location("conformance_data_source", _SUITE)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
DataSourceConformance = _MODULE.DataSourceConformance
MINI = FIXTURES / "sudoku-extreme-mini"


def with_changes(**fixed: object) -> object:
    return lambda **changes: DataConfig.model_validate({**fixed, **changes})


@pytest.mark.parametrize("size", [4, 6, 9])
class TestGenerator(DataSourceConformance):
    @pytest.fixture
    def request_of_it(self, size: int) -> object:
        return lambda **changes: DataConfig.model_validate(
            {"size": size, **changes, "subsample_size": changes.get("subsample_size") or 25}
        )


class TestCsvFiles(DataSourceConformance):
    @pytest.fixture
    def request_of_it(self) -> object:
        return with_changes(source="csv", csv=(str(MINI / "train.csv"), str(MINI / "test.csv")))


class TestHub(DataSourceConformance):
    @pytest.fixture
    def request_of_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with hub_serving("someone/sudoku", MINI) as (endpoint, _):
            monkeypatch.setenv("HF_ENDPOINT", endpoint)
            yield with_changes(source="hub", hub="someone/sudoku")


def test_every_source_has_its_suite() -> None:
    assert set(SOURCES) == {"generator", "csv", "hub"}
