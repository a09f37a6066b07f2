"""metrics.jsonl: nothing is lost, doubled or invented, whatever happens to the file."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.errors import DiskFullError
from hrm_sweep.runs import MetricRow, MetricsFollower, MetricsWriter, cut_back, read_metrics

NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name not in ("kind", "step", "epoch", "time_s"))
NUMBERS = st.floats() | st.integers(-(10**9), 10**9)
GROUPS = st.dictionaries(st.text(max_size=8), NUMBERS, max_size=3)
finite = st.floats(0, 1e6)


@st.composite
def metric_rows(draw: st.DrawFn) -> MetricRow:
    names = draw(st.lists(NAMES.filter(lambda name: name != "act_histogram"), unique=True, max_size=5))
    split = draw(st.integers(0, len(names)))
    return MetricRow(
        kind=draw(st.sampled_from(["train", "eval"])),
        step=draw(st.integers(0, 10**9)),
        epoch=draw(finite),
        time_s=draw(finite),
        values={name: draw(NUMBERS) for name in names[:split]},
        modules={name: draw(GROUPS) for name in names[split:]},
        act_histogram=tuple(draw(st.lists(st.integers(0, 10**6), max_size=16))),
    )


def same(one: float, other: float) -> bool:
    """Equal to the eight digits that are written; NaN equals NaN."""
    return (math.isnan(one) and math.isnan(other)) or one == other or math.isclose(one, other, rel_tol=1e-7)


def row(step: int, kind: str = "train", **values: float) -> MetricRow:
    return MetricRow(kind, step, step / 10, step / 2, values)  # type: ignore[arg-type]


def lines(*rows: MetricRow) -> bytes:
    return b"".join(each.to_json().encode() + b"\n" for each in rows)


@given(metric_rows())
def test_a_row_comes_back_as_it_was_written(before: MetricRow) -> None:
    after = MetricRow.from_json(json.loads(before.to_json()))
    stamp = (before.kind, before.step, before.epoch, before.time_s, before.act_histogram)
    assert (after.kind, after.step, after.epoch, after.time_s, after.act_histogram) == stamp
    assert after.values.keys() == before.values.keys()
    assert after.modules.keys() == before.modules.keys()
    assert all(same(after.values[name], before.values[name]) for name in before.values)
    for group in before.modules:
        assert after.modules[group].keys() == before.modules[group].keys()
        assert all(same(after.modules[group][name], before.modules[group][name]) for name in before.modules[group])


def test_what_stands_in_the_file_is_json_that_any_reader_takes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        writer.write(
            MetricRow(
                "train",
                10,
                0.5,
                1.25,
                {"loss": math.nan, "lm_loss": math.inf, "q_halt_mean": -math.inf, "lr": 1 / 3, "count": 4},
                {"grad_norm": {"H_level": 2.0}},
                (1, 0, 3),
            )
        )

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(path.read_text(), parse_constant=refuse) == {
        "kind": "train",
        "step": 10,
        "epoch": 0.5,
        "time_s": 1.25,
        "loss": "NaN",
        "lm_loss": "Infinity",
        "q_halt_mean": "-Infinity",
        "lr": 0.33333333,
        "count": 4,
        "grad_norm": {"H_level": 2.0},
        "act_histogram": [1, 0, 3],
    }


def test_what_is_absent_stays_absent(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"kind": "train", "step": 1, "epoch": 0, "time_s": 0, "loss": 2, "accuracy": null}\n')
    (read,) = read_metrics(path)
    assert read.get("accuracy") is None
    assert read.get("act_steps") is None
    assert read.values == {"loss": 2.0}
    assert "accuracy" not in read.to_json()


def test_every_row_can_be_read_before_the_writer_closes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        for step in range(3):
            writer.write(row(step))
            assert [read.step for read in read_metrics(path)] == list(range(step + 1))


@given(rows=st.lists(metric_rows(), min_size=1, max_size=4), data=st.data())
def test_a_file_cut_anywhere_gives_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[MetricRow], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("torn") / "metrics.jsonl"
    whole = lines(*rows)
    kept = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(kept)
    complete = kept.count(b"\n") + (whole[len(kept) : len(kept) + 1] == b"\n")  # only the line end is missing
    assert [(read.kind, read.step) for read in read_metrics(path)] == [
        (each.kind, each.step) for each in rows[:complete]
    ]


@given(garbage=st.lists(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), max_size=5))
def test_garbage_between_rows_is_left_out(tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("garbage") / "metrics.jsonl"
    path.write_bytes(b"\n".join([*garbage, lines(row(1))]) + b"\n".join([*garbage, lines(row(2))]))
    assert [read.step for read in read_metrics(path)] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "null",
        '"row"',
        '{"kind": "train"}',
        '{"kind": "holdout", "step": 1, "epoch": 1, "time_s": 1}',
        '{"kind": "train", "step": "one", "epoch": 1, "time_s": 1}',
        '{"kind": "train", "step": Infinity, "epoch": 1, "time_s": 1}',
        '{"kind": "train", "step": 1, "epoch": 1, "time_s": 1, "loss": 1' + "0" * 400 + "}",
        '{"kind": "train", "step": 1, "epoch": 1, "time_s": 1, "act_histogram": 3}',
        "[" * 100_000,
        "\x00" * 64,
    ],
    ids=lambda line: line[:30],
)
def test_a_line_that_is_no_row_is_left_out(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(lines(row(1)) + line.encode() + b"\n" + lines(row(2)))
    assert [read.step for read in read_metrics(path)] == [1, 2]
    assert [read.step for read in MetricsFollower(path).new_rows()] == [1, 2]


def test_what_a_newer_version_adds_does_not_cost_the_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    newer = {"loss": 2, "set": "all", "per_set": [1], "x": {"y": "z"}}
    path.write_text(json.dumps({"kind": "eval", "step": 1, "epoch": 1, "time_s": 1, **newer}) + "\n")
    (read,) = read_metrics(path)
    assert (read.values, read.modules) == ({"loss": 2.0}, {"x": {}})


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    assert MetricsFollower(tmp_path / "metrics.jsonl").new_rows() == []
    assert cut_back(tmp_path / "metrics.jsonl", 0, tmp_path / "lost") == 0
    assert list(tmp_path.iterdir()) == []


@given(count=st.integers(0, 12), cuts=st.lists(st.integers(0, 1500), max_size=20))
def test_a_follower_gives_every_row_once_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, count: int, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("grows") / "metrics.jsonl"
    whole = lines(*(row(step, "eval" if step % 3 == 0 else "train", loss=step / 7) for step in range(count)))
    follower = MetricsFollower(path)
    given_steps = []
    ends = sorted({min(cut, len(whole)) for cut in [0, *cuts, len(whole)]})
    for start, end in itertools.pairwise(ends):
        with path.open("ab") as handle:
            handle.write(whole[start:end])
        given_steps += [read.step for read in follower.new_rows()]
        given_steps += [read.step for read in follower.new_rows()]
    assert given_steps == list(range(count))


@given(
    parts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12), st.booleans()), min_size=1, max_size=5),
    torn=st.binary(max_size=5).filter(lambda data: b"\n" not in data),
)
def test_a_follower_gives_every_step_once_across_resumes(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int, bool]], torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("resumes") / "metrics.jsonl"
    follower = MetricsFollower(path)
    given_steps: list[int] = []
    step = 0
    for attempt, (grow, back, look) in enumerate(parts):  # train some steps, be killed in mid-line, resume earlier
        with path.open("ab") as handle:  # times differ, and so do the lengths of the lines
            handle.write(lines(*(row(each, s=1 / 3**attempt) for each in range(step + 1, step + grow + 1))) + torn)
        if look:
            given_steps += [read.step for read in follower.new_rows()]
        step = max(0, step + grow - back)
        cut_back(path, step, path.with_name("lost"))
    with path.open("ab") as handle:
        handle.write(lines(*(row(each) for each in range(step + 1, 60))))
    given_steps += [read.step for read in follower.new_rows()]
    assert sorted(given_steps) == list(range(1, 60))


@given(
    steps=st.lists(st.integers(0, 9), max_size=8).map(sorted), step=st.integers(-1, 10), torn=st.sampled_from(["", "{"])
)
def test_cut_back_moves_what_lies_after_a_step(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], step: int, torn: str
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path, lost = folder / "metrics.jsonl", folder / "lost"
    path.write_bytes(lines(*(row(each) for each in steps)) + torn.encode())
    cut = cut_back(path, step, lost)
    assert [read.step for read in read_metrics(path)] == [each for each in steps if each <= step]
    assert [read.step for read in read_metrics(lost)] == [each for each in steps if each > step]
    assert cut == sum(each > step for each in steps) + len(torn)
    before = path.read_bytes()
    assert cut_back(path, step, lost) == 0
    assert path.read_bytes() == before


def test_after_a_cut_the_next_row_has_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(lines(row(1), row(2)).rstrip(b"\n"))  # the disk was full before the line end
    assert cut_back(path, 2, tmp_path / "lost") == 0
    with MetricsWriter(path) as writer:
        writer.write(row(3))
    assert [read.step for read in read_metrics(path)] == [1, 2, 3]


def test_two_cuts_keep_all_that_was_lost(tmp_path: Path) -> None:
    path, lost = tmp_path / "metrics.jsonl", tmp_path / "lost"
    path.write_bytes(lines(row(1), row(2), row(3)))
    assert cut_back(path, 2, lost) == 1
    assert cut_back(path, 1, lost) == 1
    assert [read.step for read in read_metrics(lost)] == [3, 2]


def test_a_full_disk_is_said_to_be_full() -> None:
    expected = r"/dev/full: could not be written: No space left on device; free some"
    with MetricsWriter(Path("/dev/full")) as writer, pytest.raises(DiskFullError, match=expected):
        writer.write(row(1))
