"""One training run, from its configuration to how it ended."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from hrm_sweep.config import RunConfig, load_config, write_config
from hrm_sweep.config.schedule import RunLength, uneven_shares
from hrm_sweep.data import open_folder
from hrm_sweep.data.resolve import with_data, with_data_path
from hrm_sweep.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DiskFullError,
    HrmSweepError,
    NonFiniteError,
    RunDirectoryError,
)
from hrm_sweep.evaluation.accuracy import data_shape
from hrm_sweep.evaluation.device import Device
from hrm_sweep.model.hrm import HRM
from hrm_sweep.runs import Cause, MetricRow, RunDirectory, State, Status, StopReason, write_status
from hrm_sweep.runs.formats import read_run
from hrm_sweep.runs.formats.checkpoint import best_checkpoint
from hrm_sweep.runs.trackers import Tracking, require_tracker
from hrm_sweep.training.loop import Prepared, Run
from hrm_sweep.training.ranks import Ranks

# Keys that a resumed run may change: they do not touch what is computed, only where, in what parts and for how long.
_MAY_CHANGE = {
    "max_seconds",
    "stop_when_solved",
    "device",
    "compile",
    "micro_batch_size",
    "checkpoint_path",
    "checkpoint_every_eval",
    "data",
    "tracker",
}


def prepare(config: RunConfig, *, rank: int = 0, processes: int = 1, resume: bool = False) -> Prepared:
    """Check everything that can be checked before a file is written. Raises ConfigError, DataError, or, where
    `init_from` names no checkpoint and the run does not go on from one of its own, CheckpointError."""
    require_equal_shares(config, processes)
    require_tracker(config)
    device = Device.choose(config, rank=rank, processes=processes)
    config = with_data(config)
    assert config.data_path is not None
    data = open_folder(Path(config.data_path))
    facts = data.train.metadata
    length = RunLength.of(config, facts.total_groups, facts.mean_puzzle_examples)
    if length.trained_steps == 0:
        rows = int(config.eval_interval * facts.total_groups * facts.mean_puzzle_examples)
        raise ConfigError(
            f"global_batch_size {config.global_batch_size} is larger than the data of one evaluation interval "
            f"({rows} rows: {config.eval_interval} epochs of {facts.total_groups} puzzles), so nothing would be "
            f"trained; use a batch of at most {rows} or a longer eval_interval"
        )
    return Prepared(config, data, length, device, None if resume else _start(config))


def _start(config: RunConfig) -> Path | None:
    """The file that `init_from` names. Raises CheckpointError or RunDirectoryError."""
    if config.init_from is None:
        return None
    path = Path(config.init_from)
    if not path.exists():
        raise CheckpointError(f"init_from: {path}: there is no such run or checkpoint; name one, or leave it out")
    return path if path.is_file() else best_checkpoint(read_run(path))


def require_equal_shares(config: RunConfig, processes: int) -> None:
    """Raises ConfigError when so many processes cannot have equal shares of a batch."""
    if problem := uneven_shares(config, processes):
        raise ConfigError(f"global_batch_size: {problem}")


def run_training(
    config: RunConfig,
    directory: RunDirectory,
    *,
    resume: bool = False,
    threads: int | None = None,
    processes: int = 1,
    stop: Callable[[], StopReason | None] = lambda: None,
    on_row: Callable[[MetricRow], None] = lambda row: None,
    say: Callable[[str], None] = print,
) -> Status:
    """Train `config` in `directory` and return how it ended; a run that fails is a status, not an exception.

    resume   continue from the last checkpoint (from the start where there is none yet).
    threads    CPU threads of torch, of all processes together; None leaves torch's own choice.
    processes  how many train it together, on a GPU each or on the CPU. The run does not depend on it.
    stop       asked after every step; a reason ends the run within a step.
    on_row     sees every metrics row right after it is written.
    say        one line for the log.

    Raises RunDirectoryError when another process writes there, or when it already holds a run and `resume` is off.
    """
    config = with_data_path(config)
    if not resume and directory.is_run():
        raise RunDirectoryError(
            f"{directory.path}: already holds a run; continue it with --resume, or name another --run-dir"
        )
    with directory.locked():
        status = Status.starting()
        tracking = Tracking(config, directory, lambda: count_parameters(config), say)

        def row_written(row: MetricRow) -> None:
            tracking.row(row)
            on_row(row)

        try:
            if threads is not None:
                torch.set_num_threads(threads)
            if directory.is_run():
                refuse_other_config(config, directory)
            if not directory.is_run() or load_config(directory.config) != config:
                write_config(config, directory.config)
            write_status(directory.status, status)
            if processes == 1:
                prepared = prepare(config, resume=resume and directory.last_checkpoint.is_file())
                tracking.open()
                status = Run(prepared, directory, status, stop, row_written, say, Ranks.alone()).train(resume)
            else:
                # Here, for not every build of torch has what it needs.
                from hrm_sweep.training.group import SharedRun, train_together

                require_equal_shares(config, processes)
                require_tracker(config)
                each = max(1, torch.get_num_threads() // processes)
                job = SharedRun(with_data(config), directory, status, resume, each)
                tracking.open()
                status = train_together(job, processes, stop=stop, on_row=row_written, say=say)
                if status.state is State.FAILED:
                    say(f"failed ({status.cause}): {status.message}")
        except Exception as error:  # the border of a run: whatever happened becomes its cause
            cause, message = explain_failure(error)
            if cause is Cause.BUG:
                traceback.print_exc()
            say(f"failed ({cause}): {message}")
            status = status.ended(State.FAILED, cause=cause, exit_code=1, message=message)
        tracking.close(failed=status.state is State.FAILED)
        try:
            write_status(directory.status, status)
        except (DiskFullError, OSError) as error:
            say(f"status.json could not be written: {error}")
        return status


def count_parameters(config: RunConfig) -> int:
    """How many numbers the optimizer of this configuration trains. Its data folder is there."""
    data = open_folder(Path(str(with_data(config).data_path)))
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        model = HRM(config.arch, data_shape(data.train), torch.float32)
    return sum(parameter.numel() for parameter in model.parameters())


def explain_failure(error: BaseException) -> tuple[Cause, str]:
    """The cause of a failed run and a message for its status."""
    text = str(error) or type(error).__name__
    lowered = text.lower()
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in lowered or "can't allocate memory" in lowered)
    ):
        return Cause.OOM, text.splitlines()[0]
    if isinstance(error, NonFiniteError):
        return Cause.NAN, text
    if isinstance(error, DataError):
        return Cause.DATA, text
    if isinstance(error, (DiskFullError, OSError)):
        return Cause.STORAGE, text
    if isinstance(error, HrmSweepError):
        return Cause.CONFIG, text
    return Cause.BUG, f"{type(error).__name__}: {text}"


def refuse_other_config(config: RunConfig, directory: RunDirectory) -> None:
    """Raises ConfigError when `config` would train something else than the run in `directory`."""
    if not directory.config.is_file():
        return
    before = load_config(directory.config)
    changed = [
        f"{name}: {getattr(before, name)} -> {getattr(config, name)}"
        for name in RunConfig.model_fields
        if name not in _MAY_CHANGE and getattr(before, name) != getattr(config, name)
    ]
    if changed:
        raise ConfigError(
            f"{directory.path}: the run was started with another configuration ({'; '.join(changed)}); "
            "resume it unchanged, or train the new one in another --run-dir"
        )
