"""How near the times that `hrm-sweep plan` predicts come to those that trials take.

    python tests/benchmarks/plan_accuracy.py [--trials 4] [--seconds 20] [--spaces NAME,...] [key=value ...]

For each shipped space that a CPU can run, some of its combinations are drawn, predicted from a fresh measurement, and
trained as a study with as many trials at once as `run` would have. Runs are made shorter, by fewer epochs, so that one
takes about `--seconds`; nothing is pruned and none stops when it has solved enough, because a prediction is of a whole
run. The first trial of each worker is left out: it also loads torch. Needs a quiet machine; takes some minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_sweep.config import parse_overrides
from hrm_sweep.planning.calibration import Calibrate
from hrm_sweep.sweep.resources import share_out
from hrm_sweep.sweep.space import SearchSpace, load_space, space_from_mapping
from hrm_sweep.sweep.space_lint import lint_space, spelled
from hrm_sweep.sweep.space_plan import plan_space
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import open_study

ON_A_CPU = ("quickstart", "act_and_cycles", "learning_rate_and_batch", "easy_dataset")
WITHIN = 0.15


@dataclass(frozen=True)
class Prediction:
    """Of one trial, in seconds, beside what it took."""

    space: str
    values: dict[str, Any]
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        return self.predicted / self.measured


def shortened(space: SearchSpace, points: Sequence[dict[str, Any]], epochs: int | None = None) -> SearchSpace:
    """A space of just these points, in this order, in which every run goes to its end."""
    content = space.model_dump(mode="json")
    overrides = {**content["overrides"], "stop_when_solved": None}
    if epochs is not None:
        overrides["epochs"] = epochs
    names = [name for name in space.parameters if any(name in point for point in points)]
    values = {name: list(dict.fromkeys(point[name] for point in points if name in point)) for name in names}
    parameters = {
        name: {"values": values[name], "when": content["parameters"][name].get("when") or {}} for name in names
    }
    changed = {"overrides": overrides, "parameters": parameters, "first": list(points), "pruner": {}}
    return space_from_mapping({**content, **changed, "budget": {"trials": len(points)}}, space.name)


def predictions(name: str, overrides: dict[str, Any], trials: int, seconds: float) -> list[Prediction]:
    """Predict and train some trials of a shipped space, in the current folder."""
    space = load_space(name).with_overrides(overrides).frozen()
    whole = lint_space(space, name)
    share = share_out(space.resources, [one.config for one in whole.combinations])
    rng = random.Random(0)
    points = [one.values for one in rng.sample(whole.combinations, min(trials, len(whole.combinations)))]
    points = [*[points[0]] * share.jobs, *points]  # the first of each worker does not count

    plan = plan_space(shortened(space, points), lint_space(shortened(space, points), name), share, Calibrate.ANEW)
    assert plan.seconds is not None
    length = plan.runs[0].config
    intervals = max(
        1, min(length.epochs // length.eval_interval, round(seconds / plan.seconds[1] * plan.runs[0].evaluations))
    )
    short = shortened(space, points, intervals * length.eval_interval)
    report = lint_space(short, name)
    plan = plan_space(short, report, share)
    expected = {spelled(one.values): run.trial_seconds for one, run in zip(report.combinations, plan.runs, strict=True)}

    Path(f"{name}.yaml").write_text(json.dumps(short.model_dump(mode="json")))
    command = [sys.executable, "-m", "hrm_sweep", "run", f"{name}.yaml", "--jobs", str(share.jobs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = []
    for trial in open_study("sqlite:///trials/optuna.db", name).trials()[share.jobs :]:
        values = {key: trial.params[key] for key in short.order() if key in trial.params}
        predicted = expected[spelled({key: values[key] for key in short.parameters if key in values})]
        assert trial.duration is not None
        assert predicted is not None
        found.append(Prediction(name, values, predicted, trial.duration.total_seconds()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Predicted and measured times of trials of the shipped spaces.")
    parser.add_argument("--trials", type=int, default=4, help="of each space")
    parser.add_argument("--seconds", type=float, default=20.0, help="that a trial is made to take, about")
    parser.add_argument("--spaces", default=",".join(ON_A_CPU))
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    quiet_optuna()
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as the command line sets it
    found: list[Prediction] = []
    print(f"{'space':<24}{'predicted':>10}{'measured':>10}{'ratio':>7}  values", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HRM_SWEEP_CACHE"] = f"{folder}/cache"
        os.chdir(folder)
        for name in arguments.spaces.split(","):
            for one in predictions(name, parse_overrides(arguments.overrides), arguments.trials, arguments.seconds):
                found.append(one)
                times = f"{one.predicted:>8.1f} s{one.measured:>8.1f} s{one.ratio:>7.2f}"
                print(f"{one.space:<24}{times}  {spelled(one.values)}", flush=True)
        os.chdir("/")
    near = sum(abs(one.ratio - 1) <= WITHIN for one in found)
    print(f"within {WITHIN:.0%}: {near} of {len(found)} trials")
    if arguments.json is not None:
        content = {"within": near, "of": len(found), "trials": [dataclasses.asdict(one) for one in found]}
        arguments.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
