"""A sweep file of Weights & Biases: docs.wandb.ai, "Define a sweep configuration"."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hrm_sweep.errors import SpaceError
from hrm_sweep.sweep.imports.draft import METRICS, Converted, Draft, read_foreign
from hrm_sweep.sweep.parameters import Parameter, every_value
from hrm_sweep.sweep.parts import read_number

_SAMPLERS = {"bayes": "tpe", "random": "random", "grid": "grid"}
_UNBOUNDED = ("normal", "q_normal", "log_normal", "q_log_normal")
_LOG = {"log_uniform", "q_log_uniform", "inv_log_uniform"}  # bounds are exponents of e
_LOG_VALUES = {f"{name}_values" for name in _LOG}
_READ = {
    "name",
    "description",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "command",
    "run_cap",
    "program",
    "project",
}
_DEFAULT_TRIALS = 20


def convert(path: Path, base: str) -> Converted:
    """The search space that the sweep file means, on top of `base`. Raises SpaceError where it would search something
    else, or nothing."""
    content, draft = read_foreign(path), Draft.of(path, base)
    draft.name(content.get("name"))
    _method(content.get("method"), draft)
    _metric(content.get("metric"), draft)
    for item in content.get("command") or []:
        _command_word(str(item), draft)
    parameters = content.get("parameters")
    if not isinstance(parameters, Mapping):
        raise SpaceError(f"{path}: expected a sweep of Weights & Biases, with parameters; found {', '.join(content)}")
    for key, one in _flat(parameters):
        _parameter(key, one, draft)
    _early_end(content.get("early_terminate"), draft)
    if "project" in content:
        draft.pin("project_name", content["project"])
    if "program" in content:
        draft.leave_out("program", f"{content['program']} is not run; hrm-sweep trains the model itself")
    for key in content:
        if key not in _READ:
            draft.leave_out(key, "has no counterpart")
    _budget(content.get("run_cap"), draft)
    return draft.finish("a sweep of Weights & Biases")


def _method(method: object, draft: Draft) -> None:
    if method not in _SAMPLERS:
        expected = ", ".join(_SAMPLERS)
        raise SpaceError(f"{draft.where}: method: expected one of {expected}, found {method!r}")
    draft.content["sampler"] = {"name": _SAMPLERS[str(method)]}
    if method == "bayes":
        draft.leave_out("method bayes", "a Gaussian process there, a Parzen estimator (tpe) here")


def _metric(metric: object, draft: Draft) -> None:
    if metric is None:
        draft.objective("exact_accuracy", None, "The sweep names no metric.")
        return
    if not isinstance(metric, Mapping) or "name" not in metric:
        raise SpaceError(f"{draft.where}: metric: expected name and goal, found {metric!r}")
    name = str(metric["name"])
    ours = name.replace("/", ".").rsplit(".", 1)[-1]
    if ours not in METRICS:
        raise SpaceError(
            f"{draft.where}: metric.name: a study decides by {', '.join(METRICS)} of its evaluations, found {name!r}; "
            "change it to the one that is meant"
        )
    if name.startswith("train"):
        draft.leave_out(f"metric {name}", f"a study decides by evaluations, so by {ours} of the test puzzles")
    if "target" in metric:
        draft.leave_out("metric.target", "nothing ends a study early; stop_when_solved in overrides ends a run")
    if "goal" not in metric and not ours.endswith("loss"):
        draft.leave_out("metric.goal", f"not given, which W&B takes for minimize; {ours} is maximized")
    draft.objective(ours, metric.get("goal"), f"{name} in the sweep.")


def _flat(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Nested parameters by their dotted key: {arch: {parameters: {H_cycles: ...}}}."""
    for key, one in parameters.items():
        if isinstance(one, Mapping) and isinstance(one.get("parameters"), Mapping):
            yield from _flat(one["parameters"], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", one if isinstance(one, Mapping) else {"value": one}


def _parameter(key: str, given: Mapping[str, Any], draft: Draft) -> None:
    one = {name: read_number(value) for name, value in given.items()}
    kind = one.get("distribution")
    if "value" in one and kind in (None, "constant"):
        draft.pin(key, one["value"])
    elif "values" in one and kind in (None, "categorical", "categorical_w_probabilities"):
        if "probabilities" in one:
            draft.leave_out(f"{key}.probabilities", "every value is as likely as any other")
        draft.vary(key, {"values": one["values"]}, _spelled(given))
    elif "min" in one and "max" in one and kind not in (*_UNBOUNDED, "beta", "q_beta"):
        draft.vary(key, _range(key, one, draft), _spelled(given))
    else:
        raise SpaceError(
            f"{draft.where}: parameters.{key}: {_spelled(given)[:-1]} has no counterpart; expected value, values, "
            "or min and max with uniform, int_uniform, q_uniform or log_uniform_values"
        )


def _range(key: str, one: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    low, high = one["min"], one["max"]
    whole = isinstance(low, int) and isinstance(high, int)
    kind = one.get("distribution") or ("int_uniform" if whole else "uniform")
    if kind not in {"uniform", "int_uniform", "q_uniform", *_LOG, *_LOG_VALUES}:
        raise SpaceError(f"{draft.where}: parameters.{key}.distribution: {kind!r} has no counterpart")
    if kind not in _LOG | _LOG_VALUES:
        return {"min": low, "max": high} | ({} if kind == "uniform" else {"step": one.get("q", 1)})
    if kind in _LOG:
        low, high = (_exponential(key, bound, draft) for bound in (low, high))
    if kind.startswith("q_"):
        draft.leave_out(f"{key}.q", "a range on a log scale has no steps here; list the values to have them")
    return {"min": low, "max": high, "log": True}


def _exponential(key: str, bound: object, draft: Draft) -> float:
    """exp(bound): what a bound of log_uniform means, which many take for the value itself."""
    try:
        value = float(f"{math.exp(float(bound)):.6g}")  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.inf
    if not 0 < value < math.inf:
        raise SpaceError(
            f"{draft.where}: parameters.{key}: bounds of log_uniform are exponents of e, found {bound!r}; "
            "log_uniform_values takes the values themselves"
        )
    return value


def _spelled(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in one.items()) + "."


def _command_word(word: str, draft: Draft) -> None:
    """`key=value` of the command, as Hydra takes it; macros like ${program} are W&B's own."""
    key, equals, value = word.lstrip("+").partition("=")
    if word.startswith("${") or word.rpartition("/")[2] in ("python", "python3", "torchrun", "env"):
        return
    if not equals:
        draft.leave_out(f"command {word}", "not part of a configuration")
    elif key == "arch":
        draft.leave_out(f"command {word}", f"the architecture is that of the base, {draft.content['base']}")
    else:
        draft.pin(key.lstrip("-"), _yaml(value))


def _yaml(text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _early_end(given: object, draft: Draft) -> None:
    """Hyperband of W&B: brackets at min_iter x eta^k, or at max_iter / eta^k, counted in values of the metric, of which
    a run here has one an evaluation."""
    if given is None:
        return
    if not isinstance(given, Mapping) or given.get("type") != "hyperband":
        raise SpaceError(f"{draft.where}: early_terminate: expected type hyperband, found {given!r}")
    eta = int(given.get("eta", 3))
    first = given.get("min_iter")
    if first is None and given.get("max_iter") is not None:
        first = max(1, int(given["max_iter"]) // eta ** int(given.get("s", 1)))
    interval = draft.content["overrides"].get("eval_interval")
    first = int(first or 1) * (interval if isinstance(interval, int) else 1)
    draft.content["pruner"] = {"hyperband": {"min_epoch": first, "reduction_factor": max(2, eta)}}
    if not isinstance(interval, int):
        draft.leave_out(
            "early_terminate", "counts evaluations there, epochs here; multiply min_epoch by eval_interval of the runs"
        )
    for key in ("s", "max_iter", "strict"):
        if key in given:
            draft.leave_out(f"early_terminate.{key}", "has no counterpart")


def _budget(run_cap: object, draft: Draft) -> None:
    if run_cap is not None:
        draft.content["budget"] = {"trials": run_cap}
    elif draft.content["sampler"]["name"] == "grid":
        try:
            draft.content["budget"] = {"trials": _combinations(draft.content["parameters"])}
        except (ValueError, TypeError):
            return  # endless or damaged, which the check of the space says better
    else:
        draft.content["budget"] = {"trials": _DEFAULT_TRIALS}
        draft.leave_out(
            "the end of the sweep", f"W&B goes on until it is stopped; here budget.trials, {_DEFAULT_TRIALS}"
        )


def _combinations(parameters: Mapping[str, Any]) -> int:
    return math.prod(len(every_value(key, Parameter.model_validate(one))) for key, one in parameters.items())
