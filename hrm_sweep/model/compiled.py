"""Reasoning modules compiled ahead of time, for their calls without a gradient: 12 of 16 in a step of 2 x 2 cycles.

What is compiled is the definition in `block.py`, with the weights as arguments: one package serves every cycle count,
ACT limit, step and trial whose module has the same shape. `python -m hrm_sweep.model.compiled SHAPE PATH` makes one;
a process of its own, for the compiler takes long, much memory, and may fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrm_sweep.config import ArchConfig


@dataclass(frozen=True)
class CompiledShape:
    """All that a package depends on: the module, `rows` of so many `positions` at once, and where it runs."""

    arch: str  # of the ArchConfig, as JSON
    layers: int
    rows: int
    positions: int
    device: str
    dtype: str
    threads: int

    @property
    def key(self) -> str:
        """Names the package: this, the version of torch, the device's own name, and the source of the blocks."""
        sources = [Path(__file__).with_name(name).read_bytes() for name in ("block.py", "layers.py", "compiled.py")]
        hardware = torch.cuda.get_device_name(self.device) if self.device.startswith("cuda") else ""
        parts = [json.dumps(asdict(self)).encode(), torch.__version__.encode(), hardware.encode(), *sources]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def compiled_shape(
    arch: ArchConfig, layers: int, *, rows: int, positions: int, device: torch.device, dtype: torch.dtype
) -> CompiledShape:
    """The shape of a module with so many layers. What of `arch` a call does not depend on is left out."""
    names = ("hidden_size", "num_heads", "expansion", "pos_encodings", "rope_theta", "rms_norm_eps")
    chosen = json.dumps({name: getattr(arch, name) for name in names})
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    return CompiledShape(chosen, layers, rows, positions, str(device), str(dtype).removeprefix("torch."), threads)


class Compiled:
    """A loaded package: `call(z, injection, weights)` for any number of rows, of which it takes `rows` at once."""

    def __init__(self, path: Path, rows: int) -> None:
        import torch._inductor  # 1 to 2 s

        self._run: Callable[..., Tensor] = torch._inductor.aoti_load_package(str(path))
        self._rows = rows

    def fits(self, z: Tensor) -> bool:
        """Whether there are rows enough for one call."""
        return len(z) >= self._rows

    def __call__(self, z: Tensor, injection: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """The last rows overlap with those before where `rows` does not divide: they are computed twice."""
        if len(z) == self._rows:
            return self._run(z.contiguous(), injection.contiguous(), list(weights))
        y = torch.empty_like(z)
        for start in range(0, len(z), self._rows):
            part = slice(min(start, len(z) - self._rows), min(start + self._rows, len(z)))
            y[part] = self._run(z[part].contiguous(), injection[part].contiguous(), list(weights))
        return y


class _Call(nn.Module):
    """A module whose weights are arguments."""

    def __init__(self, shape: CompiledShape) -> None:
        from hrm_sweep.model.block import ReasoningModule
        from hrm_sweep.model.layers import RotaryPositions

        super().__init__()
        arch = ArchConfig.model_validate(json.loads(shape.arch))
        self.blocks = ReasoningModule(arch, shape.layers)
        self.blocks.is_sliced = False
        self.rotary: RotaryPositions | None = None
        if arch.pos_encodings == "rope":
            self.rotary = RotaryPositions(shape.positions, arch.hidden_size // arch.num_heads, arch.rope_theta)

    def forward(self, z: Tensor, injection: Tensor, weights: list[Tensor]) -> Tensor:
        named = dict(zip((name for name, _ in self.blocks.named_parameters()), weights, strict=True))
        y: Tensor = torch.func.functional_call(self.blocks, named, (z, injection, self.rotary))
        return y


def build(shape: CompiledShape, path: Path) -> None:
    """Make the package of `shape`, whole or not at all. Raises whatever the compiler raises."""
    import torch._inductor

    device = torch.device(shape.device)
    if device.type == "cpu":
        torch.set_num_threads(shape.threads)
    call = _Call(shape).to(device)
    D = call.blocks.arch.hidden_size
    z, injection = torch.randn(2, shape.rows, shape.positions, D, device=device, dtype=getattr(torch, shape.dtype))
    weights = [parameter.detach() for parameter in call.blocks.parameters()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with torch.no_grad():
            exported = torch.export.export(call, (z, injection, weights))
            torch._inductor.aoti_compile_and_package(exported, package_path=str(temporary))
            _check(Compiled(temporary, shape.rows)(z, injection, weights), call(z, injection, weights))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _check(got: Tensor, want: Tensor) -> None:
    """A package that computes something else is none."""
    difference = float((got.float() - want.float()).abs().max())
    allowed = 1e-4 if want.dtype is torch.float32 else 5e-2
    if not difference <= allowed:
        raise ValueError(f"the compiled form differs from the blocks by {difference:.2g}")


def main(arguments: Sequence[str]) -> None:
    """SHAPE PATH, and --yielding where somebody trains meanwhile, who goes first."""
    if "--yielding" in arguments and hasattr(os, "nice"):
        os.nice(19)
    fields: dict[str, Any] = json.loads(arguments[0])
    build(CompiledShape(**fields), Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
