"""Where a model runs, in which dtype, and whether attention works there."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from hrm_sweep.config import RunConfig
from hrm_sweep.data import Batch
from hrm_sweep.errors import ConfigError
from hrm_sweep.model.hrm import DTYPES, Rows


@dataclass(frozen=True)
class Device:
    """A torch device and the dtype of activations there."""

    torch_device: torch.device
    dtype: torch.dtype

    @staticmethod
    def choose(config: RunConfig) -> Device:
        """The device of `config` ("auto": CUDA, then MPS, then CPU); bfloat16 only on GPUs that have it.

        Raises ConfigError for a device that this machine does not have.
        """
        name = config.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        try:
            device = torch.device(name)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError):
            raise ConfigError(
                f"device: {config.device!r} is not available here; use auto, cpu, cuda, cuda:N or mps "
                "(`hrm-sweep doctor` shows what there is)"
            ) from None
        wanted = DTYPES[config.arch.forward_dtype]
        if wanted is torch.bfloat16 and not (device.type == "cuda" and torch.cuda.is_bf16_supported()):
            wanted = torch.float32
        return Device(device, wanted)

    @property
    def name(self) -> str:
        """The hardware's own name."""
        if self.torch_device.type == "cuda":
            return torch.cuda.get_device_name(self.torch_device)
        return _cpu_name()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def rows_on(batch: Batch, device: Device) -> Rows:
    """A batch of the loader as tensors on the device, int32."""
    arrays = (batch.inputs, batch.labels, batch.puzzle_identifiers)
    return Rows(*(torch.from_numpy(array).to(device.torch_device, non_blocking=True) for array in arrays))


def attention_error(device: Device) -> float:
    """Largest difference between the attention that the model uses and naive attention, on random q, k, v.

    Shapes (B, heads, T, d) with heads != T, so that a backend that swaps the two is seen: the fault that gives 0 %
    accuracy with every shape fitting (hrm-facts 2). Expect < 1e-5 in float32 and < 2e-2 in bfloat16.
    """
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 17, 16, generator=generator).to(device.torch_device, device.dtype) for _ in range(3))
    got = F.scaled_dot_product_attention(q, k, v).float()
    scores = q.float() @ k.float().transpose(-1, -2) / q.shape[-1] ** 0.5
    return float((got - scores.softmax(dim=-1) @ v.float()).abs().max())
