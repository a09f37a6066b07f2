"""What a run comes to, held to figures of the published recipe that are known from elsewhere, and to what must hold."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.config import apply_overrides, config_from_mapping, load_config
from hrm_sweep.errors import ConfigError, DataError
from hrm_sweep.planning.puzzle_facts import PuzzleFacts
from hrm_sweep.planning.run_plan import RunPlan, fewest_act_steps, plan_run


def planned(preset: str = "hrm_v1_tiny", **overrides: Any) -> RunPlan:
    config = load_config(preset, overrides)
    return plan_run(config, PuzzleFacts.of(config))


TINY = load_config("hrm_v1_tiny")
FACTS = PuzzleFacts.of(TINY)


def tiny(**overrides: Any) -> RunPlan:
    """The same of hrm_v1_tiny, without reading its file again."""
    return plan_run(config_from_mapping(apply_overrides(TINY.to_mapping(), overrides, "tiny"), "tiny"), FACTS)


def test_the_published_recipe_is_planned_as_it_was_run(folder: Path) -> None:
    """26,041 steps of 28.1 TFLOP; epoch 20 is step 26, at 1.3 % of the learning rate; warm-up ends in epoch 1,536."""
    plan = planned("hrm_v1")
    assert plan.length.scheduled_steps == 26_041
    assert plan.parameters == 27_275_266
    assert plan.train_flops / plan.steps == pytest.approx(28.1e12, rel=0.01)
    mark = plan.mark(20)
    assert (mark.step, mark.lr) == (26, pytest.approx(1.3e-6))
    assert mark.lr_share == pytest.approx(0.013)
    assert plan.warmup_epoch == pytest.approx(1536, abs=0.1)
    assert plan.decay_steps == pytest.approx(10_000)
    least, most = plan.effective_epochs
    assert least == pytest.approx(26_040 * 768 / 1000 / 16)  # rows of whole batches
    assert most == pytest.approx(20_000 / 1.11, rel=0.001)


def test_evaluating_all_test_puzzles_would_cost_a_thousand_published_steps_each_time(folder: Path) -> None:
    """422,786 puzzles with 16 ACT steps: 3,300 steps at batch 768; half of them decide here."""
    plan = planned("hrm_v1", eval_puzzles=422_786)
    per_step, per_evaluation = plan.train_flops / plan.steps, plan.evaluation_flops / plan.evaluations
    assert plan.evaluated == 422_786 // 2
    assert 2 * per_evaluation / per_step == pytest.approx(3300, rel=0.01)


def test_the_notes_run_ends_inside_its_warm_up(folder: Path) -> None:
    plan = planned("hrm_v1_balanced", epochs=100, eval_interval=20, global_batch_size=256, lr=1e-3)
    assert plan.steps == 390
    assert plan.warmup_epoch == pytest.approx(512, abs=1)
    assert plan.mark(20).lr_share == pytest.approx(78 / 2000)
    assert plan.mark(1000).step == plan.steps


@pytest.mark.parametrize("most", [1, 2, 4, 8, 16])
def test_the_fewest_act_steps_are_those_of_the_rule_played_out(most: int) -> None:
    rng = random.Random(most)

    def steps_of_a_slot() -> int:
        for step in range(1, most + 1):
            minimum = rng.randint(2, most) if most > 1 and rng.random() < 0.1 else 0
            if step >= most or step >= minimum:
                return step
        raise AssertionError

    played = [steps_of_a_slot() for _ in range(20_000)]
    assert fewest_act_steps(most, 0.1) == pytest.approx(sum(played) / len(played), rel=0.01)


cycles = st.integers(1, 6)


@given(H=cycles, L=cycles, M=st.integers(2, 32), other=st.integers(2, 32))
def test_act_steps_change_no_train_step_but_evaluation_in_proportion(H: int, L: int, M: int, other: int) -> None:
    arch = {"arch.H_cycles": H, "arch.L_cycles": L}
    one = tiny(**arch, **{"arch.halt_max_steps": M})
    two = tiny(**arch, **{"arch.halt_max_steps": other})
    assert one.train_flops == two.train_flops
    assert one.memory == two.memory
    assert one.evaluation_flops * other == pytest.approx(two.evaluation_flops * M)
    assert one.effective_epochs[0] * M == pytest.approx(two.effective_epochs[0] * other)


@given(H=cycles, L=cycles, M=st.integers(1, 16))
def test_more_cycles_are_never_cheaper_and_take_no_memory(H: int, L: int, M: int) -> None:
    arch = {"arch.halt_max_steps": M}
    less = tiny(**arch, **{"arch.H_cycles": H, "arch.L_cycles": L})
    for more in ({"arch.H_cycles": H + 1, "arch.L_cycles": L}, {"arch.H_cycles": H, "arch.L_cycles": L + 1}):
        plan = tiny(**arch, **more)
        assert plan.train_flops > less.train_flops
        assert plan.evaluation_flops > less.evaluation_flops
        assert plan.memory == less.memory


@given(M=st.integers(1, 32), p=st.floats(0, 1))
def test_effective_epochs_lie_between_those_of_never_and_of_always_halting(M: int, p: float) -> None:
    plan = tiny(**{"arch.halt_max_steps": M, "arch.halt_exploration_prob": p})
    least, most = plan.effective_epochs
    assert plan.drawn_epochs / M <= least * (1 + 1e-9)
    assert least <= most * (1 + 1e-9)
    assert most <= plan.drawn_epochs


@given(batch=st.integers(1, 256), part=st.integers(1, 256))
def test_smaller_micro_batches_never_take_more_memory(batch: int, part: int) -> None:
    whole, parts = tiny(global_batch_size=batch), tiny(global_batch_size=batch, micro_batch_size=part)
    assert parts.memory.total <= whole.memory.total


def test_data_need_not_be_there_where_the_configuration_says_how_it_is_built(folder: Path, sudoku_4x4: Path) -> None:
    foreseen = PuzzleFacts.of(load_config("hrm_v1_tiny"))
    assert not foreseen.is_built
    assert (foreseen.train.seq_len, foreseen.train.vocab_size, foreseen.train.total_groups) == (16, 6, 1000)
    assert (foreseen.test_examples, foreseen.train_rows) == (400, 1000)
    there = PuzzleFacts.of(load_config("hrm_v1_tiny", {"data_path": str(sudoku_4x4)}))
    assert there.is_built
    assert (there.train.seq_len, there.train.vocab_size) == (foreseen.train.seq_len, foreseen.train.vocab_size)
    assert (there.test_examples, there.train.total_groups) == (200, 1000)
    assert list(folder.iterdir()) == []


def test_what_is_foreseen_of_a_folder_is_what_is_built(folder: Path) -> None:
    from hrm_sweep.data.build import ensure_data

    overrides = {"data": {"source": "generator", "size": 4, "subsample_size": 30, "test_size": 9, "num_aug": 2}}
    config = load_config("hrm_v1_tiny", overrides)
    foreseen = PuzzleFacts.of(config)
    assert config.data is not None
    ensure_data(config.data)
    built = PuzzleFacts.of(config)
    assert built.is_built
    assert (built.test_examples, built.train_rows) == (foreseen.test_examples, foreseen.train_rows)
    for name in ("vocab_size", "seq_len", "num_puzzle_identifiers", "total_groups", "mean_puzzle_examples"):
        assert getattr(built.train, name) == getattr(foreseen.train, name)


def test_puzzles_of_csv_files_are_counted(folder: Path) -> None:
    for name, lines in (("train.csv", 31), ("test.csv", 11)):
        (folder / name).write_text("source,question,answer,rating\n" + "x,y,z,0\n" * (lines - 1))
    data = {"source": "csv", "csv": ["train.csv", "test.csv"], "subsample_size": 20}
    facts = PuzzleFacts.of(load_config("hrm_v1_tiny", {"data": data}))
    assert (facts.train.total_groups, facts.test_examples) == (20, 10)


@pytest.mark.parametrize(
    ("overrides", "expected", "message"),
    [
        ({"data_path": "nowhere"}, DataError, "nowhere: expected a puzzle folder"),
        ({"data": None}, DataError, "no data: set data_path"),
        ({"data": {"source": "hub", "hub": "some/set"}}, DataError, "set data.subsample_size"),
        ({"data": {"source": "generator", "min_blanks": 9, "max_blanks": 2}}, ConfigError, "larger than max_blanks"),
    ],
)
def test_data_of_which_nothing_is_known_is_an_error_that_says_what_to_do(
    folder: Path, overrides: dict[str, Any], expected: type[Exception], message: str
) -> None:
    with pytest.raises(expected, match=message):
        PuzzleFacts.of(load_config("hrm_v1_tiny", overrides))


def test_each_stage_of_a_run_is_planned_with_its_own_act_steps(folder: Path) -> None:
    stages = [{"epochs": 30, "overrides": {"arch.halt_max_steps": 2}}, {"epochs": 10, "overrides": {}}]
    staged = tiny(stages=stages, eval_interval=10, **{"arch.halt_max_steps": 8})
    few, many = (tiny(epochs=40, eval_interval=10, **{"arch.halt_max_steps": M}) for M in (2, 8))
    assert staged.train_flops == pytest.approx(many.train_flops)
    assert staged.evaluation_flops == pytest.approx((3 * few.evaluation_flops + many.evaluation_flops) / 4)
    for mixed, of_few, of_many in zip(
        staged.effective_epochs, few.effective_epochs, many.effective_epochs, strict=True
    ):
        assert mixed == pytest.approx((3 * of_few + of_many) / 4)


def test_only_rows_of_whole_batches_are_drawn() -> None:
    plan = tiny(global_batch_size=600, epochs=40, eval_interval=1)
    assert plan.puzzles.train.total_groups == 1000
    assert (plan.steps, plan.drawn_epochs) == (40, 24.0)  # of 1,000 rows an interval 600 are drawn
