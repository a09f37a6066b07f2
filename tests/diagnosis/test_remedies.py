"""Every remedy that a rule proposes loads, can start, and cures what the configuration alone has caused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_every_rule import FIRES, GUESSING, Row, both, config, evaluations, halts, status, unsolved

from hrm_sweep.config import RunConfig, apply_overrides, config_from_mapping, config_text, load_config
from hrm_sweep.data import open_folder
from hrm_sweep.diagnosis import Evidence, Verdict, all_rules, gather_evidence
from hrm_sweep.diagnosis.engine import judge
from hrm_sweep.diagnosis.remedies import in_stages, more_eval_puzzles
from hrm_sweep.planning.lint import Level, lint

SUDOKU = Path(__file__).parent.parent / "fixtures" / "sudoku-4x4"


def shrunk(row: Row) -> Row:
    if row["step"] > 500 and "weight_norm" in row:
        row["weight_norm"]["H_level"] = 1e-3
    return row


# Cases in which a rule proposes something else than in its plainest one.
MORE: dict[str, tuple[str, Any]] = {
    "exploration off and stuck": (
        "act_exploration_off",
        both(FIRES["act_exploration_off"], halts(0, 0, 0, 0, 0, 0, 0, 90, exact=0.2)),
    ),
    "both of two steps": (
        "act_constant",
        both(config(arch__halt_max_steps=2, arch__halt_exploration_prob=0), halts(0, 90, exact=0.6)),
    ),
    "halting at once, exploration low": (
        "act_collapsed",
        both(config(arch__halt_exploration_prob=0.01), FIRES["act_collapsed"]),
    ),
    "a batch that wastes data": ("batch_swallows_data", config(global_batch_size=640, epochs=6, eval_interval=1)),
    "a batch that wastes all of a short run": (
        "batch_swallows_data",
        config(global_batch_size=640, epochs=1, eval_interval=1),
    ),
    "a collapse with a constant rate": ("late_collapse", both(config(lr_min_ratio=1.0), evaluations(0.1, 0.8, 0.2))),
    "an embedding frozen by choice": ("frozen_puzzle_embedding", config(puzzle_emb_lr=0)),
    "no learning at all": ("lr_out_of_range", both(config(lr=0), lambda case: case.rows(unsolved))),
    "a rate that goes nowhere": ("lr_out_of_range", both(config(lr=1e-7), lambda case: case.rows(unsolved))),
    "an embedding rate of 3": ("lr_out_of_range", config(puzzle_emb_lr=3)),
    "nan when nearly solved": (
        "non_finite",
        both(lambda case: case.set("train", exact_accuracy=0.97), FIRES["non_finite"]),
    ),
    "nan when nearly solved, and stopping at that": (
        "non_finite",
        both(config(stop_when_solved=0.9), lambda case: case.set("train", exact_accuracy=0.97), FIRES["non_finite"]),
    ),
    "nan in a short run": ("non_finite", both(config(epochs=20, lr_warmup_steps=5), FIRES["non_finite"])),
    "few puzzles evaluated": (
        "evaluation_noise",
        both(config(eval_puzzles=40), lambda case: case.set("eval", count=40)),
    ),
    "no memory for one row": ("out_of_memory", both(config(global_batch_size=1), FIRES["out_of_memory"])),
    "no step before an error": (
        "no_optimizer_steps",
        lambda case: case.without("metrics.jsonl").status(state="failed", step=0),
    ),
    "decay within bounds, weights shrunk": (
        "weight_decay_dominant",
        lambda case: case.set("train", **GUESSING).set("eval", **GUESSING).rows(shrunk),
    ),
    "the same without memory left": ("out_of_memory", both(config(lr=0), status(state="failed", cause="oom"))),
}

CASES = {rule: (rule, change) for rule, change in FIRES.items()} | MORE

BY_CONFIGURATION = {
    "act_exploration_off",
    "act_single_step",
    "batch_swallows_data",
    "frozen_puzzle_embedding",
    "lr_out_of_range",
    "no_optimizer_steps",
    "puzzle_embedding_disabled",
    "too_few_steps",
    "warmup_never_ends",
    "weight_decay_dominant",
    "weight_decay_inert",
}
"""Rules that look at the configuration and its plan; they may ask besides whether puzzles are solved all the same."""


@pytest.mark.parametrize("name", CASES)
def test_a_remedy_loads_changes_something_and_can_start(healthy: Any, name: str) -> None:
    rule, change = CASES[name]
    case = change(healthy)
    finding = case.finding(rule)
    if not finding.remedy:
        return
    before = load_config(case.path)
    after = load_config(case.path, finding.remedy)
    assert [key for key in finding.remedy if before.get(key) != after.get(key)]
    assert errors_of(after) == []


@pytest.mark.parametrize("name", [name for name, (rule, _) in CASES.items() if rule in BY_CONFIGURATION])
def test_the_remedy_of_a_configuration_silences_the_rule(healthy: Any, name: str) -> None:
    rule, change = CASES[name]
    case = change(healthy)
    finding = case.finding(rule)
    if finding.remedy:
        cured = case.config(**finding.remedy).finding(rule)
        assert cured.verdict is not Verdict.FIRED, cured


def test_the_rules_that_promise_a_remedy_have_one(healthy: Any) -> None:
    """What the tests above rest on: that there is something to look at."""
    without = {
        name
        for name, (rule, change) in CASES.items()
        if rule in BY_CONFIGURATION and not _copied(healthy, change, name)
    }
    assert without == {
        "no step before an error",
        "decay within bounds, weights shrunk",
        "frozen_puzzle_embedding",  # in spite of its configuration
        "weight_decay_inert",
    }


def _copied(healthy: Any, change: Any, name: str) -> Any:
    copy = dataclasses.replace(healthy, path=healthy.path.parent / name)
    shutil.copytree(healthy.path, copy.path)
    return change(copy).finding(CASES[name][0]).remedy


def errors_of(changed: RunConfig) -> list[str]:
    metadata = open_folder(SUDOKU).train.metadata
    return [str(found) for found in lint(changed, metadata) if found.level is Level.ERROR]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A healthy run of which no metrics are left: only its configuration, its plan and its puzzles speak."""
    path = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(Path(__file__).parent.parent / "fixtures" / "runs" / "healthy", path)
    (path / "metrics.jsonl").unlink()
    return gather_evidence(path, data=SUDOKU)


CONFIGURATIONS = st.fixed_dictionaries(
    {
        "global_batch_size": st.integers(1, 3000),
        "epochs": st.integers(1, 60),
        "lr": st.one_of(st.just(0.0), st.floats(1e-9, 10.0)),
        "lr_warmup_steps": st.integers(0, 5000),
        "weight_decay": st.floats(0.0, 100.0),
        "puzzle_emb_lr": st.floats(0.0, 5.0),
        "arch.hidden_size": st.sampled_from([16, 64, 128, 256, 512]),
        "arch.puzzle_emb_ndim": st.sampled_from([0, 16, 64]),
        "arch.halt_max_steps": st.integers(1, 16),
        "arch.halt_exploration_prob": st.sampled_from([0.0, 0.05, 0.1]),
    }
)


@given(overrides=CONFIGURATIONS, intervals=st.integers(1, 5))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_configuration_its_remedies_cure_it(
    evidence: Evidence, overrides: dict[str, Any], intervals: int
) -> None:
    assert evidence.recorded.config is not None
    changes = {**overrides, "epochs": overrides["epochs"] * intervals, "eval_interval": overrides["epochs"]}
    sick = _with(evidence, evidence.recorded.config, changes)
    for rule in all_rules():
        if rule.id in BY_CONFIGURATION:
            finding = judge(rule, sick)
            if finding.verdict is Verdict.FIRED and finding.remedy:
                cured = _with(evidence, sick.config, finding.remedy)
                assert judge(rule, cured).verdict is not Verdict.FIRED, (finding, judge(rule, cured))
                assert cured.config != sick.config
                assert errors_of(cured.config) == [] or errors_of(sick.config) != []


def _with(evidence: Evidence, base: RunConfig, changes: Any) -> Evidence:
    content = apply_overrides(base.to_mapping(), changes, "test")
    recorded = dataclasses.replace(evidence.recorded, config=config_from_mapping(content, "test"))
    return dataclasses.replace(evidence, recorded=recorded)


def test_a_remedy_of_a_run_in_stages_changes_its_stage(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(SUDOKU.parent / "runs" / "healthy", run)
    stages = [{"epochs": 20, "overrides": {"lr": 1e-5}}, {"epochs": 40, "overrides": {"arch.halt_max_steps": 4}}]
    config = load_config(run, {"stages": stages, "eval_interval": 20})
    (run / "config.yaml").write_text(config_text(config))
    evidence = gather_evidence(run, data=SUDOKU)
    asked = {"epochs": 120, "lr": 1e-3, "weight_decay": 0.1}
    assert evidence.stage == 0
    assert in_stages(evidence, asked) == {
        "stages.1.epochs": 100,
        "stages.0.overrides.lr": 1e-3,
        "weight_decay": 0.1,
    }
    changed = load_config(run, in_stages(evidence, asked))
    assert (changed.epochs, changed.stage(0).lr, changed.stage(1).lr) == (120, 1e-3, config.lr)
    plain = gather_evidence(SUDOKU.parent / "runs" / "healthy", data=SUDOKU)
    assert in_stages(plain, asked) is asked


@pytest.mark.parametrize("set_to", [1, 10, 10_000])
def test_no_more_puzzles_are_proposed_than_there_are(evidence: Evidence, set_to: int) -> None:
    there = open_folder(SUDOKU).test.n_examples // 2
    recorded = dataclasses.replace(
        evidence.recorded, config=evidence.config.model_copy(update={"eval_puzzles": set_to})
    )
    remedy = more_eval_puzzles(dataclasses.replace(evidence, recorded=recorded))
    assert remedy == ({"eval_puzzles": there} if set_to < there else None)
