"""What every verb has in common: `--quiet`, `--no-color`, and the order in which the help shows the verbs.

Both options may stand before a verb or behind it. `Verbs` gives them to every command, so that no verb has to declare
them and none can be forgotten.
"""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.console import Console

FIRST = {
    "run": "run a study, or continue it; without more, the quickstart",
    "diagnose": "say what is wrong with a run or a study, and why",
    "report": "write down what a study found, for a colleague",
    "best": "print the best configuration of a study",
    "dashboard": "browse all trials in the browser",
}
"""The verbs that matter first, in the order in which one needs them; those that there are."""

_FIRST_PANEL, _OTHER_PANEL = "Start with these", "Everything else"
_is_quiet = False


def is_quiet() -> bool:
    """Whether only what was asked for, warnings and errors are to be printed: no progress, no hints."""
    return _is_quiet


def hint(line: str) -> None:
    """Say what one might do next, unless nobody wants to hear it."""
    if not _is_quiet:
        typer.echo(line)


def output_console(*, stderr: bool = False, quiet: bool = False, soft_wrap: bool = False) -> Console:
    """A console on standard output or standard error. In a file or a pipe a line stays a line, with `soft_wrap` in a
    terminal too."""
    import sys

    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(highlight=False, soft_wrap=soft_wrap or not is_terminal, stderr=stderr, quiet=quiet)


def _set_quiet(context: typer.Context, value: bool) -> None:
    global _is_quiet
    if value or context.parent is None:
        _is_quiet = value


def _set_no_color(context: typer.Context, value: bool) -> None:
    if value:  # what rich, and every program that we start, goes by
        os.environ["NO_COLOR"] = "1"
        os.environ.pop("FORCE_COLOR", None)


def _shared(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            help="Print results, warnings and errors only: no progress, no hints.",
            callback=_set_quiet,
            is_eager=True,
            expose_value=False,
        ),
    ] = False,
    no_color: Annotated[
        bool,
        typer.Option(
            "--no-color",
            help="No colours, as with NO_COLOR=1 in the environment.",
            callback=_set_no_color,
            is_eager=True,
            expose_value=False,
        ),
    ] = False,
) -> None:
    """Carries the options that `Verbs` gives to every command."""


def _shared_options() -> list[Any]:
    carrier = typer.Typer(add_completion=False)
    carrier.command()(_shared)
    return list(typer.main.get_command(carrier).params)


class Verbs(TyperGroup):
    """The verbs: those that matter first are shown first, and each takes the shared options."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.params = [*self.params, *_shared_options()]
        self.commands = {name: self.commands[name] for name in sorted(self.commands, key=_rank)}
        for name, command in self.commands.items():
            command.rich_help_panel = _FIRST_PANEL if name in FIRST else _OTHER_PANEL  # type: ignore[attr-defined]
            for verb in getattr(command, "commands", {name: command}).values():
                verb.params = [*verb.params, *_shared_options()]


def overview(context: typer.Context) -> None:
    """Sweep and diagnose the Hierarchical Reasoning Model."""
    if context.invoked_subcommand is not None:
        return
    commands = context.command.commands  # type: ignore[attr-defined]
    typer.echo("Sweeps and diagnoses the Hierarchical Reasoning Model. Start with these:\n")
    for name, words in FIRST.items():
        if name in commands:
            typer.echo(f"  hrm-sweep {name:<11}{words}")
    others = ", ".join(name for name, command in commands.items() if name not in FIRST and not command.hidden)
    typer.echo("\n" + textwrap.fill(f"More: {others}", 80, subsequent_indent="      "))
    typer.echo("`hrm-sweep VERB --help` explains a verb, with an example; --help lists all.")


def _rank(name: str) -> int:
    return list(FIRST).index(name) if name in FIRST else len(FIRST)
