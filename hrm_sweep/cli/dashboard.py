"""`hrm-sweep dashboard`: browse studies with optuna-dashboard."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from hrm_sweep.cli.complete import studies
from hrm_sweep.cli.studies import storage_url


def dashboard(
    study: Annotated[str | None, typer.Option(help="Open the page of this study.", autocompletion=studies)] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="URL of the database (default: sqlite:///trials/optuna.db, or HRM_SWEEP_STORAGE)."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; there is no login, so think before changing it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: the first free one from 8080 on.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Browse studies with optuna-dashboard. Ctrl-C ends it.

    Example: hrm-sweep dashboard --study quickstart --open
    """
    import threading
    import webbrowser

    from hrm_sweep.sweep.dashboard import is_loopback, serve_dashboard
    from hrm_sweep.sweep.storage import quiet_optuna

    quiet_optuna()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    with serve_dashboard(storage_url(storage), study, host=host, port=port) as address:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if not is_loopback(host):
            print("warning: whoever reaches this address can change and delete studies; there is no login", flush=True)
        if open_browser:
            webbrowser.open(address)
        ended.wait()
