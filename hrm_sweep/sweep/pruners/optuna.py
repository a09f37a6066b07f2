"""Optuna's own pruners, by the names and units of a search space: epochs instead of steps."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

from optuna import pruners
from optuna.pruners import BasePruner
from pydantic import Field, model_validator

from hrm_sweep.config.run import NonNegativeInt, PositiveInt
from hrm_sweep.sweep.parts import Number
from hrm_sweep.sweep.pruners.base import Progress, Pruner, at_epoch


class OptunaPruner(Pruner):
    """A pruner that asks one of Optuna's, but not at the last evaluation: whoever has come that far has a score, which
    the sampler and the other trials are better off with."""

    @abstractmethod
    def build(self, epochs: int) -> BasePruner:
        """Optuna's pruner for runs of this many epochs."""

    def verdict(self, progress: Progress) -> str | None:
        step = progress.trial.last_step
        if (
            step is None
            or progress.is_at_its_end
            or not self.build(progress.epochs).prune(progress.study, progress.trial)
        ):
            return None
        return f"{at_epoch(self, progress)}: {progress.metric} {progress.trial.intermediate_values[step]:.4g}"


class Hyperband(OptunaPruner):
    """Several brackets of successive halving; `max_epoch` is the length of the runs unless it is given."""

    name: ClassVar[str] = "hyperband"
    epoch_option: ClassVar[str | None] = "min_epoch"
    min_epoch: PositiveInt = 1
    max_epoch: PositiveInt | None = None
    reduction_factor: Annotated[int, Field(ge=2)] = 3

    def build(self, epochs: int) -> BasePruner:
        return pruners.HyperbandPruner(
            min_resource=self.min_epoch,
            max_resource=max(self.min_epoch, self.max_epoch or epochs),
            reduction_factor=self.reduction_factor,
        )


class SuccessiveHalving(OptunaPruner):
    """Asynchronous successive halving: at each rung only the best 1 / reduction_factor go on."""

    name: ClassVar[str] = "successive_halving"
    epoch_option: ClassVar[str | None] = "min_epoch"
    min_epoch: PositiveInt = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 4
    early_stopping_rate: NonNegativeInt = 0

    def build(self, epochs: int) -> BasePruner:
        return pruners.SuccessiveHalvingPruner(
            min_resource=self.min_epoch,
            reduction_factor=self.reduction_factor,
            min_early_stopping_rate=self.early_stopping_rate,
        )


class Percentile(OptunaPruner):
    """Prunes what is not among the best `percentile` percent of the finished trials at the same epoch."""

    name: ClassVar[str] = "percentile"
    epoch_option: ClassVar[str | None] = "warmup_epochs"
    percentile: Annotated[float, Field(ge=0, le=100)] = 25.0
    startup_trials: NonNegativeInt = 5
    warmup_epochs: NonNegativeInt = 0
    interval_epochs: PositiveInt = 1
    min_trials: PositiveInt = 1

    def build(self, epochs: int) -> BasePruner:
        return pruners.PercentilePruner(
            self.percentile,
            n_startup_trials=self.startup_trials,
            n_warmup_steps=self.warmup_epochs,
            interval_steps=self.interval_epochs,
            n_min_trials=self.min_trials,
        )


class Median(OptunaPruner):
    """Prunes what is below the median of the finished trials at the same epoch."""

    name: ClassVar[str] = "median"
    epoch_option: ClassVar[str | None] = "warmup_epochs"
    startup_trials: NonNegativeInt = 5
    warmup_epochs: NonNegativeInt = 0
    interval_epochs: PositiveInt = 1
    min_trials: PositiveInt = 1

    def build(self, epochs: int) -> BasePruner:
        return pruners.MedianPruner(
            n_startup_trials=self.startup_trials,
            n_warmup_steps=self.warmup_epochs,
            interval_steps=self.interval_epochs,
            n_min_trials=self.min_trials,
        )


class Threshold(OptunaPruner):
    """Prunes what lies outside `lower` .. `upper`."""

    name: ClassVar[str] = "threshold"
    epoch_option: ClassVar[str | None] = "warmup_epochs"
    lower: Number | None = None
    upper: Number | None = None
    warmup_epochs: NonNegativeInt = 0
    interval_epochs: PositiveInt = 1

    @model_validator(mode="after")
    def _has_a_bound(self) -> Threshold:
        if self.lower is None and self.upper is None:
            raise ValueError("expected lower, upper or both, found neither")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower {self.lower} is above upper {self.upper}")
        return self

    def build(self, epochs: int) -> BasePruner:
        return pruners.ThresholdPruner(
            lower=self.lower, upper=self.upper, n_warmup_steps=self.warmup_epochs, interval_steps=self.interval_epochs
        )
