"""unseen.json: what the best checkpoint of a run does on the puzzles that no choice was made by, puzzle by puzzle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.runs.directory import replaced_atomically

VERSION = 1  # of unseen.json, where the file says none


@dataclass(frozen=True)
class Unseen:
    """An evaluation on unseen puzzles.

    values              means over the puzzles: exact_accuracy, accuracy and the losses.
    solved, not_solved  places of the puzzles in the test split, ascending.
    digest              of the test split.
    """

    values: Mapping[str, float]
    solved: tuple[int, ...]
    not_solved: tuple[int, ...]
    digest: str

    @property
    def puzzles(self) -> int:
        return len(self.solved) + len(self.not_solved)


def write_unseen(path: Path, unseen: Unseen) -> None:
    record = {
        "version": VERSION,
        "digest": unseen.digest,
        "values": dict(unseen.values),
        "solved": list(unseen.solved),
        "not_solved": list(unseen.not_solved),
    }
    with replaced_atomically(path) as temporary:
        temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")


def read_unseen(path: Path) -> Unseen | None:
    """The evaluation, or None when there is none, or none that this version understands."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("version", VERSION) > VERSION:
            return None
        return Unseen(
            values={str(name): float(value) for name, value in record["values"].items()},
            solved=tuple(int(place) for place in record["solved"]),
            not_solved=tuple(int(place) for place in record["not_solved"]),
            digest=str(record["digest"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
