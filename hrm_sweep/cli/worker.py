"""`hrm-sweep worker`: what engines start. Not on the first help screen, for people have no need of it."""

from __future__ import annotations

from typing import Annotated

import typer


def worker(
    study: Annotated[str, typer.Option(help="Name of a study that exists in the storage.")],
    storage: Annotated[
        str | None, typer.Option(help="URL of the storage; with a password only as HRM_SWEEP_STORAGE.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each trial.")] = 1,
    until: Annotated[float, typer.Option(help="Start no trial after this time, in seconds since 1970.")] = float("inf"),
    tied: Annotated[bool, typer.Option("--tied", help="End with the process that holds standard input.")] = False,
    artifacts: Annotated[
        str | None, typer.Option(help="URL through which hosts that share no file system hand on run directories.")
    ] = None,
    training: Annotated[str | None, typer.Option(help="module:function that trains, for tests and adapters.")] = None,
) -> None:
    """Run trials of a study, one after another, until its budget is reached.

    Example: hrm-sweep worker --study quickstart --storage postgresql+psycopg://sweep@db/sweeps
    """
    import os

    from hrm_sweep.cli.studies import storage_url
    from hrm_sweep.sweep.artifacts import require_artifacts
    from hrm_sweep.sweep.child import TRAINING
    from hrm_sweep.sweep.storage import STORAGE_VARIABLE, patiently, quiet_optuna
    from hrm_sweep.sweep.study import open_study
    from hrm_sweep.sweep.worker import Orders, limit_threads, obey_signals, tie_to_parent, work

    quiet_optuna()
    if artifacts is not None:
        require_artifacts(artifacts)
    orders = Orders()
    obey_signals(orders)
    if tied:
        tie_to_parent(orders)
    limit_threads(threads)
    # Taken out of the environment, for children and what they start have no business with the storage.
    url = storage_url(storage)
    os.environ.pop(STORAGE_VARIABLE, None)
    opened = patiently(lambda: open_study(url, study))
    work(opened, orders, threads=threads, until=until, training=training or TRAINING, artifacts=artifacts)
