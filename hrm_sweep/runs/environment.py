"""environment.json: what a run was run on, so that drift inside a study can be seen."""

from __future__ import annotations

import dataclasses
import json
import platform
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import NoneType

from hrm_sweep.runs.directory import replaced_atomically

VERSION = 1  # of environment.json, where the file says none
_PACKAGES = ("hrm-sweep", "torch", "numpy", "optuna")


@dataclass(frozen=True)
class Environment:
    """Versions, device and numerics of a run.

    attention_error  largest difference between the model's attention and naive attention on this device; None where it
                     was not tested.
    """

    python: str
    packages: dict[str, str]
    host: str
    platform: str
    commit: str | None
    device: str
    device_name: str
    dtype: str
    attention_backend: str
    threads: int
    attention_error: float | None = None


def describe_environment(
    *,
    device: str,
    device_name: str,
    dtype: str,
    attention_backend: str,
    threads: int,
    attention_error: float | None = None,
) -> Environment:
    """The environment of this process; what only torch knows is handed in."""
    return Environment(
        python=sys.version.split()[0],
        packages={name: version for name in _PACKAGES if (version := package_version(name))},
        host=socket.gethostname(),
        platform=platform.platform(),
        commit=_commit(),
        device=device,
        device_name=device_name,
        dtype=dtype,
        attention_backend=attention_backend,
        threads=threads,
        attention_error=attention_error,
    )


def package_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that this code runs from, if it is one."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:  # git is not installed
        return None


def write_environment(path: Path, environment: Environment) -> None:
    with replaced_atomically(path) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(environment), indent=1), encoding="utf-8")


def read_environment(path: Path) -> Environment | None:
    """The environment, or None when there is none, or none that this version understands."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("version", VERSION) > VERSION:
            return None
        environment = Environment(**record)
        named = (environment.device, environment.device_name, environment.dtype, environment.attention_backend)
        error = environment.attention_error
        understood = all(isinstance(name, str) for name in named) and isinstance(error, (int, float, NoneType))
        return environment if understood else None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
