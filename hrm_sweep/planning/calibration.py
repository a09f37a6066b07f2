"""Measured speeds of this machine: taken when asked for, kept in the user's cache directory.

Nothing here loads torch: processes of `hrm_sweep.training.calibrate` measure, as many beside each other as there will
be trials.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from hrm_sweep.config import RunConfig
from hrm_sweep.data import SplitMetadata
from hrm_sweep.errors import TrainingError
from hrm_sweep.planning.cost import act_step_flops, evaluation_flops
from hrm_sweep.planning.speed import Measured, Point, Speed, corners
from hrm_sweep.runs.cache import cache_folder
from hrm_sweep.runs.environment import package_version

SECONDS_A_POINT = 0.8
_MOST_FLOPS = {False: 1e10, True: 1e14}
"""Operations of the largest step and of the largest evaluation that is measured, on a CPU and on a GPU: about half a
second each. What is larger is measured with fewer rows and ACT steps, and reckoned up."""

MOST_SHAPES = 8
_PUZZLES = 256  # evaluated at once; more take proportionally longer

# Keys that change no speed, or whose effect is reckoned with: all others are part of what is measured.
_NOT_OF_THE_SHAPE = {
    "data_path", "data", "global_batch_size", "epochs", "eval_interval", "lr", "lr_min_ratio", "lr_warmup_steps",
    "weight_decay", "beta1", "beta2", "puzzle_emb_lr", "puzzle_emb_weight_decay", "seed", "project_name", "run_name",
    "checkpoint_path", "checkpoint_every_eval", "eval_save_outputs", "eval_puzzles", "stop_when_solved", "max_seconds",
    "tracker", "stages", "init_from",
}  # fmt: skip
_NOT_OF_THE_ARCHITECTURE = {"H_cycles", "L_cycles", "halt_max_steps", "halt_exploration_prob", "name"}


@dataclass(frozen=True)
class Setting:
    """Where trials run: so many at once, each with so many CPU threads (None: torch's own choice), `devices` being
    CUDA_VISIBLE_DEVICES of each; empty on a CPU."""

    jobs: int
    threads: int | None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """A model on data of one shape in one setting: what one measurement is about."""

    config: RunConfig
    facts: SplitMetadata
    setting: Setting

    def key(self) -> dict[str, Any]:
        """Everything that the speed depends on, but for cycles, ACT steps and the batch."""
        content = {key: value for key, value in self.config.to_mapping().items() if key not in _NOT_OF_THE_SHAPE}
        content["arch"] = {key: value for key, value in content["arch"].items() if key not in _NOT_OF_THE_ARCHITECTURE}
        facts = self.facts
        return {
            **content,
            "data": [facts.vocab_size, facts.seq_len, facts.num_puzzle_identifiers],
            "setting": dataclasses.asdict(self.setting),
            "machine": [platform.node(), platform.machine(), os.cpu_count()],
            "versions": [package_version("torch"), package_version("hrm-sweep"), platform.python_version()],
            "spinning": [os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY")],
        }


class Calibrate(Enum):
    """When to measure."""

    NEVER = "what was measured before is enough"
    MISSING = "what was not measured before"
    ANEW = "everything"


def speeds_of(
    shapes: Sequence[tuple[RunConfig, SplitMetadata]],
    setting: Setting,
    calibrate: Calibrate,
    say: Callable[[str], None] = lambda line: None,
) -> list[Speed | None]:
    """The speed of each of these configurations on data of these facts; None where it is not known.

    At most eight different shapes of model are measured. `say` hears that it takes a while. Raises TrainingError when
    a measurement fails.
    """
    groups: dict[str, list[int]] = {}
    for index, (config, facts) in enumerate(shapes):
        groups.setdefault(_group(config, facts), []).append(index)
    speeds: list[Speed | None] = [None] * len(shapes)
    measured = 0
    for indices in groups.values():
        shape, configs = Shape(*shapes[indices[0]], setting), [shapes[index][0] for index in indices]
        speed = None if calibrate is Calibrate.ANEW else known_speed(shape, configs)
        if speed is None and calibrate is not Calibrate.NEVER and measured < MOST_SHAPES:
            measured += 1
            say(f"measuring this machine, {measured} of {min(len(groups), MOST_SHAPES)} ...")
            speed = measured_speed(shape, configs)
        for index in indices:
            speeds[index] = speed
    return speeds


def _group(config: RunConfig, facts: SplitMetadata) -> str:
    """Equal for configurations of one shape; cheaper than `Shape.key`, for thousands of combinations."""
    kept = config.model_dump(exclude={**dict.fromkeys(_NOT_OF_THE_SHAPE, True), "arch": _NOT_OF_THE_ARCHITECTURE})
    return repr((kept, facts.vocab_size, facts.seq_len, facts.num_puzzle_identifiers))


def known_speed(shape: Shape, configs: Sequence[RunConfig]) -> Speed | None:
    """What was measured before, on this machine with these versions, that tells the speed of `configs`, all of this
    shape; None for nothing of the kind, or a damaged file."""
    wanted = _to_measure(shape, configs)
    try:
        kept = json.loads(_file_of(shape).read_text(encoding="utf-8"))
        measured = tuple(Measured(**{**one, "point": Point(**one["point"])}) for one in kept["measured"])
        speed = Speed(measured, float(kept["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return speed if measured and speed.covers(Point.of(one, shape.facts.seq_len) for one in wanted) else None


def measured_speed(shape: Shape, configs: Sequence[RunConfig]) -> Speed:
    """Measure the corners of `configs`, all of this shape, and keep the result.

    Takes some seconds, of which loading torch is two. Raises TrainingError when a run of a few steps fails.
    """
    seq_len, points = shape.facts.seq_len, _to_measure(shape, configs)
    request = {
        "configs": [config.to_mapping() for config in points],
        "facts": dataclasses.asdict(shape.facts),
        "threads": shape.setting.threads,
        "seconds": SECONDS_A_POINT,
    }
    at = time.time()
    replies = _ask(request, shape.setting)
    measured = tuple(
        Measured(
            point=Point.of(config, seq_len),
            evaluation_work=evaluation_flops(config, seq_len, 1),
            **_mean([reply["measured"][index] for reply in replies]),
        )
        for index, config in enumerate(points)
    )
    speed = Speed(measured, at)
    _keep(shape, speed)
    return speed


def _to_measure(shape: Shape, configs: Sequence[RunConfig]) -> list[RunConfig]:
    """The corners, or what a short measurement can afford in their place."""
    seq_len, on_gpu = shape.facts.seq_len, bool(shape.setting.devices)
    affordable = [_affordable(config, seq_len, on_gpu=on_gpu) for config in corners(configs, seq_len)]
    return list({Point.of(config, seq_len): config for config in affordable}.values())


def _affordable(config: RunConfig, seq_len: int, *, on_gpu: bool) -> RunConfig:
    """The same with as few rows and ACT steps as a short measurement allows; two ACT steps at least, where it had them,
    because a train step with one costs less. Of a run with stages, the last of them."""
    config = config.last_stage
    limit, most, act_step = _MOST_FLOPS[on_gpu], config.arch.halt_max_steps, act_step_flops(config.arch, seq_len)
    rows = max(1, min(config.global_batch_size, int(limit / Point.of(config, seq_len).work)))
    fewest = min(2, most)
    puzzles = max(1, min(_PUZZLES, config.eval_puzzles, int(limit / (fewest * act_step))))
    steps = max(fewest, min(most, int(limit / (puzzles * act_step))))
    return config.model_copy(
        update={
            "arch": config.arch.model_copy(update={"halt_max_steps": steps}),
            "global_batch_size": rows,
            "eval_puzzles": puzzles,
            **dict.fromkeys(
                ("data", "data_path", "checkpoint_path", "stop_when_solved", "max_seconds", "tracker", "init_from")
            ),
        }
    )


def _ask(request: Mapping[str, Any], setting: Setting) -> list[dict[str, Any]]:
    """Let as many processes as there will be trials measure side by side; their answers."""
    command = [sys.executable, "-m", "hrm_sweep.training.calibrate"]
    children = []
    for slot in range(setting.jobs):
        environment = dict(os.environ)
        if setting.devices:
            environment["CUDA_VISIBLE_DEVICES"] = setting.devices[slot % len(setting.devices)]
        pipe = subprocess.PIPE
        children.append(
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, encoding="utf-8")
        )
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()  # ready, or the end of one that could not start
        for child in children:
            assert child.stdin is not None
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
        return [_reply(child) for child in children]
    except BrokenPipeError:
        return [_reply(child) for child in children]  # raises for the one that could not start
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for pipe_end in (child.stdin, child.stdout, child.stderr):
                if pipe_end is not None and not pipe_end.closed:
                    pipe_end.close()


def _reply(child: subprocess.Popen[str]) -> dict[str, Any]:
    printed, complaint = child.communicate()
    lines = printed.splitlines()
    if child.returncode or not lines:
        last = (complaint.strip().splitlines() or ["it said nothing"])[-1]
        raise TrainingError(
            f"the speed of this machine could not be measured: the process ended with code {child.returncode} "
            f"({last}); --no-calibrate plans without times"
        )
    reply: dict[str, Any] = json.loads(lines[-1])
    if "error" in reply:
        raise TrainingError(
            f"the speed of this machine could not be measured: {reply['error']}; --no-calibrate plans without times"
        )
    return reply


def _mean(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of what processes beside each other measured at one point; of memory and of waiting, the most."""
    names = ("step_s", "evaluation_s", "saving_s", "start_s")
    means = {name: sum(reply[name] for reply in replies) / len(replies) for name in names}
    most = {
        name: max((reply[name] for reply in replies if reply[name] is not None), default=None)
        for name in ("peak_bytes", "waited")
    }
    return {**means, "evaluated": replies[0]["evaluated"], **most}


def _file_of(shape: Shape) -> Path:
    digest = hashlib.sha256(json.dumps(shape.key(), sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "speed" / f"{digest}.json"


def _keep(shape: Shape, speed: Speed) -> None:
    """Write what was measured, whole or not at all. A cache that cannot be written is no reason to fail."""
    path = _file_of(shape)
    content = {"of": shape.key(), "at": speed.at, "measured": [dataclasses.asdict(one) for one in speed.measured]}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
