"""Which puzzles decide, and which are never seen while deciding.

Every choice of a run or a sweep (best checkpoint, pruning, best trial) rests on a fixed subset of the test puzzles, at
most half of them. The final number of a study comes from the others, so that it is not flattered by having been chosen.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Subset = Literal["selection", "holdout"]

# The split is a property of the data alone: every trial of every study on a data folder decides by the same puzzles.
_SEED = 20250626

HOLDOUT_LIMIT = 10_000
"""At most so many unseen puzzles are evaluated: a binomial 95 % interval is then at most one point to either side."""


def subset_indices(subset: Subset, n_examples: int, eval_puzzles: int) -> NDArray[np.int64]:
    """Sorted indices into the test examples. The two subsets never overlap; selection has
    min(eval_puzzles, n_examples // 2) of them, but at least one where there is any."""
    order = np.random.default_rng(_SEED).permutation(n_examples)
    chosen = selection_size(n_examples, eval_puzzles)
    picked = order[:chosen] if subset == "selection" else order[chosen : chosen + HOLDOUT_LIMIT]
    return np.sort(picked)


def selection_size(n_examples: int, eval_puzzles: int) -> int:
    """How many of the test examples decide, where there are any."""
    return min(eval_puzzles, max(1, n_examples // 2))


def evenly_spaced(n_examples: int, puzzles: int) -> NDArray[np.int64]:
    """At most `puzzles` indices, evenly spaced over a split."""
    return np.unique(np.linspace(0, n_examples - 1, puzzles).astype(np.int64)) if n_examples else np.zeros(0, np.int64)
