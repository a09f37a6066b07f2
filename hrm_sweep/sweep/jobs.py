"""How many trials at once on the cores of this machine: measured where a rule cannot know.

A small model gains nothing from a second thread, and a trial on each core is best (`share_out`, docs/performance.md).
How far a larger one uses several threads depends on the machine's caches and memory as much as on the model, so it is
measured: with its own kind beside it, once, and kept in the user's cache (`hrm_sweep.planning.calibration`). The trials
of such a model take long enough for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hrm_sweep.errors import TrainingError
from hrm_sweep.planning.calibration import Calibrate, Setting, speeds_of
from hrm_sweep.planning.cost import train_flops
from hrm_sweep.planning.run_plan import plan_run
from hrm_sweep.planning.speed import Point
from hrm_sweep.sweep.resources import SMALL_MODEL_WIDTH, Share, available_cores
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.space_lint import Combination, SpaceReport
from hrm_sweep.sweep.space_plan import memory_of_a_trial

BETTER = 1.05
"""So many times the optimizer steps a second, all trials together, are worth more trials at once: each of them takes
longer then, and the sampler knows less when it draws the next."""


def measured_share(
    space: SearchSpace,
    report: SpaceReport,
    share: Share,
    calibrate: Calibrate,
    say: Callable[[str], None] = lambda line: None,
) -> Share:
    """`share`, which `share_out` gives for a space, or one that does more, where `jobs` is auto.

    Never more jobs than trials: the cores of those left over go to the others. On a CPU with a model above
    `SMALL_MODEL_WIDTH`, twice as many jobs for as long as that gains and their memory fits. What is not known and not
    to be measured, or cannot be, leaves it at that.
    """
    resources, cores = space.resources, available_cores()
    if resources.jobs != "auto" or share.devices or resources.processes > 1:
        return share
    jobs = min(share.jobs, space.budget.trials)
    best = Share(jobs, max(1, cores // jobs))
    typical = _typical(report)
    if all(one.config.arch.hidden_size <= SMALL_MODEL_WIDTH for one in report.combinations):
        return best
    try:
        most = _steps_a_second(typical, best, calibrate, say)
        for candidate in _more_at_once(best, min(cores, space.budget.trials), cores):
            rate = _steps_a_second(typical, candidate, calibrate, say) if _fits(typical, candidate) else None
            if most is None or rate is None or rate < BETTER * most:
                break
            best, most = candidate, rate
    except TrainingError as error:
        say(str(error))
    return best


def _more_at_once(share: Share, limit: int, cores: int) -> Iterator[Share]:
    """Twice as many jobs each time, up to `limit`."""
    jobs = 2 * share.jobs
    while jobs <= limit:
        yield Share(jobs, cores // jobs)
        jobs *= 2


def _typical(report: SpaceReport) -> Combination:
    """The combination whose train step is in the middle, by its operations."""
    by_cost = sorted(report.combinations, key=lambda one: train_flops(one.config, one.puzzles.train.seq_len, 1))
    return by_cost[len(by_cost) // 2]


def _steps_a_second(one: Combination, share: Share, calibrate: Calibrate, say: Callable[[str], None]) -> float | None:
    """Of all trials together; None where it is not known."""
    facts = one.puzzles.train
    (speed,) = speeds_of([(one.config, facts)], Setting(share.jobs, share.threads), calibrate, say)
    return None if speed is None else share.jobs / speed.step_s(Point.of(one.config, facts.seq_len))


def _fits(one: Combination, share: Share) -> bool:
    there = memory_of_a_trial(share, 0)
    return there is None or plan_run(one.config, one.puzzles, None, on_gpu=False).memory.total <= there
