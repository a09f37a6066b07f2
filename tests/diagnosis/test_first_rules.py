"""Each rule fires on the fault it names, stays clear on a healthy run, and says unknown where its data is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hrm_sweep.diagnosis import Severity, Verdict, diagnose_run

FIRST_THIRD = 312


def nan_from(step: int) -> Any:
    def change(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["kind"] == "train" and row["step"] > step:
            return {**row, "loss": "NaN", "lm_loss": "NaN", "grad_norm": {"H_level": "Infinity"}}
        return row if row["step"] <= step else None

    return change


def exploded_after(step: int, loss: float) -> Any:
    return lambda row: {**row, "lm_loss": loss} if row["step"] > step and row["kind"] == "train" else row


def still_embedding(row: dict[str, Any]) -> dict[str, Any]:
    if "puzzle_emb" in row:
        row["puzzle_emb"] |= {"mean_abs_movement": 0.0, "max_abs_movement": 0.0, "max_abs": 0.0}
    return row


def halting_at(step: int, limit: int = 8) -> Any:
    def change(row: dict[str, Any]) -> dict[str, Any]:
        if row["kind"] == "train":
            count = sum(row["act_histogram"])
            row |= {"act_steps": step, "act_histogram": [count if s == step else 0 for s in range(1, limit + 1)]}
        return row

    return change


def unsolved(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "exact_accuracy": 0.0}


def guessing(row: dict[str, Any]) -> dict[str, Any]:
    return {**unsolved(row), "accuracy": 0.67, "lm_loss": 0.62}


class TestNonFinite:
    def test_names_the_first_bad_value_and_the_last_good_loss(self, healthy: Any) -> None:
        finding = healthy.rows(nan_from(400)).status(state="failed", cause="nan", step=410).finding("non_finite")
        assert finding.verdict is Verdict.FIRED
        assert finding.severity is Severity.ERROR
        first, last = finding.evidence[0], finding.evidence[-1]
        assert (first.step, last.quantity, last.step) == (410, "lm_loss, last finite", 400)
        assert finding.remedy is not None
        assert finding.remedy["lr"] == 3.33e-4

    def test_is_fatal(self, healthy: Any) -> None:
        fatal = healthy.rows(nan_from(400)).diagnose().fatal
        assert fatal is not None
        assert fatal.rule == "non_finite"

    def test_a_status_alone_is_enough(self, healthy: Any) -> None:
        assert healthy.status(state="failed", cause="nan").finding("non_finite").verdict is Verdict.FIRED

    def test_advises_to_stop_earlier_when_training_puzzles_were_solved(self, healthy: Any) -> None:
        finding = healthy.set("train", exact_accuracy=0.97).rows(nan_from(800)).finding("non_finite")
        assert finding.remedy == {"stop_when_solved": 0.9}

    def test_an_empty_evaluation_is_not_this_fault(self, healthy: Any) -> None:
        finding = healthy.set("eval", lm_loss="NaN", accuracy="NaN", count=0).finding("non_finite")
        assert finding.verdict is Verdict.CLEAR

    def test_a_reference_run_is_judged_by_its_weights(self, case: Any, poison: Any) -> None:
        official = case("official/healthy")
        poison(official.path / "step_936", "model.inner.lm_head.weight")
        finding = official.finding("non_finite")
        assert finding.verdict is Verdict.FIRED
        assert (finding.evidence[0].quantity, finding.evidence[0].step) == ("weights of lm_head", 936)

    def test_is_unknown_without_any_metric(self, healthy: Any) -> None:
        assert healthy.without("metrics.jsonl").finding("non_finite").verdict is Verdict.UNKNOWN


class TestExplodingLoss:
    def test_fires_on_a_loss_that_stays_far_above_a_guess(self, healthy: Any) -> None:
        finding = healthy.rows(exploded_after(700, 9.0)).finding("exploding_loss")
        assert finding.verdict is Verdict.FIRED
        assert finding.evidence[0].value == 9.0
        assert finding.evidence[0].margin is not None
        assert finding.evidence[0].margin > 0

    @pytest.mark.parametrize("data", [True, False])
    def test_stays_clear_on_a_healthy_run(self, healthy: Any, data: bool) -> None:
        chosen = healthy if data else healthy.without_data()
        assert chosen.finding("exploding_loss").verdict is Verdict.CLEAR

    def test_forgives_a_spike_that_the_run_recovers_from(self, healthy: Any) -> None:
        spiked = healthy.rows(lambda row: {**row, "lm_loss": 20.0} if 500 < row["step"] <= 530 else row)
        assert spiked.finding("exploding_loss").verdict is Verdict.CLEAR

    def test_is_unknown_with_a_handful_of_rows(self, healthy: Any) -> None:
        assert healthy.until(50).finding("exploding_loss").verdict is Verdict.UNKNOWN


class TestFrozenPuzzleEmbedding:
    def test_fires_fatally_when_the_rows_do_not_move_although_they_should(self, healthy: Any) -> None:
        diagnosis = healthy.rows(still_embedding).diagnose()
        assert diagnosis.leading is not None
        assert diagnosis.leading.rule == "frozen_puzzle_embedding"
        assert diagnosis.leading.severity is Severity.ERROR
        assert diagnosis.fatal is diagnosis.leading

    def test_fires_within_the_first_twenty_steps(self, healthy: Any) -> None:
        assert healthy.rows(still_embedding).until(20).finding("frozen_puzzle_embedding").verdict is Verdict.FIRED

    def test_a_learning_rate_of_zero_is_a_warning_with_a_remedy_and_never_fatal(self, healthy: Any) -> None:
        diagnosis = healthy.config(puzzle_emb_lr=0).diagnose()
        assert diagnosis.leading is not None
        assert (diagnosis.leading.rule, diagnosis.leading.severity) == ("frozen_puzzle_embedding", Severity.WARNING)
        assert diagnosis.leading.remedy == {"puzzle_emb_lr": 0.01}
        assert diagnosis.fatal is None

    def test_says_which_side_is_broken(self, healthy: Any) -> None:
        def disconnected(row: dict[str, Any]) -> dict[str, Any]:
            row = still_embedding(row)
            if "puzzle_emb" in row:
                row["puzzle_emb"]["grad_norm"] = 0.0
            return row

        assert "no gradient" in healthy.rows(disconnected).finding("frozen_puzzle_embedding").explanation

    def test_many_identifiers_that_were_never_visited_are_not_frozen(self, healthy: Any) -> None:
        def never(row: dict[str, Any]) -> dict[str, Any]:
            row = still_embedding(row)
            if "puzzle_emb" in row:
                row["puzzle_emb"]["rows_visited"] = 0
            return row

        assert healthy.rows(never).finding("frozen_puzzle_embedding").verdict is Verdict.UNKNOWN

    def test_there_is_nothing_to_freeze_without_an_embedding(self, healthy: Any) -> None:
        finding = healthy.config(arch__puzzle_emb_ndim=0).finding("frozen_puzzle_embedding")
        assert finding.verdict is Verdict.CLEAR

    @pytest.mark.parametrize("until", [20, FIRST_THIRD, 936])
    def test_stays_clear_on_a_healthy_run_at_every_stage(self, healthy: Any, until: int) -> None:
        assert healthy.until(until).finding("frozen_puzzle_embedding").verdict is Verdict.CLEAR

    def test_is_unknown_without_a_configuration(self, healthy: Any) -> None:
        assert healthy.without("config.yaml").finding("frozen_puzzle_embedding").verdict is Verdict.UNKNOWN

    def test_a_reference_run_with_a_zero_table_and_a_learning_rate_is_an_error(self, case: Any) -> None:
        finding = case("official/frozen_embeddings").config(puzzle_emb_lr=0.01).finding("frozen_puzzle_embedding")
        assert (finding.verdict, finding.severity) == (Verdict.FIRED, Severity.ERROR)


class TestActConstant:
    def test_fires_when_solved_puzzles_never_halt_early(self, healthy: Any) -> None:
        finding = healthy.rows(halting_at(8)).set("train", exact_accuracy=0.6).finding("act_constant")
        assert finding.verdict is Verdict.FIRED
        assert finding.severity is Severity.WARNING

    def test_proposes_exploration_only_where_it_was_switched_off(self, healthy: Any) -> None:
        healthy.rows(halting_at(8)).set("train", exact_accuracy=0.6)
        assert healthy.finding("act_constant").remedy is None
        off = healthy.config(arch__halt_exploration_prob=0).finding("act_constant")
        assert off.remedy == {"arch.halt_exploration_prob": 0.1}

    def test_forgives_it_while_little_is_solved(self, healthy: Any) -> None:
        assert healthy.rows(halting_at(8)).rows(unsolved).finding("act_constant").verdict is Verdict.CLEAR

    def test_one_step_by_configuration_is_no_fault(self, healthy: Any) -> None:
        finding = healthy.config(arch__halt_max_steps=1).rows(halting_at(1, 1)).finding("act_constant")
        assert finding.verdict is Verdict.CLEAR

    @pytest.mark.parametrize("until", [FIRST_THIRD, 936])
    def test_stays_clear_on_a_healthy_run(self, healthy: Any, until: int) -> None:
        assert healthy.until(until).finding("act_constant").verdict is Verdict.CLEAR

    def test_is_unknown_when_hardly_anything_halted(self, healthy: Any) -> None:
        assert healthy.until(20).finding("act_constant").verdict is Verdict.UNKNOWN


class TestZeroExact:
    def test_a_run_that_guesses_to_its_end_is_dead(self, healthy: Any) -> None:
        diagnosis = healthy.rows(guessing).diagnose()
        assert diagnosis.leading is not None
        assert diagnosis.leading.rule == "zero_exact_dead"

    def test_a_run_whose_cells_improve_is_learning_and_not_sick(self, healthy: Any) -> None:
        diagnosis = healthy.rows(unsolved).diagnose()
        assert diagnosis.leading is None
        findings = {finding.rule: finding for finding in diagnosis.findings}
        assert findings["zero_exact_learning"].verdict is Verdict.FIRED
        assert findings["zero_exact_learning"].severity is Severity.INFO
        assert findings["zero_exact_learning"].remedy == {"epochs": 120}
        assert findings["zero_exact_dead"].verdict is Verdict.CLEAR

    def test_nobody_is_dead_in_the_first_third(self, healthy: Any) -> None:
        assert healthy.rows(guessing).until(FIRST_THIRD).finding("zero_exact_dead").verdict is Verdict.CLEAR

    def test_nobody_is_dead_shortly_after_the_warm_up(self, healthy: Any) -> None:
        finding = healthy.rows(guessing).config(lr_warmup_steps=800).finding("zero_exact_dead")
        assert finding.verdict is Verdict.UNKNOWN

    def test_one_solved_puzzle_is_enough(self, healthy: Any) -> None:
        def once(row: dict[str, Any]) -> dict[str, Any]:
            solved = 0.01 if row["kind"] == "eval" and row["step"] == 624 else 0.0
            return {**guessing(row), "exact_accuracy": solved}

        healthy.rows(once)
        assert healthy.finding("zero_exact_dead").verdict is Verdict.CLEAR
        assert healthy.finding("zero_exact_learning").verdict is Verdict.CLEAR

    def test_solved_training_puzzles_are_a_sign_of_learning(self, healthy: Any) -> None:
        healthy.rows(guessing).set("train", exact_accuracy=0.2)
        assert healthy.finding("zero_exact_learning").verdict is Verdict.FIRED

    @pytest.mark.parametrize("rule", ["zero_exact_dead", "zero_exact_learning"])
    def test_is_unknown_where_nothing_was_measured(self, healthy: Any, rule: str) -> None:
        assert healthy.without("metrics.jsonl").finding(rule).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize("rule", ["zero_exact_dead", "zero_exact_learning"])
    def test_without_the_puzzles_the_first_rows_are_the_yardstick(self, healthy: Any, rule: str) -> None:
        finding = healthy.rows(unsolved).without_data().finding(rule)
        assert finding.verdict is (Verdict.FIRED if rule == "zero_exact_learning" else Verdict.CLEAR)


class TestWarmupNeverEnds:
    @pytest.mark.parametrize(
        ("warmup", "severity"), [(936, Severity.WARNING), (1800, Severity.WARNING), (2000, Severity.ERROR)]
    )
    def test_fires_when_the_run_ends_inside_its_warm_up(self, healthy: Any, warmup: int, severity: Severity) -> None:
        finding = healthy.config(lr_warmup_steps=warmup).finding("warmup_never_ends")
        assert (finding.verdict, finding.severity) == (Verdict.FIRED, severity)
        assert finding.remedy == {"lr_warmup_steps": 46}
        assert (finding.evidence[0].value, finding.evidence[0].threshold) == (warmup, 936)

    def test_is_known_before_the_first_step(self, healthy: Any) -> None:
        finding = healthy.config(lr_warmup_steps=2000).without("metrics.jsonl").finding("warmup_never_ends")
        assert finding.verdict is Verdict.FIRED

    def test_a_live_run_inside_its_warm_up_is_where_it_should_be(self, healthy: Any) -> None:
        assert healthy.config(lr_warmup_steps=500).until(100).finding("warmup_never_ends").verdict is Verdict.CLEAR

    def test_the_status_knows_the_length_where_the_data_is_gone(self, healthy: Any) -> None:
        finding = healthy.config(lr_warmup_steps=2000).without_data().finding("warmup_never_ends")
        assert finding.verdict is Verdict.FIRED

    def test_is_unknown_without_any_length(self, healthy: Any) -> None:
        blind = healthy.config(lr_warmup_steps=2000).without_data().without("status.json")
        assert blind.finding("warmup_never_ends").verdict is Verdict.UNKNOWN


class TestNoOptimizerSteps:
    def test_fires_when_an_interval_holds_no_full_batch(self, healthy: Any) -> None:
        finding = healthy.config(global_batch_size=30000).finding("no_optimizer_steps")
        assert finding.verdict is Verdict.FIRED
        assert finding.evidence[0].value == 0
        assert finding.remedy == {"global_batch_size": 64}

    def test_a_reference_run_that_ended_at_step_0_is_named(self, case: Any) -> None:
        official = case("official/healthy").config(global_batch_size=30000)
        (official.path / "step_312").rename(official.path / "step_0")
        for step in (624, 936):
            (official.path / f"step_{step}").unlink()
        assert official.finding("no_optimizer_steps").verdict is Verdict.FIRED
        assert official.without_data().finding("no_optimizer_steps").verdict is Verdict.FIRED

    def test_fires_when_a_completed_run_took_a_fraction_of_its_steps(self, healthy: Any) -> None:
        finding = healthy.until(50).status(state="completed", step=50).finding("no_optimizer_steps")
        assert finding.verdict is Verdict.FIRED

    @pytest.mark.parametrize("state", ["pruned", "stopped", "failed"])
    def test_a_run_that_was_ended_by_others_is_clear(self, healthy: Any, state: str) -> None:
        assert healthy.until(50).status(state=state).finding("no_optimizer_steps").verdict is Verdict.CLEAR

    def test_is_unknown_before_the_first_row(self, healthy: Any) -> None:
        fresh = healthy.without("metrics.jsonl").status(state="running", step=0)
        assert fresh.finding("no_optimizer_steps").verdict is Verdict.UNKNOWN


class TestReferenceRuns:
    @pytest.mark.parametrize("checkpoints", [1, 2, 3])
    def test_the_healthy_run_is_healthy_at_every_checkpoint(self, case: Any, checkpoints: int) -> None:
        official = case("official/healthy")
        for step in (312, 624, 936)[checkpoints:]:
            (official.path / f"step_{step}").unlink()
        diagnosis = official.diagnose()
        assert diagnosis.leading is None, diagnosis.verdict
        assert diagnosis.exit_code == 0
        assert diagnosis.verdict.startswith("Healthy" if checkpoints == 3 else "Healthy so far")

    def test_the_frozen_embedding_is_named_first(self, case: Any) -> None:
        diagnosis = case("official/frozen_embeddings").diagnose()
        assert diagnosis.leading is not None
        assert diagnosis.leading.rule == "frozen_puzzle_embedding"
        assert diagnosis.leading.severity is Severity.WARNING
        assert diagnosis.exit_code == 1

    def test_a_single_step_that_works_is_not_sick(self, case: Any) -> None:
        assert case("official/single_step").diagnose().leading is None

    def test_a_checkpoint_that_runs_code_is_refused_and_not_executed(self, case: Any, tmp_path: Path) -> None:
        official = case("official/healthy")
        trap = tmp_path / "executed"
        (official.path / "step_936").write_bytes(b"cos\nsystem\n(S'touch %b'\ntR." % str(trap).encode())
        diagnosis = diagnose_run(official.path, data=official.data)
        assert not trap.exists()
        assert any("refused" in problem for problem in diagnosis.problems)
        assert diagnosis.leading is None

    def test_nothing_is_written_into_a_directory_of_the_reference(self, case: Any) -> None:
        official = case("official/single_step")
        before = sorted(official.path.iterdir())
        diagnose_run(official.path, data=official.data)
        assert sorted(official.path.iterdir()) == before
