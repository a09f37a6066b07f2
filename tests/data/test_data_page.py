"""docs/data.md: its example is run as it stands, and what it says of the code is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hrm_sweep.config import DataConfig
from hrm_sweep.data import check_folder, open_folder, train_iteration
from hrm_sweep.data.folder import FIELDS, SplitMetadata
from hrm_sweep.data.request import resolved
from hrm_sweep.data.sources import SOURCES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_example_of_ones_own_data_makes_a_folder_without_findings(folder: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(program, "docs/data.md", "exec"), {})
    assert check_folder(folder / "data" / "sorting") == []
    train = open_folder(folder / "data" / "sorting").train
    _, batch = next(train_iteration(train, seed=0, iteration=1, global_batch_size=64, epochs_per_iter=1))
    assert (batch.inputs.sum(axis=1) == batch.labels.sum(axis=1)).all()


@pytest.mark.parametrize("field", FIELDS)
def test_every_array_of_the_format_is_described(field: str) -> None:
    assert f"SET__{field}.npy" in PAGE


@pytest.mark.parametrize("key", SplitMetadata.__dataclass_fields__)
def test_every_key_of_dataset_json_is_described(key: str) -> None:
    assert f"`{key}`" in PAGE


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_described(source: str) -> None:
    assert f"`source: {source}`" in PAGE


def test_the_usual_blanks_are_those_of_the_page() -> None:
    ranges = [resolved(DataConfig.model_validate({"size": size})) for size in (4, 6, 9)]
    spelled = [f"{request.min_blanks} to {request.max_blanks}" for request in ranges]
    hard = resolved(DataConfig(size=9, min_difficulty=1))
    text = " ".join(PAGE.split())
    assert f"({', '.join(spelled)} for the three sizes; {hard.min_blanks} to {hard.max_blanks} where" in text
