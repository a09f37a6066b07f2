"""The search space that a study's diagnosis asks for: narrower, wider, by cells, and nothing else changed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from small_studies import STORAGE

from hrm_sweep.diagnosis import diagnose_study
from hrm_sweep.diagnosis.edges import Edge, Side
from hrm_sweep.diagnosis.regions import Region, Relation
from hrm_sweep.diagnosis.study_evidence import StudyParameter
from hrm_sweep.sweep.keys import limits
from hrm_sweep.sweep.parameters import Parameter
from hrm_sweep.sweep.space import load_space, space_from_mapping
from hrm_sweep.sweep.space_proposal import Proposal, narrowed, propose_space, widened
from hrm_sweep.sweep.space_text import space_text
from hrm_sweep.sweep.study import Study, create_or_continue
from hrm_sweep.sweep.study_evidence import gather_study_evidence

LOW, HIGH = Side.LOWER, Side.UPPER


@pytest.mark.parametrize(
    ("name", "before", "region", "after"),
    [
        ("lr", {"min": 1e-5, "max": 1e-1, "log": True}, (Relation.ABOVE, 3e-3), {"max": 3e-3}),
        ("lr", {"min": 1e-5, "max": 1e-1, "log": True}, (Relation.BELOW, 3e-5), {"min": 3e-5}),
        ("lr", {"min": 1e-5, "max": 1e-1}, (Relation.OUTSIDE, 3e-5, 3e-3), {"min": 3e-5, "max": 3e-3}),
        ("lr", {"min": 0.1, "max": 0.5, "step": 0.1}, (Relation.ABOVE, 0.25), {"max": 0.2}),
        ("epochs", {"min": 10, "max": 50, "step": 20}, (Relation.AT_MOST, 10), {"min": 30}),
        ("arch.H_cycles", {"min": 1, "max": 4}, (Relation.AT_LEAST, 3), {"max": 2}),
        ("arch.H_cycles", {"min": 1, "max": 4}, (Relation.AT_LEAST, 1), None),
        ("arch.halt_max_steps", {"values": [2, 4, 8]}, (Relation.AT_LEAST, 8), {"values": (2, 4)}),
        ("arch.pos_encodings", {"values": ["rope", "learned"]}, (Relation.EQUAL, "rope"), {"values": ("learned",)}),
    ],
)
def test_a_region_is_left_out(name: str, before: Any, region: Any, after: Any) -> None:
    parameter = Parameter(**before)
    expected = None if after is None else parameter.model_copy(update=after)
    found = narrowed(name, parameter, Region(name, *region))
    assert found == expected or (found is not None and found.range == pytest.approx(expected.range))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "before", "side", "after"),
    [
        ("lr", {"min": 1e-4, "max": 1e-2, "log": True}, HIGH, {"max": 0.1}),  # half of two decades
        ("lr", {"min": 1e-4, "max": 1e-2, "log": True}, LOW, {"min": 1e-5}),
        ("lr", {"min": 1e-6, "max": 1e-2, "log": True}, HIGH, {"max": 0.1}),  # ten times at most
        ("lr", {"min": 1e-3, "max": 2e-3, "log": True}, HIGH, {"max": 4e-3}),  # twice at least
        ("weight_decay", {"min": 0.1, "max": 0.3}, HIGH, {"max": 0.4}),
        ("weight_decay", {"min": 0.1, "max": 0.5}, LOW, {"min": 0.0}),  # not below 0
        ("arch.halt_exploration_prob", {"min": 0.5, "max": 0.9}, HIGH, {"max": 1.0}),
        ("arch.halt_exploration_prob", {"min": 0.5, "max": 1.0}, HIGH, None),
        ("arch.H_cycles", {"min": 1, "max": 4}, HIGH, {"max": 6}),
        ("arch.H_cycles", {"min": 1, "max": 4}, LOW, None),
        ("epochs", {"min": 10, "max": 50, "step": 20}, HIGH, {"max": 70}),
        ("arch.halt_max_steps", {"values": [2, 4, 8]}, HIGH, {"values": (2, 4, 8, 16)}),
        ("arch.halt_max_steps", {"values": [4, 8, 16]}, LOW, {"values": (2, 4, 8, 16)}),
        ("arch.halt_max_steps", {"values": [1, 2, 4]}, LOW, None),
        ("epochs", {"values": [10, 20, 30]}, HIGH, {"values": (10, 20, 30, 40)}),
    ],
)
def test_a_range_goes_on_within_what_is_allowed(name: str, before: Any, side: Side, after: Any) -> None:
    parameter = Parameter(**before)
    ends = parameter.values if parameter.values is not None else parameter.range
    least, most = limits(name)
    seen = StudyParameter(name, parameter.values, parameter.min, parameter.max, least=least, most=most)
    edge = Edge(seen, side, max(ends) if side is HIGH else min(ends), (5, 5), (0, 15), 0.001, is_edge=True)
    found = widened(name, parameter, edge)
    assert found == (None if after is None else parameter.model_copy(update=after))


PARAMETERS = {
    "lr": {"min": 1e-5, "max": 1e-1, "log": True},
    "arch.H_cycles": {"min": 1, "max": 3},
    "arch.halt_max_steps": {"values": [2, 4, 8]},
}
DISTRIBUTIONS = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "arch.H_cycles": IntDistribution(1, 3),
    "arch.halt_max_steps": CategoricalDistribution((2, 4, 8)),
}
Fate = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def studied(folder: Path, sudoku_4x4: Path) -> Callable[..., Study]:
    """Makes a study of 30 trials that ended as `fate` says, on real puzzles, so that its space can be linted."""

    def make(fate: Fate, **changes: Any) -> Study:
        content: dict[str, Any] = {
            "name": "mine",
            "base": "hrm_v1_tiny",
            "overrides": {"data_path": str(sudoku_4x4), "epochs": 20, "eval_interval": 5},
            "parameters": PARAMETERS,
            "first": [{"lr": 1e-3}, {"lr": 5e-2}],
            "pruner": {"zero_accuracy": {"epoch": 20}, "diagnosis": None},
        }
        space = space_from_mapping({**content, **changes}, "mine.yaml")
        study = create_or_continue(STORAGE, "mine", space)
        rng = random.Random(0)
        for _ in range(30):
            values = {
                "lr": 10 ** rng.uniform(-5, -1),
                "arch.H_cycles": rng.randint(1, 3),
                "arch.halt_max_steps": rng.choice((2, 4, 8)),
            }
            told = {"state": TrialState.COMPLETE, **fate(values)}
            study.optuna.add_trial(create_trial(params=values, distributions=DISTRIBUTIONS, **told))
        return study

    return make


def proposal_of(study: Study) -> Proposal:
    evidence = gather_study_evidence(study)
    return propose_space(study, evidence, diagnose_study(evidence))


def hot_is_nan(values: dict[str, Any]) -> dict[str, Any]:
    if values["lr"] > 5e-3:
        return {"state": TrialState.FAIL, "user_attrs": {"cause": "nan"}}
    return {"value": 0.5 - 0.1 * abs(math.log10(values["lr"] / 3e-4))}


def test_the_hot_end_is_left_out_and_a_first_point_with_it(studied: Callable[..., Study]) -> None:
    study = studied(hot_is_nan)
    proposal = proposal_of(study)
    assert [change.key for change in proposal.changes] == ["lr", "first"]
    assert proposal.space.name == "mine-2"
    lr = proposal.space.parameters["lr"]
    assert lr.min == 1e-5
    assert 2e-3 < lr.max < 1e-2
    assert proposal.space.first == ({"lr": 1e-3},)
    unchanged = {"parameters", "first", "name"}
    assert proposal.space.model_dump(exclude=unchanged) == study.space.model_dump(exclude=unchanged)


def test_the_file_says_why_and_reads_back_as_the_same_space(studied: Callable[..., Study], folder: Path) -> None:
    proposal = proposal_of(studied(hot_is_nan))
    path = folder / "next.yaml"
    path.write_text(space_text(proposal, "why this file is here"))
    lines = path.read_text().splitlines()
    assert lines[0] == "# why this file is here"
    assert "base: hrm_v1_tiny" in lines
    at = next(index for index, line in enumerate(lines) if line.startswith("  lr: "))
    assert lines[at - 1].startswith("  # was 1e-05 to 0.1; failed (nan) only where lr > 0.00")
    assert load_space(str(path)).frozen() == proposal.space


def test_more_is_proposed_where_the_best_lie_at_an_end(studied: Callable[..., Study]) -> None:
    steps = {2: 0.1, 4: 0.3, 8: 0.6}
    proposal = proposal_of(studied(lambda values: {"value": steps[values["arch.halt_max_steps"]] + values["lr"] / 10}))
    assert [change.key for change in proposal.changes] == ["arch.halt_max_steps"]
    assert proposal.space.parameters["arch.halt_max_steps"].values == (2, 4, 8, 16)
    assert proposal.changes[0].why.startswith("was 2, 4, 8; arch.halt_max_steps near 8, its upper end: ")


def test_cells_are_proposed_where_no_puzzle_is_solved(studied: Callable[..., Study]) -> None:
    proposal = proposal_of(studied(lambda values: {"value": 0.0}))
    assert [change.key for change in proposal.changes] == ["objective"]
    assert proposal.space.objective.metric == "accuracy"


def test_nothing_is_proposed_for_a_healthy_study(studied: Callable[..., Study]) -> None:
    proposal = proposal_of(studied(lambda values: {"value": 0.5 - 0.1 * abs(math.log10(values["lr"] / 1e-3))}))
    assert proposal.changes == ()


def test_a_region_with_one_of_the_best_trials_stays(studied: Callable[..., Study]) -> None:
    """Failing often is no reason to give up where the best trials come from."""
    seen: list[int] = []

    def fate(values: dict[str, Any]) -> dict[str, Any]:
        if values["lr"] > 5e-3 and len(seen) < 6:
            seen.append(1)
            return {"state": TrialState.FAIL, "user_attrs": {"cause": "nan"}}
        return {"value": min(0.9, 10 * values["lr"])}

    study = studied(fate)
    found = diagnose_study(gather_study_evidence(study)).leading
    assert found is not None
    assert found.rule == "failing_region"
    assert "lr" not in [change.key for change in proposal_of(study).changes if "nan" in change.why]


def test_what_would_not_lint_is_left_out_and_said(studied: Callable[..., Study]) -> None:
    """More heads would be the next number of the list, but they do not divide the width."""

    def fate(values: dict[str, Any]) -> dict[str, Any]:
        return {"value": 0.1 * values["arch.H_cycles"] + values["lr"]}

    study = studied(fate)
    parameters = {**study.space.parameters, "arch.num_heads": Parameter(values=(1, 2, 4))}
    changed = study.space.model_copy(
        update={"parameters": parameters, "overrides": {**study.space.overrides, "arch.hidden_size": 8}}
    )
    edged = Study(study.name, study.storage_url, changed, study.optuna, study.storage)
    for number, trial in enumerate(study.trials()):
        heads = (1, 2, 4)[number % 3]
        study.optuna.add_trial(
            create_trial(
                params={**trial.params, "arch.num_heads": heads},
                distributions={**DISTRIBUTIONS, "arch.num_heads": CategoricalDistribution((1, 2, 4))},
                value=0.2 * heads + trial.params["lr"],
            )
        )
    proposal = proposal_of(edged)
    assert "arch.num_heads" not in [change.key for change in proposal.changes]
    assert any(line.startswith("arch.num_heads: was 1, 2, 4; ") and "num_heads 8" in line for line in proposal.left_out)


def test_a_name_that_is_taken_is_not_given_again(studied: Callable[..., Study]) -> None:
    study = studied(hot_is_nan)
    optuna.create_study(study_name="mine-2", storage=study.storage)
    assert proposal_of(study).space.name == "mine-3"


def test_every_part_of_a_space_survives_the_file(studied: Callable[..., Study], folder: Path, sudoku_4x4: Path) -> None:
    study = studied(
        hot_is_nan,
        base={"epochs": 20, "eval_interval": 5, "arch": {"hidden_size": 16, "num_heads": 2}},
        overrides={"data_path": str(sudoku_4x4)},
        objective={"metric": "accuracy"},
        first=[],
        parameters={**PARAMETERS, "lr_warmup_steps": {"min": 20, "max": 40, "when": {"lr": "> 1e-3"}}},
        sampler={"name": "random", "seed": 7},
        pruner={"patient": {"patience": 3, "around": "median"}},
        budget={"trials": 50, "hours": 1.5},
        resources={"jobs": 2, "stall_minutes": 5},
        retry={"oom": 2},
        audit=0.25,
    )
    proposal = proposal_of(study)
    (folder / "next.yaml").write_text(space_text(proposal, "all parts"))
    assert load_space(str(folder / "next.yaml")).frozen() == proposal.space
