"""`hrm-sweep space`: search spaces of other tools, as ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm_sweep.cli.output import hint

if TYPE_CHECKING:
    from hrm_sweep.sweep.imports import Converted

space_app = typer.Typer(name="space", help="Convert search spaces of other tools.", no_args_is_help=True)

Output = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write it here (default: standard output).")
]
Base = Annotated[
    str, typer.Option(help="What the file does not say: a preset, a config file or a run directory of the model.")
]


@space_app.command()
def from_wandb(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP_YAML", help="A sweep file of Weights & Biases.")],
    output: Output = None,
    base: Base = "hrm_v1",
) -> None:
    """Convert a sweep of Weights & Biases to a search space.

    What has no counterpart is said on standard error. What would search something else is an error, and nothing is
    written then.

    Example: hrm-sweep space from-wandb sweep.yaml --output mine.yaml
    """
    from hrm_sweep.sweep.imports import from_wandb as convert

    _write(convert(sweep, base), output)


@space_app.command()
def from_hydra(
    config: Annotated[Path, typer.Argument(metavar="CONFIG_YAML", help="A config with hydra.sweeper in it.")],
    output: Output = None,
    base: Base = "hrm_v1",
) -> None:
    """Convert a config of Hydra with its Optuna sweeper to a search space.

    What has no counterpart is said on standard error. What would search something else is an error, and nothing is
    written then.

    Example: hrm-sweep space from-hydra config.yaml --output mine.yaml
    """
    from hrm_sweep.sweep.imports import from_hydra as convert

    _write(convert(config, base), output)


def _write(converted: Converted, output: Path | None) -> None:
    """Write the file, never over another one."""
    from hrm_sweep.errors import UsageError

    for line in converted.left_out:
        print(f"without counterpart: {line}", file=sys.stderr)
    if output is None:
        print(converted.text(), end="")
        return
    try:
        with output.open("x", encoding="utf-8") as handle:
            handle.write(converted.text())
    except FileExistsError:
        raise UsageError(f"--output {output}: exists and is left as it is; name a new file") from None
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None
    print(f"written: {output.as_posix()}")
    hint(f"next: hrm-sweep run {output.as_posix()}")
