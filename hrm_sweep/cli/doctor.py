"""`hrm-sweep doctor`: what this machine offers, and whether attention computes what it should."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

# Largest difference from naive attention that rounding explains (hrm-facts, implication 16).
_ALLOWED = {"float32": 1e-4, "bfloat16": 2e-2}


def doctor(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show device, dtype, threads and versions, and test attention on it. Exit code 1 when the test fails.

    Example: hrm-sweep doctor --device cuda:0
    """
    import dataclasses
    import json

    from rich.console import Console

    from hrm_sweep.config import config_from_mapping
    from hrm_sweep.evaluation.device import Device, attention_error
    from hrm_sweep.runs import describe_environment

    chosen = Device.choose(config_from_mapping({"device": device}, "--device"))
    dtype = str(chosen.dtype).removeprefix("torch.")
    environment = describe_environment(
        device=str(chosen.torch_device),
        device_name=chosen.name,
        dtype=dtype,
        attention_backend="scaled_dot_product_attention",
        threads=chosen.threads,
    )
    error = attention_error(chosen)
    passed = error <= _ALLOWED[dtype]
    facts = {**dataclasses.asdict(environment), "attention_error": error, "attention_ok": passed}
    if as_json:
        print(json.dumps(facts, indent=1))
        sys.exit(0 if passed else 1)
    console = Console(highlight=False, soft_wrap=True)
    versions = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    console.print(f"device     {environment.device}, {environment.device_name}")
    console.print(f"dtype      {dtype} for activations, float32 for parameters")
    console.print(f"threads    {environment.threads}")
    console.print(f"python     {environment.python} on {environment.platform}")
    console.print(f"packages   {versions}")
    verdict = "agrees with naive attention" if passed else "[red]DIFFERS from naive attention[/red]"
    console.print(f"attention  {verdict}: largest difference {error:.1e}, allowed {_ALLOWED[dtype]:.0e}")
    if not passed:
        console.print("           results on this device cannot be trusted; use --device cpu, or another torch version")
        sys.exit(1)
