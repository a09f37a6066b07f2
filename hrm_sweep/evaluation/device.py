"""Where a model runs, in which dtype, and whether attention works there."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hrm_sweep.config import RunConfig
from hrm_sweep.data import Batch
from hrm_sweep.errors import ConfigError
from hrm_sweep.evaluation.memory import keep_freed_memory
from hrm_sweep.model.hrm import DTYPES, Rows
from hrm_sweep.model.layers import Attention


@dataclass(frozen=True)
class Device:
    """A torch device and the dtype of activations there."""

    torch_device: torch.device
    dtype: torch.dtype

    @staticmethod
    def choose(config: RunConfig, *, rank: int = 0, processes: int = 1) -> Device:
        """The device of `config` ("auto": CUDA, then MPS, then CPU); bfloat16 only on GPUs that have it. Of several
        processes of one run, each `rank` has a GPU of its own.

        Raises ConfigError for a device that this machine does not have, or that processes cannot share.
        """
        name = config.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if processes > 1 and name not in ("cuda", "cpu"):
            raise ConfigError(
                f"device: {config.device!r} is one device, and {processes} processes need one each; use cuda or cpu"
            )
        if processes > 1 and name == "cuda":
            name = f"cuda:{rank}"
        try:
            device = torch.device(name)
        except RuntimeError:
            meant = "; cuda is a GPU" if name.lower().startswith("gpu") else ""
            raise ConfigError(
                f"device: {config.device!r} is no name of a device; expected auto, cpu, cuda, cuda:N or mps{meant}"
            ) from None
        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError):
            missing = repr(config.device) if processes == 1 else f"{name} for the process of rank {rank}"
            raise ConfigError(
                f"device: {missing} is not available here; use {', '.join(['auto', *available_devices()])} "
                "(`hrm-sweep doctor` says more about each)"
            ) from None
        if device.type == "cpu":
            keep_freed_memory()
        wanted = DTYPES[config.arch.forward_dtype]
        if wanted is torch.bfloat16 and not (device.type == "cuda" and torch.cuda.is_bf16_supported()):
            wanted = torch.float32
        return Device(device, wanted)

    @property
    def threads(self) -> int:
        """CPU threads that torch computes with."""
        return torch.get_num_threads()

    @property
    def name(self) -> str:
        """The hardware's own name."""
        if self.torch_device.type == "cuda":
            return torch.cuda.get_device_name(self.torch_device)
        return _cpu_name()

    def peak_bytes(self) -> int | None:
        """The most memory that this process has taken so far: tensors on a GPU, everything on a CPU; None where the
        system does not say."""
        if self.torch_device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.torch_device)
        try:
            import resource  # not on Windows
        except ImportError:
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def available_devices() -> list[str]:
    """The devices of this machine by name, the CPU first."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def rows_on(batch: Batch, device: Device, part: slice = slice(None)) -> Rows:
    """The rows `part` of a batch of the loader as tensors on the device, int32."""
    arrays = (batch.inputs[part], batch.labels[part], batch.puzzle_identifiers[part])
    return Rows(*(torch.from_numpy(array).to(device.torch_device, non_blocking=True) for array in arrays))


def attention_error(device: Device) -> float:
    """Largest difference between the model's attention layer and naive attention with the same weights.

    The fault it looks for is a backend, or a layout, that mixes heads and positions: every shape fits and the accuracy
    is 0 % (sapientinc/HRM PR#54, ml-explore/mlx#3585). Expect < 1e-4 in float32, < 2e-2 in bfloat16.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = Attention(hidden_size=64, num_heads=4).to(device.torch_device)
        x = torch.randn(2, 17, 64).to(device.torch_device, device.dtype)
    with torch.no_grad():
        return float((layer(x, None).float() - _naive_attention(layer, x.float())).abs().max())


def _naive_attention(layer: Attention, x: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, one head at a time, in float32."""
    width = x.shape[-1] // layer.num_heads
    q, k, v = (x @ layer.qkv_proj.weight.T).chunk(3, dim=-1)  # each (B, T, D), heads side by side
    mixed = []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        scores = q[..., part] @ k[..., part].transpose(-1, -2) / width**0.5  # (B, T, T)
        mixed.append(scores.softmax(dim=-1) @ v[..., part])
    return torch.cat(mixed, dim=-1) @ layer.o_proj.weight.T
