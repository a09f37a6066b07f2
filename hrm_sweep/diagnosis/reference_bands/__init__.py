"""What healthy runs look like: recorded bands of the smallest preset, and the published run as a shape."""

from hrm_sweep.diagnosis.reference_bands.fitting import Fit, Reference, reference_for
from hrm_sweep.diagnosis.reference_bands.recorded import (
    PUBLISHED_SHAPES,
    QUANTILES,
    TINY_BANDS,
    Band,
    PublishedShapes,
    Puzzles,
    RecordedBands,
    Shape,
    published_shapes,
    tiny_bands,
)

__all__ = [
    "PUBLISHED_SHAPES",
    "QUANTILES",
    "TINY_BANDS",
    "Band",
    "Fit",
    "PublishedShapes",
    "Puzzles",
    "RecordedBands",
    "Reference",
    "Shape",
    "published_shapes",
    "reference_for",
    "tiny_bands",
]
