"""Samplers by their name in a search space. All but the exhaustive ones are Optuna's.

A sampler is built anew for every trial, from the study's seed and the trial's number. So it needs no state besides the
database, workers with the same seed do not draw the same values, and a study that runs one job at a time repeats
itself also when it was interrupted.
"""

from __future__ import annotations

from abc import abstractmethod
from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from pydantic import Field

from hrm_sweep.config.run import NonNegativeInt, PositiveInt
from hrm_sweep.errors import SpaceError
from hrm_sweep.sweep.parts import Part


class Sampler(Part):
    """What samplers have in common. `modules` are those that the extra [samplers] brings."""

    modules: ClassVar[tuple[str, ...]] = ()
    seed: NonNegativeInt = 0

    @abstractmethod
    def build(self, trial_number: int) -> BaseSampler:
        """The Optuna sampler that draws this trial's values."""

    def require_modules(self, where: str) -> None:
        """Raises SpaceError when a package is missing that this sampler needs."""
        missing = [module for module in self.modules if find_spec(module) is None]
        if missing:
            raise SpaceError(
                f"{where}: sampler.name: this sampler needs {' and '.join(missing)}; "
                "install it with `pip install 'hrm-sweep[samplers]'`, or use tpe, random, nsgaii or nsgaiii"
            )

    def _seed(self, trial_number: int) -> int:
        return int(np.random.SeedSequence([self.seed, trial_number]).generate_state(1)[0])


class Tpe(Sampler):
    name: Literal["tpe"] = "tpe"
    n_startup_trials: NonNegativeInt = 10
    multivariate: bool | None = None
    group: bool = False
    constant_liar: bool = True

    def build(self, trial_number: int) -> BaseSampler:
        return optuna.samplers.TPESampler(
            seed=self._seed(trial_number),
            n_startup_trials=self.n_startup_trials,
            multivariate=True if self.group else self.multivariate,
            group=self.group,
            constant_liar=self.constant_liar,
        )


class Random(Sampler):
    name: Literal["random"]

    def build(self, trial_number: int) -> BaseSampler:
        return optuna.samplers.RandomSampler(seed=self._seed(trial_number))


class NsgaII(Sampler):
    name: Literal["nsgaii"]
    population_size: PositiveInt = 50

    def build(self, trial_number: int) -> BaseSampler:
        return optuna.samplers.NSGAIISampler(seed=self._seed(trial_number), population_size=self.population_size)


class NsgaIII(Sampler):
    name: Literal["nsgaiii"]
    population_size: PositiveInt = 50

    def build(self, trial_number: int) -> BaseSampler:
        return optuna.samplers.NSGAIIISampler(seed=self._seed(trial_number), population_size=self.population_size)


class Qmc(Sampler):
    """Low-discrepancy points. One sequence for the whole study: its seed does not depend on the trial."""

    modules = ("scipy",)
    name: Literal["qmc"]
    scramble: bool = True

    def build(self, trial_number: int) -> BaseSampler:
        return optuna.samplers.QMCSampler(
            seed=self.seed,
            scramble=self.scramble,
            independent_sampler=Random(name="random", seed=self.seed).build(trial_number),
        )


class CmaEs(Sampler):
    modules = ("cmaes",)
    name: Literal["cmaes"]
    n_startup_trials: NonNegativeInt = 1

    def build(self, trial_number: int) -> BaseSampler:
        return optuna.samplers.CmaEsSampler(
            seed=self._seed(trial_number), n_startup_trials=self.n_startup_trials, warn_independent_sampling=False
        )


class Gp(Sampler):
    """Gaussian process. Optuna's implementation imports torch, so each worker needs about 150 MiB more."""

    modules = ("scipy", "torch")
    name: Literal["gp"]
    n_startup_trials: NonNegativeInt = 10

    def build(self, trial_number: int) -> BaseSampler:
        return optuna.samplers.GPSampler(seed=self._seed(trial_number), n_startup_trials=self.n_startup_trials)


class Exhaustive(Sampler):
    """Every combination exactly once, then the study ends. The combinations are handed out by `budget`, under its lock,
    so that parallel workers never take the same one; what is left to a sampler (a partial `first`) is random."""

    def build(self, trial_number: int) -> BaseSampler:
        return optuna.samplers.RandomSampler(seed=self._seed(trial_number))


class Grid(Exhaustive):
    """In the order of the file, the last parameter fastest."""

    name: Literal["grid"]


class BruteForce(Exhaustive):
    """In a random order, so that a small budget sees all of the space."""

    name: Literal["brute_force"]


AnySampler = Annotated[
    Tpe | Random | NsgaII | NsgaIII | Qmc | CmaEs | Gp | Grid | BruteForce, Field(discriminator="name")
]
