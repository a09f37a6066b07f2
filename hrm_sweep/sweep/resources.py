"""How many trials run at once, and what each of them gets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.errors import UsageError
from hrm_sweep.sweep.space import Resources

SMALL_MODEL_WIDTH = 128
"""Up to this hidden size a matrix product is too small to gain from a second thread: on two cores two one-thread trials
of hrm_v1_tiny do more steps a second together than one two-thread trial (docs/performance.md)."""


_TAKEN_BY_NOBODY = 0.1  # a part that driver and desktop may hold, and a GPU still counts as free


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
    or as many as fit on each when a trial asks for a part of one, where its memory is free. Where a trial has several
    processes, each of them counts: for a core, or for a GPU of its own. Raises UsageError when no GPU has room for a
    trial.
    """
    cores = available_cores()
    devices = visible_gpus() if any(config.device in ("auto", "cuda") for config in configs) else ()
    if devices and resources.gpus_per_trial > 0:
        devices = slots_with_room(devices, resources.gpus_per_trial, gpu_memory())
    processes = resources.processes
    if processes > 1:
        whole_groups = range(0, len(devices) - processes + 1, processes)
        devices = tuple(",".join(devices[first : first + processes]) for first in whole_groups)
    is_small = all(config.arch.hidden_size <= SMALL_MODEL_WIDTH for config in configs)
    automatic = len(devices) if devices else max(1, cores // processes) if is_small else 1
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


@dataclass(frozen=True)
class GpuMemory:
    """Of one GPU, in MiB."""

    free: int
    total: int


def slots_with_room(devices: Sequence[str], part: float, memory: Mapping[str, GpuMemory]) -> tuple[str, ...]:
    """A device for each trial that fits, when each takes this part of a GPU (1 or more: a whole one).

    A GPU that others use offers what they leave; one of unknown memory is taken for free. Raises UsageError when none
    has room.
    """
    part = min(part, 1.0)
    slots: list[str] = []
    for device in devices:
        share = 1.0
        if device in memory:
            share = min(1.0, memory[device].free / memory[device].total + _TAKEN_BY_NOBODY)
        slots += [device] * int(share / part + 1e-9)
    if not slots:
        found = ", ".join(
            f"GPU {name}: {one.free} of {one.total} MiB" for name, one in memory.items() if name in devices
        )
        raise UsageError(
            f"no GPU has the memory free that a trial asks for ({part:.0%} of one); free is {found}; end what uses "
            "them, name others in CUDA_VISIBLE_DEVICES, or lower resources.gpus_per_trial"
        )
    return tuple(slots)


def gpu_memory() -> dict[str, GpuMemory]:
    """Memory of each GPU by its index and its UUID, as nvidia-smi says; empty where it says nothing."""
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return read_gpu_memory(listing)


def read_gpu_memory(listing: str) -> dict[str, GpuMemory]:
    """The lines `index, uuid, free, total` of nvidia-smi; those of GPUs that do not tell (`[N/A]`) are left out."""
    found: dict[str, GpuMemory] = {}
    for line in listing.splitlines():
        index, _, rest = line.partition(",")
        uuid, *sizes = [field.strip() for field in rest.split(",")]
        if len(sizes) == 2 and all(size.isdecimal() for size in sizes) and int(sizes[1]):
            found[index.strip()] = found[uuid] = GpuMemory(int(sizes[0]), int(sizes[1]))
    return found
