"""Where a piece of evidence is seen: the chart that shows a quantity, by the words a rule names it with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrm_sweep.diagnosis import EvidenceRow, Finding


@dataclass(frozen=True)
class Place:
    """chart: the key of a chart. in_units: whether a value of this quantity can be read off its vertical axis."""

    chart: str
    in_units: bool


_PLACES = tuple(
    (re.compile(pattern), Place(chart, in_units))
    for pattern, chart, in_units in (  # the first that is found in the quantity counts
        (r"accuracy \(cells\)", "cells", True),
        (r"^(train|eval) accuracy$", "cells", True),
        (r"^fall from the best|^width of the 95|minus evaluation$|above the middle|^eval count", "exact", False),
        (r"exact_accuracy", "exact", True),
        (r"^slope of lm_loss|^rows at more than twice", "loss", False),
        (r"\blm_loss|^(train |eval )?loss$", "loss", True),
        (r"\bact_steps\b", "act", True),
        (r"^share of slots that halt|halt_max_steps|halt_exploration_prob", "histogram", False),
        (r"\bq_(halt|continue)_loss", "q_losses", True),
        (r"^\|q_", "q_values", False),  # an absolute value of what is drawn with its sign
        (r"\bq_(halt|continue)_(mean|std)", "q_values", True),
        (r"^puzzle_emb, largest absolute", "embedding", True),
        (r"puzzle_emb", "embedding", False),
        (r"\bgrad_norm\b", "grad_norm", True),
        (r"\bupdate_norm\b", "update_norm", True),
        (r"^update / weight", "update_norm", False),
        (r"^movement of", "movement", True),
        (r"^weights? of|weight_decay|\bweight_norm\b|largest absolute weight", "weight_norm", False),
        (r"^highest lr", "lr", True),
        (r"\blr\b|lr_warmup_steps|warm-up|optimizer steps", "lr", False),
    )
)


def place_of(row: EvidenceRow) -> Place | None:
    """Where a row of evidence is seen; None for what no chart shows, such as facts about the puzzles."""
    return next((place for pattern, place in _PLACES if pattern.search(row.quantity)), None)


def home_of(finding: Finding) -> str | None:
    """The chart a finding comes from: that of its first row which has one."""
    places = (place_of(row) for row in finding.evidence)
    return next((place.chart for place in places if place is not None), None)
