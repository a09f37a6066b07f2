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
    """`jobs` trials at once, each with `threads` CPU threads, which its processes share; `devices` as
    CUDA_VISIBLE_DEVICES of each slot."""

    jobs: int
    threads: int
    devices: tuple[str, ...] = ()


def share_out(resources: Resources, configs: Sequence[RunConfig]) -> Share:
    """Share this machine among the trials of a space with these configurations.

    On CPU `auto` means one job a core for small models, and one job with all cores for others; on GPUs one job a GPU,
    or as many as fit on each when a trial asks for a part of one. Where a trial has several processes, each of them
    counts: for a core, or for a GPU of its own.
    """
    cores = available_cores()
    devices = visible_gpus() if any(config.device in ("auto", "cuda") for config in configs) else ()
    slots = max(1, int(1 / resources.gpus_per_trial)) if 0 < resources.gpus_per_trial < 1 else 1
    if devices and resources.gpus_per_trial > 0:
        devices = tuple(device for device in devices for _ in range(slots))
    processes = resources.processes
    if processes > 1:
        whole_groups = range(0, len(devices) - processes + 1, processes)
        devices = tuple(",".join(devices[first : first + processes]) for first in whole_groups)
    is_small = all(config.arch.hidden_size <= SMALL_MODEL_WIDTH for config in configs)
    automatic = len(devices) if devices else max(1, cores // processes) if is_small else 1
    jobs = automatic if resources.jobs == "auto" else resources.jobs
    return Share(jobs, max(1, cores // jobs), devices)


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
