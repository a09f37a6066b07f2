"""The machine and the process: attention that mixes heads, memory, disk, a process that died or hangs."""

from __future__ import annotations

import math

import numpy as np

from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import scaled_lr
from hrm_sweep.runs import Cause, State, Status

ATTENTION_ERROR = {"float32": 1e-3, "bfloat16": 5e-2}  # rounding gives 3e-7 and 1e-2; a swapped layout 1e-1 and more
TRAINED_SWAPPED_SHARE = 0.8  # docs/thresholds.md, attention_broken
STALLED_ROWS = 20
STALLED_LEAST_S = 300.0


@rule(
    severity=Severity.ERROR,
    causes=("zero_exact_dead", "act_constant", "act_collapsed", "plateau", "loss_not_decreasing", "exploding_loss"),
)
def attention_broken(run: Evidence) -> Outcome:
    """Attention does not compute attention on this device.

    ## What it sees
    The self-test that every run writes into environment.json at its start: the largest difference between the model's
    attention layer and plain softmax(q k^T / sqrt(d)) v with the same weights. In a run of the reference, which has no
    such test, the loss of its last checkpoint with real attention, and with heads and positions swapped.

    ## Why it matters
    Attention kernels differ in the order of their axes. With heads and positions swapped every shape still fits, but a
    cell sees the other heads of itself instead of the other cells. The model then copies what is given, guesses the
    rest, runs all its ACT steps and stays at 0 %, whatever its hyperparameters.

    ## How it is decided
    It fires when the difference is above 1e-3 in float32 or 5e-2 in bfloat16. Rounding gives about 3e-7 and 1e-2; a
    swapped layout more than 0.1. A checkpoint is called so when its loss falls by a fifth or more when the axes are
    swapped: it was trained that way. Sound checkpoints lose by it.

    ## When it stays quiet
    Where the test passed. A run without the test, and without checkpoints that can be evaluated, is unknown.

    ## What to do
    Run `hrm-sweep doctor` on this device. Use another device or another torch version; in a port, transpose to
    (batch, heads, positions, width) before scaled_dot_product_attention.

    ## Reference
    ml-explore/mlx#3585 and sapientinc/HRM#54: 0 % on the published checkpoint until the axes were transposed.
    """
    if run.is_reference:
        return _trained_with_swapped_axes(run)
    environment = run.recorded.environment
    if environment is None or environment.attention_error is None:
        raise MissingEvidence("the self-test of attention in environment.json")
    allowed = ATTENTION_ERROR.get(environment.dtype, ATTENTION_ERROR["bfloat16"])
    row = EvidenceRow.above("attention_error", environment.attention_error, allowed)
    where = f"{environment.attention_backend} on {environment.device_name} ({environment.dtype})"
    if environment.attention_error <= allowed:
        return clear(f"{where} agrees with plain attention.", row)
    return fired(
        f"{where} differs from plain attention by {environment.attention_error:.2g}, far more than rounding: cells "
        "do not "
        "see each other as they should, and no setting can make up for it.",
        row,
    )


def _trained_with_swapped_axes(run: Evidence) -> Outcome:
    swapped, sound = run.evaluated("swapped.lm_loss"), run.evaluated("lm_loss")
    share = swapped.last / sound.last if sound.last else 1.0
    row = EvidenceRow.below(
        "lm_loss with heads and positions swapped, over lm_loss", share, TRAINED_SWAPPED_SHARE, sound.last_step
    )
    if not share < TRAINED_SWAPPED_SHARE:
        return clear("The checkpoint does not prefer attention with swapped axes.", row)
    return fired(
        f"The last checkpoint has a loss of {sound.last:.3g}, and of {swapped.last:.3g} when heads and positions are "
        "swapped in every attention: it was trained by a program that swaps them, and no setting can make up for it.",
        row,
    )


@rule(severity=Severity.ERROR)
def out_of_memory(run: Evidence) -> Outcome:
    """The run died because memory ran out.

    ## What it sees
    The cause of failure in status.json.

    ## Why it matters
    It is no fault of the configuration as such: the same run fits a larger device, or a smaller batch.

    ## How it is decided
    It fires when the cause is oom.

    ## When it stays quiet
    With any other cause, or none.

    ## What to do
    Halve global_batch_size, and lower lr by the square root of two with it. Memory does not depend on halt_max_steps,
    H_cycles or L_cycles, because only the last call of each module carries a gradient.

    ## Reference
    arXiv 2506.21734 (one-step gradient); sapientinc/HRM README (1e-4 at batch 768, 7e-5 at 384).
    """
    status = _need_status(run)
    if status.cause is not Cause.OOM:
        return clear("Memory did not run out.")
    remedy = None
    config = run.recorded.config
    if config is not None and config.global_batch_size > 1:
        remedy = {"global_batch_size": config.global_batch_size // 2, **(scaled_lr(config, math.sqrt(0.5)) or {})}
    return fired(
        f"The run ended for want of memory at step {status.step}. {status.message}".strip(),
        _cause(status),
        remedy=remedy,
    )


@rule(severity=Severity.ERROR)
def disk_full(run: Evidence) -> Outcome:
    """The run died because a file could not be written.

    ## What it sees
    The cause of failure in status.json.

    ## Why it matters
    A full state of the 27 M model is about 330 MB; a sweep that keeps many fills a disk. What was written before is
    whole, because files are replaced atomically.

    ## How it is decided
    It fires when the cause is storage.

    ## When it stays quiet
    With any other cause, or none.

    ## What to do
    Free some space (`hrm-sweep clean STUDY` removes checkpoints) and continue with --resume.

    ## Reference
    The cause of failure that the run itself wrote.
    """
    status = _need_status(run)
    if status.cause is not Cause.STORAGE:
        return clear("Every file could be written.")
    return fired(f"At step {status.step} a file could not be written. {status.message}".strip(), _cause(status))


@rule(severity=Severity.ERROR)
def killed(run: Evidence) -> Outcome:
    """The process was killed before the run ended.

    ## What it sees
    status.json: its state and cause, and whether the process it names still lives on this machine. A process is told
    from a later one with the same number by its start time.

    ## Why it matters
    Whatever the metrics say, they are those of an unfinished run: low accuracy may only mean that time was short.

    ## How it is decided
    It fires when the cause is killed or preempted, or when the state is still running and the process is gone.

    ## When it stays quiet
    A run that was stopped on request, or pruned, ended in order. A process on another machine cannot be looked at:
    unknown while its state is running.

    ## What to do
    Continue with `hrm-sweep train --resume --run-dir RUN_DIR`; it goes on from its last checkpoint, bit for bit on CPU.
    When it happens again at the same place, look at the machine's memory.

    ## Reference
    The owner in status.json: host, process number and start time of the process.
    """
    status = _need_status(run)
    if status.cause in (Cause.KILLED, Cause.PREEMPTED):
        return fired(
            f"The run was ended from outside at step {run.steps_done}. {status.message}".strip(), _cause(status)
        )
    if status.state is not State.RUNNING:
        return clear(f"The run ended in order: {status.state.value}.")
    if run.process_alive is None:
        raise MissingEvidence(f"a look at process {status.owner.pid} on {status.owner.host}, which is another machine")
    if run.process_alive:
        return clear("The process of the run is alive.")
    return fired(
        f"status.json says running, but process {status.owner.pid} is gone: it was killed at about step "
        f"{run.steps_done}.",
        EvidenceRow("state in status.json", status.state.value, status.step),
        EvidenceRow("last step in metrics.jsonl", run.steps_done, run.steps_done),
    )


@rule(severity=Severity.ERROR)
def crashed(run: Evidence) -> Outcome:
    """The run ended with an error.

    ## What it sees
    The state, cause and message in status.json.

    ## Why it matters
    Its metrics end there, and nothing about hyperparameters follows from them.

    ## How it is decided
    It fires when the state is failed and the cause is config, data, bug or no_metric, or is not given.

    ## When it stays quiet
    Other causes have rules of their own: `non_finite`, `out_of_memory`, `disk_full`, `killed`, `stalled`.

    ## What to do
    Read the message, and the end of log.txt.

    ## Reference
    The message that the run itself wrote.
    """
    status = _need_status(run)
    own = (Cause.CONFIG, Cause.DATA, Cause.BUG, Cause.NO_METRIC, None)
    if status.state is not State.FAILED or status.cause not in own:
        return clear("The run did not end with an error of its own.")
    message = status.message or "no message was left; see the end of log.txt"
    return fired(f"The run failed at step {status.step}: {message}", _cause(status))


@rule(severity=Severity.WARNING)
def stalled(run: Evidence) -> Outcome:
    """The run says it is running, but nothing was written for a long time.

    ## What it sees
    How long ago the run wrote a row, its status or its log, against the usual time between two rows.

    ## Why it matters
    A process that hangs holds its GPU and its slot in the study.

    ## How it is decided
    It fires when the state is running, or the cause of failure is stalled, and nothing was written for 20 times the
    usual time between rows, and at least for 5 minutes.

    ## When it stays quiet
    While the time between rows is not known (fewer than 3 rows), and when the process is gone: that is `killed`.

    ## What to do
    Look at the process, end it, and continue the run with --resume.

    ## Reference
    Amazon SageMaker Debugger's StalledTraining, made relative to the pace of the run.
    """
    status = _need_status(run)
    if status.cause is Cause.STALLED:
        return fired(
            f"The run was ended because it hung at step {status.step}. {status.message}".strip(), _cause(status)
        )
    if status.state is not State.RUNNING or run.process_alive is False:
        return clear("The run is not running.")
    if run.idle_s is None or len(run.rows) < 3:
        raise MissingEvidence(f"the time between rows: {len(run.rows)} of 3 train rows")
    usual = float(np.median(np.diff(run.rows.time_s)))
    limit = max(STALLED_LEAST_S, STALLED_ROWS * usual)
    row = EvidenceRow.above("seconds since anything was written", run.idle_s, limit, run.steps_done)
    if run.idle_s <= limit:
        return clear(f"The last row was written {run.idle_s:.0f} s ago; they come every {usual:.1f} s.", row)
    return fired(f"Nothing was written for {run.idle_s / 60:.0f} minutes; rows used to come every {usual:.1f} s.", row)


def _need_status(run: Evidence) -> Status:
    if run.status is None:
        raise MissingEvidence("status.json" + (", which the reference does not write" if run.is_reference else ""))
    return run.status


def _cause(status: Status) -> EvidenceRow:
    return EvidenceRow("cause in status.json", status.cause.value if status.cause else status.state.value, status.step)
