"""Run directories of any origin are read into one form; metrics become columns without losing what they mean."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.runs import MetricRow, MetricsWriter
from hrm_sweep.runs.formats import Source, read_curves, read_run

NAMES = st.sampled_from(["loss", "lm_loss", "exact_accuracy", "count"])
VALUES = st.floats(width=32)
ROWS = st.lists(
    st.builds(
        MetricRow,
        kind=st.sampled_from(["train", "eval"]),
        step=st.integers(0, 10**6),
        epoch=st.floats(0, 10, width=16),
        time_s=st.floats(0, 10, width=16),
        values=st.dictionaries(NAMES, VALUES),
        modules=st.dictionaries(st.sampled_from(["grad_norm", "puzzle_emb"]), st.dictionaries(NAMES, VALUES)),
        act_histogram=st.lists(st.integers(0, 99), max_size=4).map(tuple),
    ),
    max_size=20,
)


@given(ROWS)
def test_every_value_written_is_found_at_its_step_and_nothing_else(tmp_path_factory, rows) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        for row in rows:
            writer.write(row)
    train, evaluation, left_out = read_curves(path)
    assert left_out == 0
    for kind, curves in (("train", train), ("eval", evaluation)):
        own = [row for row in rows if row.kind == kind]
        assert curves.step.tolist() == [row.step for row in own]
        expected: dict[str, list[tuple[int, float]]] = {}
        for row in own:
            flat = dict(row.values) | {f"{g}.{n}": v for g, by in row.modules.items() for n, v in by.items()}
            for name, value in flat.items():
                expected.setdefault(name, []).append((row.step, value))
        assert set(curves.columns) == set(expected)
        for name, pairs in expected.items():
            assert curves.columns[name].step.tolist() == [step for step, _ in pairs]
            np.testing.assert_allclose(curves.columns[name].value, [value for _, value in pairs], rtol=1e-7)
        assert curves.histogram_step.tolist() == [row.step for row in own if row.act_histogram]
        assert curves.histogram.sum() == sum(sum(row.act_histogram) for row in own)


def test_lines_that_are_no_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    good = json.dumps({"kind": "train", "step": 1, "epoch": 0.1, "time_s": 1, "loss": "NaN", "accuracy": None})
    path.write_text(f'{good}\n[1]\n{{"kind": "train"}}\n{{"kind": "train", "step": 2, "epo')
    train, _, left_out = read_curves(path)
    assert left_out == 3
    assert math.isnan(train.columns["loss"].last)
    assert "accuracy" not in train.columns


def test_values_at_steps_are_nan_where_nothing_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        for step in (10, 20, 40):
            writer.write(MetricRow("train", step, 0.0, 0.0, {"loss": float(step)}))
    loss = read_curves(path)[0].columns["loss"]
    np.testing.assert_equal(loss.at(np.array([5, 20, 30, 40])), [math.nan, 20.0, math.nan, 40.0])


def test_a_run_of_the_reference_is_recognised() -> None:
    run = read_run(Path(__file__).parent.parent / "fixtures" / "official_runs" / "healthy")
    assert run.source is Source.REFERENCE
    assert [step for step, _ in run.weights] == [312, 624, 936]
    assert run.config is not None
    assert run.config.arch.halt_max_steps == 8
