"""DataFacts: what the puzzles say about a run before it is looked at: its length, and what guessing is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hrm_sweep.config import RunConfig
from hrm_sweep.data import PuzzleFolder, Split, open_folder
from hrm_sweep.errors import DataError

# Facts about cells come from at most this many examples of a split, evenly spaced: a share is then known to one point.
SAMPLED_EXAMPLES = 4000
# Test puzzles looked up among the training puzzles. One in a hundred leaked would be missed once in 150 times.
OVERLAP_PROBES = 500
_HASHED_ROWS_AT_ONCE = 4096  # fits the cache: twice as fast as all at once


@dataclass(frozen=True)
class SplitFacts:
    """Facts about one split, over cells whose label counts.

    examples         number of examples.
    counted_share    share of cells whose label counts.
    copied_share     share of counted cells whose label already stands in the input.
    copying_accuracy cell accuracy of a model that copies the input and guesses the commonest label where that fails.
    copying_loss     token loss of a model that copies those cells for certain and knows how often each label occurs
                     in the others, in nats.
    label_entropy    token loss of a model that ignores the input and knows how often each label occurs, in nats.
    contradicted     share of cells that show a symbol which their label denies, among cells that show any (not the
                     commonest symbol of the cells that have to be filled in); None where nothing can be said.
    ignored_givens   share of cells that show a symbol and whose label does not count; None where nothing can be said.
    identifiers      number of different puzzle identifiers.
    """

    examples: int
    counted_share: float
    copied_share: float
    copying_accuracy: float
    copying_loss: float
    label_entropy: float
    contradicted: float | None
    ignored_givens: float | None
    identifiers: int

    @property
    def is_empty(self) -> bool:
        return self.examples == 0


@dataclass(frozen=True)
class DataFacts:
    """Facts about a puzzle folder.

    overlap              share of test puzzles whose input is also a training input; None without test puzzles.
    unknown_identifiers  share of test examples whose puzzle identifier is blank or was never trained; None without test
                         puzzles.
    """

    path: Path
    vocab_size: int
    seq_len: int
    num_puzzle_identifiers: int
    total_groups: int
    mean_puzzle_examples: float
    train: SplitFacts
    test: SplitFacts
    overlap: float | None
    unknown_identifiers: float | None

    @property
    def uniform_loss(self) -> float:
        """Token loss of a model that knows nothing, ln(vocabulary), in nats."""
        return float(np.log(self.vocab_size))


def gather_data_facts(folder: PuzzleFolder) -> DataFacts:
    metadata = folder.train.metadata
    return DataFacts(
        path=folder.path,
        vocab_size=metadata.vocab_size,
        seq_len=metadata.seq_len,
        num_puzzle_identifiers=metadata.num_puzzle_identifiers,
        total_groups=metadata.total_groups,
        mean_puzzle_examples=metadata.mean_puzzle_examples,
        train=_split_facts(folder.train),
        test=_split_facts(folder.test_split),
        overlap=_overlap(folder),
        unknown_identifiers=_unknown_identifiers(folder),
    )


def find_data(config: RunConfig | None, run: Path, named: Path | None) -> tuple[DataFacts | None, str]:
    """(facts, "") of the data of a run, or (None, why not).

    `named` wins. Otherwise the config's data_path is looked for from the current folder, and from the run directory
    and the folders above it, because a run may have been moved together with its data.
    """
    if named is not None:
        try:
            return gather_data_facts(open_folder(named)), ""
        except OSError as error:
            raise DataError(f"{error.filename or named}: cannot be read: {error.strerror}") from None
    if config is None or config.data_path is None:
        return None, "the data folder of the run is not known"
    try:
        for candidate in _candidates(Path(config.data_path), run):
            if candidate.is_dir():
                return gather_data_facts(open_folder(candidate)), ""
    except DataError as error:
        return None, str(error)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        return None, f"the data folder {config.data_path} cannot be read: {error.strerror}"
    return None, f"the data folder {config.data_path} was not found; name it with --data"


def _candidates(data_path: Path, run: Path) -> Sequence[Path]:
    if data_path.is_absolute():
        return [data_path]
    return [data_path, *(parent / data_path for parent in (run.resolve(), *run.resolve().parents[:4]))]


_EMPTY = SplitFacts(0, 0.0, 0.0, 0.0, 0.0, 0.0, None, None, 0)


def _split_facts(split: Split | None) -> SplitFacts:
    if split is None or split.n_examples == 0:
        return _EMPTY
    stride = max(1, split.n_examples // SAMPLED_EXAMPLES)
    inputs = np.concatenate([np.asarray(each.inputs[::stride], dtype=np.int64) for each in split.sets])
    labels = np.concatenate([np.asarray(each.labels[::stride], dtype=np.int64) for each in split.sets])
    ignore = split.metadata.ignore_label_id
    counted = np.ones(labels.shape, dtype=bool) if ignore is None else labels != ignore
    copied = counted & (inputs == labels)
    others = labels[counted & ~copied]
    n_counted = max(1, int(counted.sum()))
    other_share = len(others) / n_counted
    contradicted, ignored_givens = _givens(inputs, labels, counted, copied, split.metadata.pad_id)
    return SplitFacts(
        examples=split.n_examples,
        counted_share=float(counted.mean()),
        copied_share=float(copied.sum()) / n_counted,
        copying_accuracy=1.0 - other_share + other_share * _commonest(others),
        copying_loss=other_share * _entropy(others),
        label_entropy=_entropy(labels[counted]),
        contradicted=contradicted,
        ignored_givens=ignored_givens,
        identifiers=len(_identifiers(split)),
    )


def _givens(
    inputs: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    counted: npt.NDArray[np.bool_],
    copied: npt.NDArray[np.bool_],
    pad: int,
) -> tuple[float | None, float | None]:
    """(contradicted, ignored) shares of given cells, for tasks of filling in; (None, None) for other tasks.

    The task is one of filling in when one symbol, the blank, is never a counted label: a cell that shows another
    symbol is given.
    """
    blanks = [symbol for symbol in np.unique(inputs) if symbol != pad and not (counted & (labels == symbol)).any()]
    if len(blanks) != 1:
        return None, None
    given = (inputs != blanks[0]) & (inputs != pad)
    if not given.any():
        return None, None
    contradicted = (given & counted & ~copied).sum() / max(1, int((given & counted).sum()))
    return float(contradicted), float((given & ~counted).sum() / given.sum())


def _identifiers(split: Split) -> npt.NDArray[np.int64]:
    return np.unique(np.concatenate([np.asarray(each.puzzle_identifiers, dtype=np.int64) for each in split.sets]))


def _unknown_identifiers(folder: PuzzleFolder) -> float | None:
    test = folder.test_split
    if test is None or test.n_examples == 0:
        return None
    known = _identifiers(folder.train)
    known = (
        known[known != test.metadata.blank_identifier_id] if folder.train.metadata.num_puzzle_identifiers > 1 else known
    )
    unknown = sum(
        int(np.diff(each.puzzle_indices)[~np.isin(each.puzzle_identifiers, known)].sum()) for each in test.sets
    )
    return unknown / test.n_examples


def _commonest(labels: npt.NDArray[np.int64]) -> float:
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels)) if len(labels) else 0.0


def _entropy(labels: npt.NDArray[np.int64]) -> float:
    if not len(labels):
        return 0.0
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(share * np.log(share)).sum())


def _overlap(folder: PuzzleFolder) -> float | None:
    """Share of test inputs that are training inputs too; rows are compared by a 64 bit hash."""
    test = folder.test_split
    if test is None or test.n_examples == 0:
        return None
    weights: npt.NDArray[np.uint64] = np.random.default_rng(0).integers(
        1, 2**63, folder.train.metadata.seq_len, dtype=np.uint64
    )
    stride = max(1, test.n_examples // OVERLAP_PROBES)
    probes = np.sort(np.concatenate([_hashes(each.inputs[::stride], weights) for each in test.sets]))
    found = np.zeros(len(probes), dtype=bool)
    for each in folder.train.sets:
        for start in range(0, each.n_examples, _HASHED_ROWS_AT_ONCE):
            rows = _hashes(each.inputs[start : start + _HASHED_ROWS_AT_ONCE], weights)
            place = np.minimum(np.searchsorted(probes, rows), len(probes) - 1)
            found[place[probes[place] == rows]] = True
    # A puzzle that stands twice among the probes is found at its first place only.
    return float(found[np.searchsorted(probes, probes)].mean())


def _hashes(rows: npt.NDArray[np.integer], weights: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return (rows.astype(np.uint64) + np.uint64(1)) @ weights  # wraps around, as a hash may
