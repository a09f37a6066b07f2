"""Folders of made-up data, of any task, and copies of a real one to damage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrm_sweep.data import PuzzleSet, Split, SplitMetadata

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
VOCABULARY, CELLS, IDENTIFIERS = 12, 6, 5


def made_up_set(name: str, groups: Sequence[Sequence[int]], rng: np.random.Generator) -> PuzzleSet:
    """A set whose group g has puzzles of groups[g] examples each. An example's first cells are its own number."""
    sizes = [size for group in groups for size in group]
    examples = sum(sizes)
    inputs = rng.integers(1, VOCABULARY, (examples, CELLS)).astype(np.uint8)
    numbers = np.arange(examples)
    for cell in range(3):
        inputs[:, cell] = numbers // VOCABULARY**cell % VOCABULARY
    return PuzzleSet(
        name,
        inputs=inputs,
        labels=rng.integers(0, VOCABULARY, (examples, CELLS)).astype(np.uint8),
        puzzle_identifiers=rng.integers(0, IDENTIFIERS, len(sizes)).astype(np.int32),
        puzzle_indices=np.cumsum([0, *sizes]).astype(np.int32),
        group_indices=np.cumsum([0, *(len(group) for group in groups)]).astype(np.int32),
    )


def made_up_split(*sets: Sequence[Sequence[int]], seed: int = 0, ignore_label_id: int | None = 0) -> Split:
    """A split of several sets, each given as the sizes of its puzzles, group by group."""
    rng = np.random.default_rng(seed)
    made = tuple(made_up_set(f"set{number}", groups, rng) for number, groups in enumerate(sets))
    puzzles = sum(puzzle_set.n_puzzles for puzzle_set in made)
    examples = sum(puzzle_set.n_examples for puzzle_set in made)
    metadata = SplitMetadata(
        pad_id=0,
        ignore_label_id=ignore_label_id,
        blank_identifier_id=0,
        vocab_size=VOCABULARY,
        seq_len=CELLS,
        num_puzzle_identifiers=IDENTIFIERS,
        total_groups=sum(puzzle_set.n_groups for puzzle_set in made),
        mean_puzzle_examples=examples / max(1, puzzles),
        sets=tuple(puzzle_set.name for puzzle_set in made),
    )
    return Split(metadata, made)


@dataclass(frozen=True)
class Damaged:
    """A copy of a puzzle folder that can be damaged file by file."""

    path: Path

    def array(self, name: str) -> np.ndarray[Any, Any]:
        loaded: np.ndarray[Any, Any] = np.load(self.path / name)
        return loaded

    def save(self, name: str, array: Any) -> None:
        np.save(self.path / name, array)

    def set_cell(self, name: str, place: tuple[int, ...] | int, value: int) -> None:
        array = self.array(name)
        array[place] = value
        self.save(name, array)

    def set_key(self, split: str, key: str, value: Any) -> None:
        path = self.path / split / "dataset.json"
        record = json.loads(path.read_text())
        record[key] = value
        path.write_text(json.dumps(record))

    def drop_key(self, split: str, key: str) -> None:
        path = self.path / split / "dataset.json"
        record = json.loads(path.read_text())
        del record[key]
        path.write_text(json.dumps(record))

    def truncate(self, name: str, size: int) -> None:
        data = (self.path / name).read_bytes()
        (self.path / name).write_bytes(data[:size])
