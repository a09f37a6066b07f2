"""Every rule fires on its fault, stays clear on a run without it, and says unknown where its data is missing.

The three tables name what is done to a copy of the healthy recorded run (or of one of the reference's). A rule that is
missing in a table fails the test: a new rule needs its three cases.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hrm_sweep.diagnosis import Severity, Verdict, all_rules

Change = Callable[[Any], Any]
Row = dict[str, Any]


def train(change: Callable[[Row], None]) -> Change:
    """Change every train row in place."""

    def apply(row: Row) -> Row:
        if row["kind"] == "train":
            change(row)
        return row

    return lambda case: case.rows(apply)


def group(name: str, **values: float | str) -> Change:
    """Set values of a group in every train row that has it."""
    return train(lambda row: row[name].update(values) if name in row else None)


def halts(*counts: int, exact: float | None = None) -> Change:
    """The same ACT histogram in every train row."""

    def change(row: Row) -> None:
        row["act_histogram"] = list(counts)
        row["count"] = sum(counts)
        row["act_steps"] = float(np.average(np.arange(1, len(counts) + 1), weights=counts))
        if exact is not None:
            row["exact_accuracy"] = exact

    return train(change)


def with_data(change: Callable[[str, dict[str, np.ndarray], Row], None]) -> Change:
    """Point the run at a changed copy of its puzzles: `change(split, arrays, metadata)` works in place."""
    return lambda case: case.with_changed_data(change)


def shuffled(split: str, arrays: dict[str, np.ndarray], metadata: Row) -> None:
    arrays["labels"] = np.roll(arrays["labels"], 1, axis=0)


def leaked(split: str, arrays: dict[str, np.ndarray], metadata: Row) -> None:
    if split == "train":
        arrays["inputs"][:200], arrays["labels"][:200] = leaked.test  # type: ignore[attr-defined]
    else:
        leaked.test = (arrays["inputs"], arrays["labels"])  # type: ignore[attr-defined]


def masked_givens(split: str, arrays: dict[str, np.ndarray], metadata: Row) -> None:
    arrays["labels"][arrays["inputs"] != 1] = 0


def all_equal(split: str, arrays: dict[str, np.ndarray], metadata: Row) -> None:
    arrays["labels"][:] = 2


def no_test_label_counts(split: str, arrays: dict[str, np.ndarray], metadata: Row) -> None:
    if split == "test":
        arrays["labels"][:] = 0


def unknown_identifiers(split: str, arrays: dict[str, np.ndarray], metadata: Row) -> None:
    metadata["num_puzzle_identifiers"] = 3
    arrays["puzzle_identifiers"][:] = 1 if split == "train" else 0


def known_identifiers(split: str, arrays: dict[str, np.ndarray], metadata: Row) -> None:
    metadata["num_puzzle_identifiers"] = 3
    arrays["puzzle_identifiers"][:] = 1


def environment(**values: Any) -> Change:
    def apply(case: Any) -> Any:
        file = case.path / "environment.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
        return case

    return apply


def both(*changes: Change) -> Change:
    def apply(case: Any) -> Any:
        for change in changes:
            case = change(case)
        return case

    return apply


def config(**values: Any) -> Change:
    return lambda case: case.config(**values)


def status(**values: Any) -> Change:
    return lambda case: case.status(**values)


def evaluations(*exact: float) -> Change:
    """Set the exact accuracy of the three evaluations, of 1000 puzzles each."""
    by_step = dict(zip((312, 624, 936), exact, strict=True))
    return lambda case: case.rows(
        lambda row: row | {"exact_accuracy": by_step[row["step"]], "count": 1000} if row["kind"] == "eval" else row
    )


def unsolved(row: Row) -> Row:
    return row | {"exact_accuracy": 0.0}


def spiky(row: Row) -> Row:
    return {**row, "lm_loss": 3.0} if row["kind"] == "train" and row["step"] % 200 == 0 else row


def rising_q_continue(row: Row) -> None:
    row["q_continue_loss"] = min(1.0, row["step"] / 700)
    row["exact_accuracy"] = 0.7


GUESSING = {"exact_accuracy": 0.0, "accuracy": 0.67, "lm_loss": 0.62}
HERE = {"host": "this one", "pid": 2**22, "started": "0"}

FIRES: dict[str, Change] = {
    "act_collapsed": halts(520, 50, 4, 0, 0, 0, 0, 0, exact=0.1),
    "act_constant": halts(0, 0, 0, 0, 0, 0, 0, 90, exact=0.6),
    "act_exploration_off": config(arch__halt_exploration_prob=0),
    "act_single_step": config(arch__halt_max_steps=1),
    "attention_broken": environment(attention_error=0.3),
    "batch_swallows_data": config(global_batch_size=30000),
    "blank_identifiers": with_data(unknown_identifiers),
    "crashed": status(state="failed", cause="bug", message="ZeroDivisionError"),
    "disk_full": status(state="failed", cause="storage"),
    "empty_evaluation": lambda case: case.set("eval", count=0),
    "evaluation_noise": lambda case: case,
    "exploding_loss": lambda case: case.set("train", after=700, lm_loss=9.0),
    "frozen_module": group("update_norm", L_level=0.0),
    "frozen_puzzle_embedding": group("puzzle_emb", mean_abs_movement=0.0),
    "frozen_q_head": group("update_norm", q_head=0.0),
    "givens_not_scored": with_data(masked_givens),
    "killed": lambda case: case.status(state="running").owned_by_a_dead_process(),
    "labels_contradict_inputs": with_data(shuffled),
    "labels_teach_nothing": with_data(all_equal),
    "late_collapse": evaluations(0.1, 0.8, 0.2),
    "loss_not_decreasing": lambda case: case.set("train", lm_loss=1.7),
    "loss_spikes": lambda case: case.rows(spiky),
    "lr_out_of_range": both(config(lr=1.0), lambda case: case.rows(unsolved)),
    "no_optimizer_steps": config(global_batch_size=30000),
    "non_finite": group("grad_norm", lm_head="NaN"),
    "out_of_memory": status(state="failed", cause="oom"),
    "overfit_gap": both(evaluations(0.2, 0.3, 0.29), lambda case: case.set("train", exact_accuracy=0.9)),
    "plateau": lambda case: case.set("train", after=500, lm_loss=0.5),
    "puzzle_embedding_disabled": config(arch__puzzle_emb_ndim=0),
    "puzzle_embedding_never_visited": group("puzzle_emb", rows_visited=0),
    "puzzle_embedding_poisoned": group("puzzle_emb", max_abs="Infinity"),
    "q_continue_unsettled": train(rising_q_continue),
    "q_diverging": lambda case: case.set("train", q_halt_mean=-200.0),
    "q_uninformative": lambda case: case.set("train", exact_accuracy=0.3, q_halt_loss=1.5),
    "stalled": lambda case: case.status(state="running", owner=HERE).last_written(hours_ago=2),
    "too_few_steps": both(config(epochs=10, eval_interval=10), lambda case: case.rows(unsolved)),
    "train_test_overlap": with_data(leaked),
    "updates_out_of_range": both(
        group("update_norm", H_level=9.0), lambda case: case.set("train", **GUESSING).set("eval", **GUESSING)
    ),
    "warmup_never_ends": config(lr_warmup_steps=2000),
    "weight_decay_dominant": both(
        config(weight_decay=10), lambda case: case.set("train", **GUESSING).set("eval", **GUESSING)
    ),
    "weight_decay_inert": lambda case: case,
    "zero_exact_dead": lambda case: case.set("train", **GUESSING).set("eval", **GUESSING),
    "zero_exact_learning": evaluations(0, 0, 0),
}

# The healthy run is clear of every rule but two, which inform about it.
CLEAR: dict[str, Change] = {
    "attention_broken": environment(attention_error=3e-7),
    "evaluation_noise": evaluations(0.0, 0.01, 0.11),
    "weight_decay_inert": config(weight_decay=1.0),
}

NO_METRICS: Change = lambda case: case.without("metrics.jsonl")  # noqa: E731
NO_CONFIG: Change = lambda case: case.without("config.yaml")  # noqa: E731
NO_STATUS: Change = lambda case: case.without("status.json")  # noqa: E731
NO_DATA: Change = lambda case: case.without_data()  # noqa: E731

UNKNOWN: dict[str, Change] = {
    "act_collapsed": NO_METRICS,
    "act_constant": NO_METRICS,
    "act_exploration_off": NO_CONFIG,
    "act_single_step": NO_CONFIG,
    "attention_broken": lambda case: case,
    "batch_swallows_data": NO_DATA,
    "blank_identifiers": NO_DATA,
    "crashed": NO_STATUS,
    "disk_full": NO_STATUS,
    "empty_evaluation": both(NO_METRICS, NO_DATA),
    "evaluation_noise": NO_METRICS,
    "exploding_loss": NO_METRICS,
    "frozen_module": NO_METRICS,
    "frozen_puzzle_embedding": NO_METRICS,
    "frozen_q_head": NO_METRICS,
    "givens_not_scored": NO_DATA,
    "killed": status(state="running", owner={"host": "another machine", "pid": 1, "started": "0"}),
    "labels_contradict_inputs": NO_DATA,
    "labels_teach_nothing": NO_DATA,
    "late_collapse": lambda case: case.until(400),
    "loss_not_decreasing": NO_METRICS,
    "loss_spikes": NO_METRICS,
    "lr_out_of_range": NO_CONFIG,
    "no_optimizer_steps": both(NO_METRICS, status(state="running", step=0)),
    "non_finite": NO_METRICS,
    "out_of_memory": NO_STATUS,
    "overfit_gap": NO_METRICS,
    "plateau": NO_METRICS,
    "puzzle_embedding_disabled": NO_CONFIG,
    "puzzle_embedding_never_visited": NO_METRICS,
    "puzzle_embedding_poisoned": NO_METRICS,
    "q_continue_unsettled": NO_METRICS,
    "q_diverging": NO_METRICS,
    "q_uninformative": NO_METRICS,
    "stalled": NO_STATUS,
    "too_few_steps": NO_CONFIG,
    "train_test_overlap": NO_DATA,
    "updates_out_of_range": NO_METRICS,
    "warmup_never_ends": NO_CONFIG,
    "weight_decay_dominant": NO_CONFIG,
    "weight_decay_inert": NO_CONFIG,
    "zero_exact_dead": NO_METRICS,
    "zero_exact_learning": NO_METRICS,
}

RULES = [rule.id for rule in all_rules()]


@pytest.mark.parametrize("rule", RULES)
def test_it_fires_on_its_fault_and_shows_evidence(healthy: Any, rule: str) -> None:
    finding = FIRES[rule](healthy).finding(rule)
    assert finding.verdict is Verdict.FIRED, finding
    assert finding.evidence
    assert finding.explanation.endswith((".", "Error"))
    assert finding.reference


@pytest.mark.parametrize("rule", RULES)
def test_it_stays_clear_without_its_fault(healthy: Any, rule: str) -> None:
    finding = CLEAR.get(rule, lambda case: case)(healthy).finding(rule)
    assert finding.verdict is Verdict.CLEAR, finding


@pytest.mark.parametrize("rule", RULES)
def test_it_says_unknown_and_what_is_missing(healthy: Any, rule: str) -> None:
    finding = UNKNOWN[rule](healthy).finding(rule)
    assert finding.verdict is Verdict.UNKNOWN, finding
    assert finding.explanation.startswith("Needs ")


def test_the_tables_name_no_rule_that_is_gone() -> None:
    assert set(FIRES) == set(UNKNOWN) == set(RULES)
    assert set(CLEAR) <= set(RULES)


# What is named first. Faults have symptoms, and a symptom named first sends the reader the wrong way.
LEADING: list[tuple[str, Change, str]] = [
    (
        "nan after a learning rate that is far too high",
        both(FIRES["lr_out_of_range"], FIRES["non_finite"]),
        "lr_out_of_range",
    ),
    (
        "a dead run with shuffled labels",
        both(with_data(shuffled), FIRES["zero_exact_dead"]),
        "labels_contradict_inputs",
    ),
    (
        "a dead run inside its warm-up",
        both(FIRES["zero_exact_dead"], config(lr_warmup_steps=1000)),
        "warmup_never_ends",
    ),
    ("a dead run with broken attention", both(FIRES["attention_broken"], FIRES["zero_exact_dead"]), "attention_broken"),
    ("a frozen Q head that never halts", both(FIRES["frozen_q_head"], FIRES["act_constant"]), "frozen_q_head"),
    (
        "exploration off and never halting",
        both(FIRES["act_exploration_off"], FIRES["act_constant"]),
        "act_exploration_off",
    ),
    (
        "a frozen embedding in a dead run",
        both(config(puzzle_emb_lr=0), FIRES["zero_exact_dead"]),
        "frozen_puzzle_embedding",
    ),
    ("a frozen module in a dead run", both(FIRES["frozen_module"], FIRES["zero_exact_dead"]), "frozen_module"),
    ("a batch larger than the data", FIRES["batch_swallows_data"], "batch_swallows_data"),
    ("a poisoned embedding after a NaN", both(FIRES["non_finite"], FIRES["puzzle_embedding_poisoned"]), "non_finite"),
    ("weight decay out of proportion", FIRES["weight_decay_dominant"], "weight_decay_dominant"),
    ("halting at once", FIRES["act_collapsed"], "act_collapsed"),
    ("a test set that leaks", FIRES["train_test_overlap"], "train_test_overlap"),
    ("an evaluation over nothing", with_data(no_test_label_counts), "empty_evaluation"),
    ("a killed process", FIRES["killed"], "killed"),
    ("a full disk", FIRES["disk_full"], "disk_full"),
]


@pytest.mark.parametrize(("change", "rule"), [entry[1:] for entry in LEADING], ids=[entry[0] for entry in LEADING])
def test_the_cause_is_named_first(healthy: Any, change: Change, rule: str) -> None:
    case = change(healthy)
    if rule == "empty_evaluation":
        case.rows(lambda row: row if row["kind"] == "train" else None)
    leading = case.diagnose().leading
    assert leading is not None
    assert leading.rule == rule


@pytest.mark.parametrize("step", [30, 60, 100, 140, 200, 312, 374, 500, 700, 936])
def test_the_healthy_run_is_never_called_sick(healthy: Any, step: int) -> None:
    diagnosis = healthy.until(step).diagnose()
    assert diagnosis.leading is None, diagnosis.verdict


class TestSeverities:
    """Where a case is worse or milder than its rule."""

    def test_exploration_off_is_advice_while_halting_varies(self, healthy: Any) -> None:
        assert FIRES["act_exploration_off"](healthy).finding("act_exploration_off").severity is Severity.ADVICE

    def test_exploration_off_is_a_warning_when_halting_is_stuck(self, healthy: Any) -> None:
        stuck = both(FIRES["act_exploration_off"], halts(0, 0, 0, 0, 0, 0, 0, 90, exact=0.2))(healthy)
        assert stuck.finding("act_exploration_off").severity is Severity.WARNING

    def test_a_batch_that_wastes_data_is_advice(self, healthy: Any) -> None:
        finding = healthy.config(global_batch_size=640, epochs=1, eval_interval=1).finding("batch_swallows_data")
        assert (finding.verdict, finding.severity) == (Verdict.FIRED, Severity.ADVICE)

    def test_a_fall_that_is_no_collapse_is_advice(self, healthy: Any) -> None:
        finding = evaluations(0.1, 0.8, 0.6)(healthy).finding("late_collapse")
        assert (finding.verdict, finding.severity) == (Verdict.FIRED, Severity.ADVICE)

    def test_few_steps_are_a_warning_once_the_run_has_ended_with_nothing(self, healthy: Any) -> None:
        short = healthy.config(epochs=10, eval_interval=10).rows(unsolved)
        assert short.finding("too_few_steps").severity is Severity.WARNING

    @pytest.mark.parametrize("rule", ["zero_exact_dead", "q_uninformative", "loss_not_decreasing"])
    def test_nothing_of_that_kind_is_said_in_the_first_third(self, healthy: Any, rule: str) -> None:
        assert FIRES[rule](healthy).until(200).finding(rule).verdict is not Verdict.FIRED

    def test_a_run_whose_metrics_were_lost_is_judged_by_those_that_are_left(self, healthy: Any) -> None:
        lost = healthy.rows(lambda row: row | GUESSING if row["step"] <= 40 else None)
        assert lost.finding("zero_exact_dead").verdict is Verdict.CLEAR

    def test_halting_at_once_is_forgiven_in_the_first_third_when_it_came_later(self, healthy: Any) -> None:
        def late(row: Row) -> None:
            if row["step"] > 60:
                row |= {"act_histogram": [90, 2, 0, 0, 0, 0, 0, 0], "count": 92}

        assert train(late)(healthy).until(250).finding("act_collapsed").verdict is Verdict.CLEAR

    def test_halting_at_once_from_the_first_row_is_named_within_fifty_steps(self, healthy: Any) -> None:
        assert FIRES["act_collapsed"](healthy).until(50).finding("act_collapsed").verdict is Verdict.FIRED

    def test_a_learning_rate_that_learns_is_in_range(self, healthy: Any) -> None:
        assert (
            healthy.config(lr=1.0).set("train", exact_accuracy=0.5).finding("lr_out_of_range").verdict is Verdict.CLEAR
        )

    @pytest.mark.parametrize("lr", [0, 1e-7])
    def test_a_learning_rate_that_goes_nowhere_is_too_low(self, healthy: Any, lr: float) -> None:
        dead = FIRES["zero_exact_dead"](healthy.config(lr=lr)).diagnose()
        assert dead.leading is not None
        assert dead.leading.title == "The learning rate is far too low"

    def test_halting_at_once_from_the_first_row_is_named_even_when_puzzles_are_solved(self, healthy: Any) -> None:
        finding = halts(95, 5, 0, 0, 0, 0, 0, 0, exact=0.9)(healthy).finding("act_collapsed")
        assert finding.verdict is Verdict.FIRED

    def test_halting_at_once_is_right_when_the_puzzles_are_solved_by_then(self, healthy: Any) -> None:
        def late(row: Row) -> None:
            if row["step"] > 500:
                row |= {"act_histogram": [90, 2, 0, 0, 0, 0, 0, 0], "count": 92, "exact_accuracy": 0.9}

        assert train(late)(healthy).finding("act_collapsed").verdict is Verdict.CLEAR


def unchanged(**tensors: int) -> Change:
    """How many tensors of these modules stood still, in every train row that has updates; none of the others."""
    modules = ("embed_tokens", "H_level", "L_level", "lm_head", "q_head")

    def change(row: Row) -> None:
        if "update_norm" in row:
            row["unchanged_tensors"] = dict.fromkeys(modules, 0) | tensors

    return train(change)


class TestSingleTensors:
    @pytest.mark.parametrize(("module", "rule"), [("q_head", "frozen_q_head"), ("L_level", "frozen_module")])
    def test_one_that_stands_still_is_named_although_its_module_moves(
        self, healthy: Any, module: str, rule: str
    ) -> None:
        finding = unchanged(**{module: 1})(healthy).finding(rule)
        assert (finding.verdict, finding.severity) == (Verdict.FIRED, Severity.ERROR)
        assert finding.title.startswith("A part of ")

    def test_all_that_move_are_clear(self, healthy: Any) -> None:
        assert unchanged()(healthy).diagnose().leading is None

    def test_a_few_steps_without_movement_are_not_enough(self, healthy: Any) -> None:
        def sometimes(row: Row) -> None:
            if "update_norm" in row:
                row["unchanged_tensors"] = {"q_head": int(row["step"] % 20 == 0)}

        assert train(sometimes)(healthy).finding("frozen_q_head").verdict is Verdict.CLEAR

    def test_a_learning_rate_that_a_large_weight_cannot_see_is_not_blamed(self, healthy: Any) -> None:
        slow = both(unchanged(q_head=1), train(lambda row: row.update(lr=5e-7)))
        assert slow(healthy).finding("frozen_q_head").verdict is Verdict.CLEAR

    def test_a_bias_that_is_bit_for_bit_the_same_in_two_checkpoints_is_named(self, case: Any) -> None:
        import torch

        official = case("official/healthy").keep_checkpoints(2)
        before, now = (torch.load(official.path / f"step_{step}", weights_only=True) for step in (312, 624))
        now["model.inner.q_head.bias"] = before["model.inner.q_head.bias"]
        torch.save(now, official.path / "step_624")
        finding = official.finding("frozen_q_head")
        assert (finding.verdict, finding.title) == (Verdict.FIRED, "A part of the Q head does not move")
        assert "q_head.bias" in [row.value for row in finding.evidence]


class TestReferenceRuns:
    def test_attention_is_clear_where_the_checkpoint_does_better_with_it(self, case: Any) -> None:
        finding = case("official/healthy").finding("attention_broken")
        assert finding.verdict is Verdict.CLEAR
        assert finding.evidence[0].margin < 0

    def test_attention_is_unknown_where_nothing_can_be_evaluated(self, case: Any) -> None:
        finding = case("official/healthy").without_data().finding("attention_broken")
        assert finding.verdict is Verdict.UNKNOWN

    def test_a_q_head_that_never_moved_is_seen_in_one_checkpoint(self, case: Any, edit_weights: Any) -> None:
        official = case("official/healthy").keep_checkpoints(1)
        edit_weights(official.path / "step_312", {"q_head.weight": 0.0, "q_head.bias": -5.0})
        leading = official.diagnose().leading
        assert leading is not None
        assert leading.rule == "frozen_q_head"

    def test_a_bias_of_the_q_head_that_never_moved_is_seen_in_one_checkpoint(
        self, case: Any, edit_weights: Any
    ) -> None:
        official = case("official/healthy").keep_checkpoints(1)
        edit_weights(official.path / "step_312", {"q_head.bias": -5.0})
        finding = official.finding("frozen_q_head")
        assert (finding.verdict, finding.title) == (Verdict.FIRED, "A part of the Q head does not move")

    @pytest.mark.parametrize(
        ("module", "rule"),
        [
            ("H_level", "frozen_module"),
            ("L_level", "frozen_module"),
            ("q_head", "frozen_q_head"),
            ("puzzle_emb", "frozen_puzzle_embedding"),
        ],
    )
    def test_a_part_that_is_equal_in_two_checkpoints_is_named(
        self, case: Any, copy_weights: Any, module: str, rule: str
    ) -> None:
        official = case("official/healthy").keep_checkpoints(2)
        copy_weights(official.path / "step_312", official.path / "step_624", module)
        leading = official.diagnose().leading
        assert leading is not None
        assert leading.rule == rule

    def test_a_module_that_only_decays_is_frozen_too(self, case: Any, copy_weights: Any) -> None:
        official = case("official/healthy").keep_checkpoints(2)
        copy_weights(official.path / "step_312", official.path / "step_624", "H_level", scale=0.97)
        assert official.finding("frozen_module").verdict is Verdict.FIRED

    def test_no_weights_but_noise_are_an_exploded_loss(self, case: Any, edit_weights: Any) -> None:
        official = case("official/healthy")
        edit_weights(official.path / "step_936", {"lm_head.weight": "noise"})
        assert official.finding("exploding_loss").verdict is Verdict.FIRED

    def test_many_identifiers_of_which_few_rows_moved(self, case: Any, edit_weights: Any) -> None:
        official = case("official/healthy").keep_checkpoints(1)
        edit_weights(official.path / "step_312", {"puzzle_emb.weights": "one row of 100"})
        many = official.with_changed_data(hundred_identifiers)
        assert many.finding("puzzle_embedding_never_visited").verdict is Verdict.FIRED


def hundred_identifiers(split: str, arrays: dict[str, np.ndarray], metadata: Row) -> None:
    metadata["num_puzzle_identifiers"] = 100
    arrays["puzzle_identifiers"] = (np.arange(len(arrays["puzzle_identifiers"])) % 99 + 1).astype(np.int32)
