"""Everything that can be said about a run before it starts. Arithmetic only; times where they were measured."""

from __future__ import annotations

from dataclasses import dataclass

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import RunLength, learning_rate
from hrm_sweep.evaluation.selection import selection_size
from hrm_sweep.planning.cost import evaluation_flops, parameter_count, train_flops_of_first
from hrm_sweep.planning.memory import Memory, disk_bytes
from hrm_sweep.planning.puzzle_facts import PuzzleFacts
from hrm_sweep.planning.speed import TRIAL_OVERHEAD_S, Seconds, Speed

RULE_EPOCH = 20
"""The epoch at which the usual advice, and the zero rule unless it is told otherwise, expects a first solved puzzle."""


@dataclass(frozen=True)
class Mark:
    """An epoch, the optimizer step that it is, and the learning rate there, also as a share of `lr`."""

    epoch: int
    step: int
    lr: float
    lr_share: float


@dataclass(frozen=True)
class RunPlan:
    """A run to be.

    parameters        of the model, without the puzzle embedding.
    evaluated         puzzles of each evaluation; None where the number of test puzzles is not known.
    train_flops, evaluation_flops   of the whole run, floating-point operations.
    disk_bytes        of the run directory at its end.
    seconds           None where nothing was measured that tells them.
    """

    config: RunConfig
    puzzles: PuzzleFacts
    length: RunLength
    parameters: int
    evaluated: int
    train_flops: float
    evaluation_flops: float
    memory: Memory
    disk_bytes: int
    seconds: Seconds | None

    @property
    def steps(self) -> int:
        return self.length.trained_steps

    @property
    def evaluations(self) -> int:
        return self.length.intervals if self.steps else 0

    @property
    def flops(self) -> float:
        return self.train_flops + self.evaluation_flops

    @property
    def evaluation_share(self) -> float:
        """Of the operations of the run."""
        return self.evaluation_flops / self.flops if self.flops else 0.0

    @property
    def trial_seconds(self) -> float | None:
        """Of the run as a trial of a study, to its last epoch."""
        return None if self.seconds is None else self.seconds.total + TRIAL_OVERHEAD_S

    @property
    def warmup_epoch(self) -> float:
        """The epoch at which the warm-up ends."""
        return self.length.epoch_at(self.config.lr_warmup_steps)

    @property
    def drawn_epochs(self) -> float:
        """Epochs whose rows are drawn, partial batches left out."""
        facts = self.puzzles.train
        return self.steps * self.config.global_batch_size / (facts.total_groups * facts.mean_puzzle_examples)

    @property
    def effective_epochs(self) -> tuple[float, float]:
        """How often each puzzle is really begun, if nothing ever halts before halt_max_steps, and if everything halts
        as soon as it may. A row that falls on a slot that has not halted is dropped, so that the epochs are those drawn
        over the mean number of ACT steps; how many those will be is not known before training."""
        stages = [(stage.arch, share * self.drawn_epochs) for stage, share in self.config.stage_shares]
        return (
            sum(epochs / arch.halt_max_steps for arch, epochs in stages),
            sum(epochs / fewest_act_steps(arch.halt_max_steps, arch.halt_exploration_prob) for arch, epochs in stages),
        )

    @property
    def decay_steps(self) -> float:
        """Steps in which weight decay alone would take weights to 1/e: 1 / (lr wd). Infinite without decay."""
        product = self.config.lr * self.config.weight_decay
        return 1 / product if product else float("inf")

    def mark(self, epoch: int) -> Mark:
        """What the schedule has come to at an epoch; past the end of the run, its end."""
        config = self.config
        step = min(self.length.step_at(epoch), self.steps)
        lr = learning_rate(
            config.lr,
            max(1, step),
            total_steps=self.length.scheduled_steps,
            warmup_steps=config.lr_warmup_steps,
            min_ratio=config.lr_min_ratio,
        )
        return Mark(epoch, step, lr, lr / config.lr if config.lr else 0.0)


def plan_run(
    config: RunConfig,
    puzzles: PuzzleFacts,
    speed: Speed | None = None,
    *,
    processes: int = 1,
    on_gpu: bool = False,
) -> RunPlan:
    """What training `config` on these puzzles comes to.

    speed   of this shape of model on this machine; None: times stay unknown.
    on_gpu  whether activations take the dtype that the configuration asks for.
    """
    facts = puzzles.train
    length = RunLength.of(config, facts.total_groups, facts.mean_puzzle_examples)
    steps = length.trained_steps
    evaluations = length.intervals if steps else 0
    evaluated = selection_size(
        2 * config.eval_puzzles if puzzles.test_examples is None else puzzles.test_examples, config.eval_puzzles
    )
    seconds = None
    if speed is not None:
        seconds = speed.seconds(config, facts.seq_len, steps=steps, evaluations=evaluations, puzzles=evaluated)
    return RunPlan(
        config=config,
        puzzles=puzzles,
        length=length,
        parameters=parameter_count(config.arch, facts.vocab_size, facts.seq_len),
        evaluated=evaluated,
        train_flops=train_flops_of_first(config, facts.seq_len, length, steps),
        evaluation_flops=evaluations * evaluation_flops(config, facts.seq_len, evaluated),
        memory=Memory.of(config, facts, processes, halves=on_gpu),
        disk_bytes=disk_bytes(config, facts, steps),
        seconds=seconds,
    )


def fewest_act_steps(most: int, exploration: float) -> float:
    """Mean ACT steps of a model that always wants to halt, of at most `most`.

    Exploration holds a slot back at step s with probability exploration (most - s) / (most - 1), drawn anew at every
    step: 1.11 for exploration 0.1, whatever `most` is above 3.
    """
    mean, going_on = 0.0, 1.0
    for step in range(1, most + 1):
        mean += going_on
        going_on *= exploration * (most - step) / max(1, most - 1)
    return mean
