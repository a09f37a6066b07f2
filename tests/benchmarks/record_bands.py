"""Records the healthy reference bands of `hrm_v1_tiny`: hrm_sweep/diagnosis/reference_bands/hrm_v1_tiny.json.

    python tests/benchmarks/record_bands.py --runs trials/bands --seeds 10

Trains the preset once per seed, one thread each, about a minute a run, and writes down how far the runs lie apart at
each step. May be interrupted: a run that is complete is not trained again. With --only-write nothing is trained.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.diagnosis.data_facts import find_data
from hrm_sweep.diagnosis.reference_bands import QUANTILES, TINY_BANDS, Puzzles
from hrm_sweep.runs import RunDirectory, State, read_status
from hrm_sweep.runs.environment import Environment, read_environment
from hrm_sweep.runs.formats import Curves, read_curves

PRESET = "hrm_v1_tiny"
CHANGED = {"eval_interval": 5}  # of the preset's 20: a curve of three evaluations is no curve; the steps stay the same

TRAIN = (
    *("loss", "lm_loss", "accuracy", "exact_accuracy", "act_steps", "q_halt_loss", "q_continue_loss"),
    *("q_halt_accuracy", "q_halt_mean", "q_continue_mean"),
    *(f"{group}.{module}" for group in ("grad_norm", "update_norm") for module in ("H_level", "L_level", "q_head")),
    *("puzzle_emb.mean_abs_movement", "puzzle_emb.max_abs"),
)
EVALUATION = ("loss", "lm_loss", "accuracy", "exact_accuracy", "q_halt_loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("trials/bands"), help="where the runs lie")
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to N - 1")
    parser.add_argument("--only-write", action="store_true", help="train nothing, use the runs that are complete")
    parser.add_argument("--output", type=Path, default=TINY_BANDS)
    options = parser.parse_args()
    for seed in [] if options.only_write else range(options.seeds):
        _train(seed, options.runs)
    complete = [seed for seed in range(options.seeds) if _is_complete(_directory(options.runs, seed))]
    if not complete:
        parser.error(f"no complete run below {options.runs}")
    content = recorded([_directory(options.runs, seed) for seed in complete], complete)
    options.output.write_text(_one_series_a_line(content), encoding="utf-8")
    print(f"{options.output}: {len(complete)} seeds, {options.output.stat().st_size / 1000:.0f} kB")


def _directory(runs: Path, seed: int) -> RunDirectory:
    return RunDirectory(runs / f"seed-{seed:02d}")


def _is_complete(directory: RunDirectory) -> bool:
    status = read_status(directory.status)
    return status is not None and status.state is State.COMPLETED


def _train(seed: int, runs: Path) -> None:
    directory = _directory(runs, seed)
    if _is_complete(directory):
        return
    from hrm_sweep.training.session import run_training  # torch, which --only-write can do without

    config = load_config(PRESET, {**CHANGED, "seed": seed})
    status = run_training(config, directory, resume=directory.is_run(), threads=1)
    if status.state is not State.COMPLETED:
        raise SystemExit(f"{directory.path}: {status.state}: {status.message}")


def recorded(directories: Sequence[RunDirectory], seeds: Sequence[int]) -> dict[str, Any]:
    """The content of the file: what was recorded, then at each step of the grid the quantiles over the runs."""
    curves = [read_curves(directory.metrics) for directory in directories]
    environment = read_environment(directories[0].environment)
    assert environment is not None
    return {
        "schema_version": 1,
        "preset": PRESET,
        "changed": CHANGED,
        "seeds": list(seeds),
        "planned_steps": _planned_steps(directories[0]),
        "environment": _versions(environment),
        "config": _config(load_config(directories[0].config)),
        "puzzles": dataclasses.asdict(_puzzles(directories[0])),
        "quantiles": list(QUANTILES),
        "train": _bands([train for train, _, _ in curves], TRAIN),
        "eval": _bands([evaluations for _, evaluations, _ in curves], EVALUATION),
    }


def _planned_steps(directory: RunDirectory) -> int:
    status = read_status(directory.status)
    assert status is not None
    return status.total_steps


def _versions(environment: Environment) -> dict[str, Any]:
    packages = {name: environment.packages[name] for name in ("hrm-sweep", "torch", "numpy")}
    return {**packages, "device": environment.device, "dtype": environment.dtype, "threads": environment.threads}


def _puzzles(directory: RunDirectory) -> Puzzles:
    """What the runs were trained on; the same for every seed."""
    facts, problem = find_data(load_config(directory.config), directory.path, None)
    assert facts is not None, problem
    return Puzzles.of(facts)


def _config(config: RunConfig) -> dict[str, Any]:
    """What the curves depend on, without paths and seeds."""
    whole = config.model_dump(mode="json")
    return {key: value for key, value in whole.items() if key not in ("data_path", "seed", "checkpoint_path")}


def _bands(curves: Sequence[Curves], names: Sequence[str]) -> dict[str, Any]:
    steps = np.unique(np.concatenate([each.step for each in curves]))
    bands: dict[str, Any] = {"step": steps.tolist()}
    for name in names:
        values = np.stack([series.at(steps) for each in curves if (series := each.get(name)) is not None])  # (runs, S)
        n = np.isfinite(values).sum(axis=0)
        measured = np.flatnonzero(n)
        quantiles = np.nanquantile(values[:, measured], QUANTILES, axis=0)  # (5, measured)
        bands[name] = {
            "step": steps[measured].tolist() if len(measured) < len(steps) else None,
            "n": n[measured].tolist() if n[measured].min() < len(curves) else int(n.max()),
            "quantiles": [[float(f"{value:.4g}") for value in row] for row in quantiles],
        }
    return bands


def _one_series_a_line(content: Mapping[str, Any]) -> str:
    """JSON whose differences can be read: every series of numbers stands on a line of its own."""

    def spelled(value: Any, indent: int) -> str:
        pad = " " * indent
        if isinstance(value, dict):
            lines = [f"{pad} {json.dumps(key)}: {spelled(each, indent + 1)}" for key, each in value.items()]
            return "{\n" + ",\n".join(lines) + f"\n{pad}}}"
        if isinstance(value, list) and value and isinstance(value[0], list):
            return "[\n" + ",\n".join(f"{pad} {spelled(each, indent + 1)}" for each in value) + f"\n{pad}]"
        return json.dumps(value, separators=(",", ":"))

    return spelled(content, 0) + "\n"


if __name__ == "__main__":
    main()
