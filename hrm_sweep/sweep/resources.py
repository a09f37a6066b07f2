"""How many trials run at once, and what each of them gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.sweep.space import Resources

SMALL_MODEL_WIDTH = 128
"""Up to this hidden size a matrix product is too small to gain from a second thread: on two cores two one-thread trials
of hrm_v1_tiny do more steps a second together than one two-thread trial (docs/performance.md)."""


@dataclass(frozen=True)
class Share:
    """`jobs` trials at once, each with `threads` CPU threads; `devices` as CUDA_VISIBLE_DEVICES of each slot."""

    jobs: int
    threads: int
    devices: tuple[str, ...] = ()


def share_out(resources: Resources, configs: Sequence[RunConfig]) -> Share:
    """Share this machine among the trials of a space with these configurations.

    On CPU `auto` means one job a core for small models, and one job with all cores for others; on GPUs one job a GPU,
    or as many as fit on each when a trial asks for a part of one.
    """
    cores = available_cores()
    devices = visible_gpus() if any(config.device in ("auto", "cuda") for config in configs) else ()
    slots = max(1, int(1 / resources.gpus_per_trial)) if 0 < resources.gpus_per_trial < 1 else 1
    if devices and resources.gpus_per_trial > 0:
        devices = tuple(device for device in devices for _ in range(slots))
    is_small = all(config.arch.hidden_size <= SMALL_MODEL_WIDTH for config in configs)
    automatic = len(devices) if devices else cores if is_small else 1
    jobs = automatic if resources.jobs == "auto" else resources.jobs
    return Share(jobs, max(1, cores // jobs), devices)


def share_elsewhere(
    resources: Resources, configs: Sequence[RunConfig], workers: int | None, threads: int | None
) -> Share:
    """The same for an engine that places workers on other machines, of which nothing is known here.

    Small models get one thread and others four, unless it is said; without a number of workers, that of `jobs`, or one.
    """
    is_small = all(config.arch.hidden_size <= SMALL_MODEL_WIDTH for config in configs)
    jobs = 1 if resources.jobs == "auto" else resources.jobs
    return Share(workers or jobs, threads or (1 if is_small else 4))


def needs_gpu(configs: Sequence[RunConfig]) -> bool:
    """Whether any of them asks for a GPU by name, rather than taking one where there is one."""
    return any(config.device.startswith("cuda") for config in configs)


def available_cores() -> int:
    """Cores that this process may use, as far as the system says."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that this process may use, found without loading a GPU library."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(device for device in chosen.split(",") if device.strip() not in ("", "-1"))
    nodes = Path("/dev").glob("nvidia[0-9]*")
    return tuple(sorted((node.name.removeprefix("nvidia") for node in nodes), key=int))
