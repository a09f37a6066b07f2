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

    from hrm_sweep.sweep.early import PRELOADED, load_training
    from hrm_sweep.sweep.environment import STORAGE_VARIABLE, limit_threads

    # Taken out of the environment, for children and what they start have no business with the storage.
    handed = os.environ.pop(STORAGE_VARIABLE, None)
    limit_threads(threads)
    if training is None or training.partition(":")[0] in PRELOADED:
        load_training()
    from hrm_sweep.cli.studies import storage_url
    from hrm_sweep.sweep.artifacts import require_artifacts
    from hrm_sweep.sweep.child import TRAINING
    from hrm_sweep.sweep.storage import patiently, quiet_optuna
    from hrm_sweep.sweep.study import open_study
    from hrm_sweep.sweep.worker import Orders, obey_signals, tie_to_parent, work

    quiet_optuna()
    if artifacts is not None:
        require_artifacts(artifacts)
    url = handed if storage is None and handed is not None else storage_url(storage)
    orders = Orders()
    obey_signals(orders)
    if tied:
        tie_to_parent(orders)
    opened = patiently(lambda: open_study(url, study))
    work(opened, orders, threads=threads, until=until, training=training or TRAINING, artifacts=artifacts)
