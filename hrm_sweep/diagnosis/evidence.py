"""Evidence: everything that rules may look at about one run. Asking for what is not there raises MissingEvidence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import RunLength
from hrm_sweep.diagnosis.checkpoints import CheckpointFacts
from hrm_sweep.diagnosis.data_facts import DataFacts
from hrm_sweep.runs import State, Status
from hrm_sweep.runs.formats import Curves, RecordedRun, Series, Source


class MissingEvidence(Exception):  # noqa: N818 - it carries a verdict, not an error
    """A rule needs data that the run does not have; the message says which. Becomes the verdict `unknown`."""


@dataclass(frozen=True)
class Plan:
    """How long a run is meant to be, in optimizer steps.

    trained_steps       steps that it takes when nothing stops it.
    scheduled_steps     span of the learning-rate schedule.
    steps_per_interval  steps between two evaluations, where known.
    known_from          where these numbers come from, for explanations.
    """

    trained_steps: int
    scheduled_steps: int
    steps_per_interval: int | None
    known_from: str


@dataclass(frozen=True)
class Evidence:
    """One run as rules see it. Build one with `gather_evidence`.

    recorded       the run directory, read.
    data           facts about its puzzles; None with the reason in `data_problem`.
    checkpoints    facts about its `step_N` files (reference runs only).
    evaluations    evaluation rows: recorded by the run, or computed from its last checkpoints, or both.
    process_alive  whether the process that writes the run lives; None when that cannot be known from here.
    idle_s         seconds since the run last wrote anything; None when unknown.
    problems       what was there and could not be read, one sentence each.
    """

    recorded: RecordedRun
    data: DataFacts | None
    data_problem: str
    checkpoints: tuple[CheckpointFacts, ...]
    evaluations: Curves
    process_alive: bool | None
    idle_s: float | None
    problems: tuple[str, ...]

    # What every run has -------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        return self.recorded.path

    @property
    def is_reference(self) -> bool:
        return self.recorded.source is Source.REFERENCE

    def told_by_checkpoints(self, name: str) -> bool:
        """Whether the train scalar `name` has to be had from checkpoints: the reference logs it, but not into files."""
        return self.is_reference and self.rows.get(name) is None

    @property
    def status(self) -> Status | None:
        return self.recorded.status

    @property
    def rows(self) -> Curves:
        """The train rows, perhaps none."""
        return self.recorded.train

    @cached_property
    def steps_done(self) -> int:
        """Optimizer steps that are known to have been taken, 0 when none is."""
        known = [int(curves.step.max()) for curves in (self.rows, self.evaluations) if len(curves)]
        known += [self.status.step] if self.status else []
        known += [self.recorded.weights[-1][0]] if self.recorded.weights else []
        return max(known, default=0)

    @cached_property
    def measured_step(self) -> int:
        """The last step of which anything was measured: rows, evaluations, readable checkpoints. Signs are judged by
        it, because metrics may be lost of a run that went on."""
        known = [int(curves.step.max()) for curves in (self.rows, self.evaluations) if len(curves)]
        known += [self.checkpoints[-1].step] if self.checkpoints else []
        return max(known, default=0)

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will come: the status says so, its process is gone, or it has all its steps."""
        if self.status is not None:
            return self.status.state is not State.RUNNING or self.process_alive is False
        plan = self.known_plan
        return plan is not None and self.steps_done >= plan.trained_steps

    # What may be missing ------------------------------------------------------------------------------------------

    @cached_property
    def config(self) -> RunConfig:
        """What the run trains with at the end of what was measured: of a run with stages, the configuration of its
        stage. `epochs` and `eval_interval` are those of the whole run."""
        if self.recorded.config is None:
            raise MissingEvidence("the run's configuration (config.yaml or all_config.yaml) is missing or unreadable")
        return self.recorded.config.stage(self.stage)

    @cached_property
    def stage(self) -> int:
        """The number of the stage in which the last row was written; 0 of a run without stages."""
        found = [series for curves in (self.rows, self.evaluations) if (series := curves.get("stage")) is not None]
        config = self.recorded.config
        highest = 0 if config is None or config.stages is None else len(config.stages) - 1
        return min(highest, max((int(series.finite().value.max(initial=0)) for series in found), default=0))

    @cached_property
    def stage_ends(self) -> tuple[int, ...]:
        """The optimizer steps at which one stage followed another, so far."""
        series = self.evaluations.get("stage")
        if series is None:
            return ()
        ended = [series.step[series.value == number] for number in range(self.stage)]
        return tuple(int(steps.max()) for steps in ended if len(steps))

    @property
    def facts(self) -> DataFacts:
        if self.data is None:
            raise MissingEvidence(f"facts about the puzzles: {self.data_problem}")
        return self.data

    @property
    def plan(self) -> Plan:
        if self.known_plan is None:
            raise MissingEvidence(
                f"the planned number of optimizer steps ({self.data_problem or 'the configuration is unreadable'})"
            )
        return self.known_plan

    @cached_property
    def known_plan(self) -> Plan | None:
        return _plan(self)

    @property
    def progress(self) -> float:
        """Share of the planned steps up to `measured_step`, 0 to 1."""
        return min(1.0, self.measured_step / self.plan.trained_steps) if self.plan.trained_steps else 1.0

    def train(self, name: str) -> Series:
        """A scalar of the train rows. Raises MissingEvidence when no row has it."""
        return self._series(self.rows, name, "train rows")

    def train_groups(self, group: str) -> dict[str, Series]:
        """The scalars of a group by module, for example of `grad_norm`. Raises MissingEvidence when there are none."""
        found = self.rows.group(group)
        if not found:
            raise MissingEvidence(f"{group} in the train rows{self._why_no_rows(self.rows)}")
        return found

    def evaluated(self, name: str) -> Series:
        """A scalar of the evaluation rows. Raises MissingEvidence when no row has it."""
        return self._series(self.evaluations, name, "evaluations")

    def need_checkpoints(self, least: int) -> tuple[CheckpointFacts, ...]:
        """The checkpoints. Raises MissingEvidence when there are fewer than `least`."""
        if len(self.checkpoints) < least:
            raise MissingEvidence(f"{least} readable checkpoint(s); found {len(self.checkpoints)}")
        return self.checkpoints

    def _series(self, curves: Curves, name: str, where: str) -> Series:
        series = curves.get(name)
        if series is None or not len(series):
            raise MissingEvidence(f"{name} in the {where}{self._why_no_rows(curves)}")
        return series

    def _why_no_rows(self, curves: Curves) -> str:
        if len(curves):
            return ""
        if self.is_reference:
            why = f" ({self.data_problem})" if self.data_problem and curves is self.evaluations else ""
            return f": the reference keeps no metrics in its run directory; --metrics reads an export of them{why}"
        return ": there is no such row" + ("" if self.is_ended else " yet")


def _plan(run: Evidence) -> Plan | None:
    config = run.recorded.config
    if config is not None and run.data is not None:
        length = RunLength.of(config, run.data.total_groups, run.data.mean_puzzle_examples)
        return Plan(length.trained_steps, length.scheduled_steps, length.steps_per_interval, "configuration and data")
    if run.status is not None and run.status.total_steps:
        total = run.status.total_steps
        return Plan(total, total, None, "status.json")
    if config is not None and run.is_reference:
        # Evaluations, and checkpoints where one is kept at each, are an interval apart.
        evaluated = sorted(set(run.recorded.evaluations.step.tolist()))
        kept = [step for step, _ in run.recorded.weights] if config.checkpoint_every_eval else []
        for steps, known_from in ((evaluated, "the steps of the evaluations"), (kept, "the steps of the checkpoints")):
            if steps and steps[0] > 0 and all(step % steps[0] == 0 for step in steps):
                trained = steps[0] * (config.epochs // config.eval_interval)
                if run.steps_done <= trained:
                    return Plan(trained, trained, steps[0], known_from)
    return None
