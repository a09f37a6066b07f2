"""The figures of a study: small whatever its size, honest about what is left out, without a number that is none."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.report.failure_map import failure_map
from hrm_sweep.report.study_figures import StudyPoints, TrialPoint, spread, study_figures

OUTCOMES = ("complete", "complete", "complete", "pruned", "failed")
LARGEST = 60_000  # characters


def trial(number: int, outcome: str | None = None, best: float | None = None, **changes: Any) -> TrialPoint:
    outcome = outcome or OUTCOMES[number % len(OUTCOMES)]
    reason = {"pruned": "median", "failed": "nan"}.get(outcome)
    curve = [(epoch, 0.5 + 0.4 * math.sin(number + epoch)) for epoch in range(1, 61)]
    values = {"lr": 1e-4 * (1 + number % 97), "arch.H_cycles": 1 + number % 3}
    best = 0.5 + 0.4 * math.sin(number) if best is None else best
    one: dict[str, Any] = {"curve": curve, "best": best, "flops": 1e12 * (1 + number % 13), "act_steps": 1 + number % 7}
    return TrialPoint(number, outcome, reason, values, **(one | changes))


def figures(*trials: TrialPoint, maximize: bool = True) -> dict[str, Any]:
    drawn = study_figures(StudyPoints("exact_accuracy", maximize, ["lr", "arch.H_cycles"], trials))
    assert all(len(text) < LARGEST for text in drawn.values())
    return {name: json.loads(text, parse_constant=pytest.fail) for name, text in drawn.items()}


def title(figure: dict[str, Any]) -> str:
    return str(figure["layout"]["title"]["text"])


def numbers(trace: dict[str, Any]) -> set[int]:
    return {int(text) for text in trace["text"] if text is not None}


def test_a_small_study_is_drawn_whole_a_colour_for_each_outcome() -> None:
    drawn = figures(*(trial(number) for number in range(20)))
    curves = {trace["name"]: trace for trace in drawn["learning-curves"]["data"]}
    assert set(curves) == {"complete", "pruned", "failed"}
    assert set().union(*(numbers(trace) for trace in curves.values())) == set(range(20))
    assert len({trace["line"]["color"] for trace in curves.values()}) == 3
    assert curves["pruned"]["x"].count(None) == 4  # the pen is lifted after each of four trials
    assert "trials are drawn" not in json.dumps(drawn)


def test_5000_trials_stay_small_and_say_what_was_left_out() -> None:
    trials = [trial(number) for number in range(4999)]
    trials.append(trial(4999, "complete", 0.999, flops=5e11))
    drawn = figures(*trials)
    assert "of 5,000 trials are drawn" in title(drawn["learning-curves"])
    assert "of 5,000 trials are drawn" in title(drawn["accuracy-and-compute"])
    for name in ("learning-curves", "accuracy-and-compute", "accuracy-and-act-steps"):
        shown = set().union(*(numbers(trace) for trace in drawn[name]["data"]))
        assert 4999 in shown, name  # the best is always there
        assert {trace["name"] for trace in drawn[name]["data"]} >= {"complete", "pruned", "failed"}
    counts = [cell for row in drawn["where-trials-fail"]["data"][0]["text"] for cell in row]
    assert "1000 of 5000" not in counts
    assert sum(int(cell.split()[2]) for cell in counts) == 2 * 2 * 5000  # both parameters, both reasons, all trials


@pytest.mark.parametrize(("maximize", "front"), [(True, [0, 2, 3]), (False, [0, 1])])
def test_the_front_is_what_is_better_than_all_that_cost_no_more(maximize: bool, front: list[int]) -> None:
    points = [(1e12, 0.2), (2e12, 0.1), (3e12, 0.5), (4e12, 0.9), (5e12, 0.9)]
    trials = [trial(n, "complete", best, flops=flops) for n, (flops, best) in enumerate(points)]
    drawn = figures(*trials, maximize=maximize)["accuracy-and-compute"]["data"]
    assert [int(text) for text in drawn[0]["text"]] == front


def test_what_is_not_known_is_not_drawn() -> None:
    assert figures() == {}
    assert figures(TrialPoint(0, "running", None, {}, [], None)) == {}
    odd = trial(1, "complete", curve=[(1, math.nan), (2, 0.5), (3, math.inf)])
    (trace,) = figures(odd)["learning-curves"]["data"]
    assert trace["y"] == [0.5, None]


def test_the_failure_map_counts_each_range_of_each_parameter() -> None:
    ended = [("complete", None, {"lr": 1e-3, "kind": "a"}), ("failed", "oom", {"lr": 1e-2, "kind": "b"})]
    found = failure_map([*ended, ("running", None, {"lr": 1.0})], ["lr", "kind"])
    assert found is not None
    (heat,) = found["data"]
    assert heat["x"] == ["failed: oom"]
    assert dict(zip(heat["y"], heat["text"], strict=True)) == {
        "lr 0.001": ["0 of 1"],
        "lr 0.01": ["1 of 1"],
        "kind a": ["0 of 1"],
        "kind b": ["1 of 1"],
    }
    assert failure_map([ended[0]], ["lr"]) is None


@given(
    st.lists(st.tuples(st.sampled_from(["complete", "pruned"]), st.floats(1e-9, 1e9)), min_size=1, max_size=60),
)
def test_every_trial_is_in_exactly_one_range(trials: list[tuple[str, float]]) -> None:
    ended = [(outcome, None, {"lr": value}) for outcome, value in trials]
    found = failure_map([*ended, ("pruned", None, {"lr": 1.0})], ["lr"])
    assert found is not None
    assert sum(int(row[0].split()[2]) for row in found["data"][0]["text"]) == len(trials) + 1


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_spread_is_in_order_without_doubles_and_has_both_ends(items: int, most: int) -> None:
    found = spread(list(range(items)), most)
    assert found == sorted(set(found))
    assert len(found) == min(items, most)
    if found:
        assert found[-1] == items - 1
    if most > 1:
        assert found[:1] == [0][:items]
