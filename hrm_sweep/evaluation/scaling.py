"""What more ACT steps bring at inference, in one pass through the largest number, and what halting saves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrm_sweep.config import RunConfig
from hrm_sweep.data import IGNORED_LABEL, Split, take_examples
from hrm_sweep.data.sudoku import board_of
from hrm_sweep.errors import DataError
from hrm_sweep.evaluation.accuracy import EVALUATION_ROWS, data_shape
from hrm_sweep.evaluation.device import Device, rows_on
from hrm_sweep.evaluation.halting import solve_with_halting
from hrm_sweep.evaluation.mistakes import RATING_GROUPS, Kind, RatingGroup, kinds_of, ratings_of
from hrm_sweep.evaluation.selection import Subset, evenly_spaced, subset_indices
from hrm_sweep.evaluation.share import Share
from hrm_sweep.evaluation.watch import watch
from hrm_sweep.model.checkpoint import apply_weights, load_weights
from hrm_sweep.model.hrm import HRM

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Speed:
    """How fast `puzzles` were solved, on average with `act_steps` ACT steps each."""

    puzzles: int
    act_steps: float
    seconds: float

    @property
    def puzzles_per_second(self) -> float:
        return self.puzzles / self.seconds


@dataclass(frozen=True)
class Agreement:
    """Puzzles by how they fared with halting and with all steps. same: all counted cells were answered equally."""

    puzzles: int
    same: int
    both: int
    only_all_steps: int
    only_halting: int
    neither: int


@dataclass(frozen=True)
class Halting:
    """The pass in which each of N puzzles halted by itself.

    solved (N,); steps (N,) ACT steps taken; same (N,) whether all counted cells are answered as after all steps.
    """

    solved: Flags
    steps: NDArray[np.int64]
    same: Flags
    speed: Speed


@dataclass(frozen=True)
class Scaling:
    """N puzzles through T ACT steps; `steps` are the numbers of steps asked for, ascending, T the last.

    solved   (N, T) whether a puzzle is solved after 1, 2, ..., T steps.
    cells    (N, T) share of its counted cells that are right.
    stops    (N, T) whether it prefers to halt there: q_halt > q_continue.
    kinds    (N, len(steps)) the `Kind` of its answer.
    ratings  (N,) of a sudoku, else None.
    speed    of this pass, in which all take T steps.
    halting  None where it was not asked for.
    """

    steps: tuple[int, ...]
    solved: Flags
    cells: NDArray[np.float64]
    stops: Flags
    kinds: NDArray[np.uint8]
    ratings: NDArray[np.int64] | None
    speed: Speed
    halting: Halting | None
    device: str
    rows_at_once: int

    @property
    def puzzles(self) -> int:
        return len(self.solved)

    def exact(self, steps: int) -> Share:
        """Puzzles solved when all take `steps` ACT steps."""
        return self._share(self.solved[:, steps - 1])

    def right_cells(self, steps: int) -> Share:
        return self._share(self.cells[:, steps - 1])

    def halts_after(self, limit: int) -> NDArray[np.int64]:
        """(N,) the step at which each puzzle halts when it may, and has to at `limit`."""
        stops = self.stops[:, :limit].copy()
        stops[:, -1] = True
        return np.asarray(stops.argmax(axis=1) + 1, dtype=np.int64)

    def exact_when_halting(self, limit: int) -> Share:
        """Puzzles solved when each stops where it prefers to, after at most `limit` steps."""
        return self._share(self.solved[np.arange(self.puzzles), self.halts_after(limit) - 1])

    def mistakes(self, steps: int) -> dict[Kind, int]:
        """How many puzzles are of each kind after `steps` steps, which is one of those asked for."""
        counts = np.bincount(self.kinds[:, self.steps.index(steps)], minlength=len(Kind))
        return {kind: int(counts[kind]) for kind in Kind}

    def by_rating(self, steps: int) -> dict[RatingGroup, Share]:
        """Puzzles solved after `steps` steps, by rating; only groups that have puzzles. Empty without ratings."""
        if self.ratings is None:
            return {}
        members = {group: group.holds(self.ratings) for group in RATING_GROUPS}
        return {group: self._share(self.solved[here, steps - 1]) for group, here in members.items() if here.any()}

    @property
    def agreement(self) -> Agreement | None:
        if self.halting is None:
            return None
        fixed, halting = self.solved[:, -1], self.halting.solved
        return Agreement(
            puzzles=self.puzzles,
            same=int(self.halting.same.sum()),
            both=int((fixed & halting).sum()),
            only_all_steps=int((fixed & ~halting).sum()),
            only_halting=int((~fixed & halting).sum()),
            neither=int((~fixed & ~halting).sum()),
        )

    @staticmethod
    def _share(values: NDArray[np.bool_] | NDArray[np.float64]) -> Share:
        return Share(float(values.mean()), len(values))


def puzzles_to_evaluate(split: Split, subset: Subset | None, eval_puzzles: int, most: int) -> NDArray[np.int64]:
    """At most `most` test puzzles, evenly spaced over one of the two subsets, or over all where it is None.

    Puzzles none of whose labels count are left out: nobody can solve them. Raises DataError when none is left.
    """
    indices = np.arange(split.n_examples) if subset is None else subset_indices(subset, split.n_examples, eval_puzzles)
    indices = indices[evenly_spaced(len(indices), most)]
    counted = (take_examples(split, indices).labels != IGNORED_LABEL).any(axis=1)
    if not counted.any():
        which = "test puzzle" if subset is None else f"puzzle of the {subset} subset"
        raise DataError(
            f"no {which} to evaluate ({split.n_examples} in the test split); "
            + ("its labels do not count" if subset is None else "--all takes every test puzzle")
        )
    return np.asarray(indices[counted], dtype=np.int64)


def load_for_inference(config: RunConfig, checkpoint: Path, split: Split, where: Path, device: Device) -> HRM:
    """The model of a checkpoint, on `device`. `where` is the puzzle folder, for messages.

    Raises CheckpointError when the weights do not fit the configuration, DataError when they do not fit the puzzles.
    """
    weights = load_weights(checkpoint)
    shape = data_shape(split)
    for name, key, expected in (
        ("inner.embed_tokens.embedding_weight", "vocab_size", shape.vocab_size),
        ("inner.puzzle_emb.weights", "num_puzzle_identifiers", shape.num_puzzle_identifiers),
    ):
        if name in weights and len(weights[name]) != expected:
            raise DataError(
                f"{where}: {key} is {expected}, but {checkpoint} was trained with {len(weights[name])}; "
                "name the folder of puzzles that it was trained on, or one of the same task (--data)"
            )
    model = HRM(config.arch, shape, device.dtype)
    apply_weights(model, weights, str(checkpoint))
    return model.to(device.torch_device)


def scaling_of(
    model: HRM,
    split: Split,
    indices: NDArray[np.int64],
    device: Device,
    steps: tuple[int, ...],
    *,
    halting: bool,
    on_solved: Callable[[int], None] = lambda puzzles: None,
) -> Scaling:
    """Solve the examples `indices` with every number of ACT `steps` (ascending), in one pass through the largest.

    halting    solve them once more with halting on, at most the largest number of steps each.
    on_solved  hears how many puzzles were solved, in each pass.
    """
    longest, at = steps[-1], [number - 1 for number in steps]
    batch = take_examples(split, indices)
    board = board_of(split.metadata, batch.labels)
    # Memory is taken and kernels are chosen in the first step; it is not to count.
    for _ in model.solve_by_step(rows_on(batch, device, slice(0, EVALUATION_ROWS)), 1):
        pass
    solved, cells, stops, kinds, last = [], [], [], [], []
    seconds = 0.0
    for start in range(0, len(indices), EVALUATION_ROWS):
        started = time.perf_counter()
        watched = watch(model, split, indices[start : start + EVALUATION_ROWS], device, steps=longest)
        seconds += time.perf_counter() - started
        counted = watched.counted.sum(axis=1)[:, None]
        solved.append(watched.solved)
        cells.append(1 - watched.wrong.sum(axis=2) / counted)
        stops.append(watched.q_halt > watched.q_continue)
        kinds.append(
            np.stack([kinds_of(watched.predictions[:, n], watched.inputs, watched.labels, board) for n in at], axis=1)
        )
        last.append(watched.predictions[:, -1])
        on_solved(len(watched.examples))
    return Scaling(
        steps=steps,
        solved=np.concatenate(solved),
        cells=np.concatenate(cells),
        stops=np.concatenate(stops),
        kinds=np.concatenate(kinds),
        ratings=None if board is None else ratings_of(batch.inputs, board),
        speed=Speed(len(indices), longest, seconds),
        halting=_halting(model, split, indices, device, np.concatenate(last), longest, on_solved) if halting else None,
        device=f"{device.name}, {device.torch_device}, {str(device.dtype).removeprefix('torch.')}",
        rows_at_once=min(EVALUATION_ROWS, len(indices)),
    )


def _halting(
    model: HRM,
    split: Split,
    indices: NDArray[np.int64],
    device: Device,
    after_all_steps: NDArray[np.int32],
    limit: int,
    on_solved: Callable[[int], None],
) -> Halting:
    labels = take_examples(split, indices).labels
    counted = labels != IGNORED_LABEL
    found = solve_with_halting(model, split, indices, device, limit=limit, on_solved=on_solved)
    return Halting(
        solved=((found.answers == labels) | ~counted).all(axis=1),
        steps=found.steps,
        same=((found.answers == after_all_steps) | ~counted).all(axis=1),
        speed=Speed(len(indices), found.slot_steps / len(indices), found.seconds),
    )
