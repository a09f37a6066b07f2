"""SearchSpace: what a study varies, how it is drawn, pruned and retried. DESIGN contract 3."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from hrm_sweep.config import (
    RunConfig,
    apply_overrides,
    config_from_mapping,
    is_space_mapping,
    load_config,
    plain_key,
    preset_names,
    read_source,
    read_yaml_mapping,
    search_spaces_folder,
    space_names,
    unknown_key,
)
from hrm_sweep.config.overrides import sets_stages
from hrm_sweep.config.run import Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from hrm_sweep.errors import ConfigError, SpaceError
from hrm_sweep.evaluation.share import is_share
from hrm_sweep.runs import Cause
from hrm_sweep.sweep.conditions import Condition, dependency_order
from hrm_sweep.sweep.confirm.entrants import Confirmation
from hrm_sweep.sweep.constraints import Constraints
from hrm_sweep.sweep.keys import number_kind
from hrm_sweep.sweep.objective import AnyObjective, Goal, Objective
from hrm_sweep.sweep.parameters import Parameter, allowed_text, allows, every_end
from hrm_sweep.sweep.parts import Part, Scalar, explained, read_number
from hrm_sweep.sweep.pruners import PRUNERS, Pruner, read_pruners
from hrm_sweep.sweep.pruners.optuna import OptunaPruner
from hrm_sweep.sweep.samplers import AnySampler, Exhaustive, Tpe
from hrm_sweep.sweep.stop_when import StopWhen, Terminator

DEFAULT_SPACE = "quickstart"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TAKEN_NAMES = {"runs", "artifacts"}  # folders of their own under trials/
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # what Windows takes for a device
_MAY_CHANGE = (
    "name",
    "budget",
    "stop_when",
    "resources",
    "retry",
    "remedies",
    "stop_after_same_cause",
    "audit",
    "first_from",
)
"""Of a space, what a study that goes on may have otherwise than before; besides, the sampler's seed."""


class Budget(Part):
    """`trials` of the whole study, retries not counted; `hours` of one call: then no new trial is started."""

    trials: PositiveInt = 20
    hours: PositiveFloat | None = None


def _read_jobs(value: Any) -> Any:
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"expected auto or a whole number above 0, found {value!r}")
    return value


class Resources(Part):
    """`jobs` trials at once, each trained by so many `processes`; a trial that gives no sign of life for
    `stall_minutes` is ended as stalled. Several processes take a GPU each."""

    jobs: Annotated[int | Literal["auto"], BeforeValidator(_read_jobs)] = "auto"
    processes: PositiveInt = 1
    gpus_per_trial: Annotated[float, Field(ge=0)] = 1
    stall_minutes: PositiveFloat = 60

    @model_validator(mode="after")
    def _a_gpu_for_each_process(self) -> Resources:
        if self.processes > 1 and "gpus_per_trial" in self.model_fields_set and self.gpus_per_trial not in (0, 1):
            raise ValueError(
                f"gpus_per_trial {self.gpus_per_trial:g} and processes {self.processes} do not go together: each of "
                "several processes takes a GPU of its own; leave one of the two out"
            )
        return self


def _read_base(value: Any) -> Any:
    if not isinstance(value, str | Mapping):
        raise ValueError(f"expected a preset ({', '.join(preset_names())}), a file or a run directory, found {value!r}")
    return value


def _read_overrides(values: Any) -> Any:
    """Dotted keys; `arch: {H_layers: 2}` means arch.H_layers, not an arch of nothing else."""
    if not isinstance(values, Mapping):
        raise ValueError(f"expected RunConfig keys and values, found {values!r}")
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in ("arch", "arch.loss") and isinstance(value, Mapping):
            flat.update(_read_overrides({f"{key}.{inner}": given for inner, given in value.items()}))
        else:
            flat[str(key)] = read_number(value)
    return flat


def _names_a_study(first: Any) -> bool:
    return isinstance(first, Mapping) and "from_study" in first


def _write_pruners(pruners: Mapping[str, Pruner]) -> dict[str, Any]:
    return {name: pruner.model_dump(mode="json") for name, pruner in pruners.items()}


_PRUNERS_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {name: {"anyOf": [kind.model_json_schema(), {"type": "null"}]} for name, kind in PRUNERS.items()},
}


_FIRST_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "object"}},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "from_study": {"type": "string"},
                "top": {"type": "integer", "minimum": 1},
                "storage": {"type": "string"},
            },
            "required": ["from_study"],
        },
    ]
}


class FromStudy(Part):
    """`first: {from_study: NAME, top: 5}`: the best trials of another study, in the same storage unless it is given."""

    from_study: str
    top: PositiveInt = 5
    storage: str | None = None


class SearchSpace(Part):
    """A study to be: which RunConfig keys vary, from which base, and everything else that decides a study.

    `stop_after_same_cause` ends it early once so many trials in a row failed for good for one and the same cause.
    """

    name: str
    base: Annotated[str | dict[str, Any], BeforeValidator(_read_base), WithJsonSchema({"type": ["string", "object"]})]
    overrides: Annotated[dict[str, Any], BeforeValidator(_read_overrides)] = Field(default_factory=dict)
    objective: AnyObjective = Objective()
    constraints: Constraints = Field(default_factory=dict)
    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    first: Annotated[tuple[dict[str, Scalar], ...], WithJsonSchema(_FIRST_SCHEMA)] = ()
    first_from: FromStudy | None = None
    """Where points of `first` come from: in a file, `first` itself says it. `sweep.transfer` looks them up."""
    sampler: AnySampler = Tpe()
    pruner: Annotated[
        dict[str, Pruner],
        BeforeValidator(read_pruners),
        PlainSerializer(_write_pruners),
        WithJsonSchema(_PRUNERS_SCHEMA),
    ] = Field(default_factory=dict)
    audit: Fraction = 0.0
    """The share of the trials that a pruner condemns which go on to their end all the same, to see what pruning costs;
    above 0, at least one of the first five."""
    budget: Budget = Budget()
    stop_when: StopWhen = StopWhen()
    resources: Resources = Resources()
    retry: dict[Cause, NonNegativeInt] = Field(default_factory=dict)
    stop_after_same_cause: PositiveInt | None = None
    confirm: SkipJsonSchema[Confirmation | None] = None
    """Of a study that confirms another one. `hrm-sweep confirm` writes it, nobody else."""
    remedies: StrictBool = False
    """Whether the remedy of a trial that was pruned or failed is tried as a trial of its own, at most one a rule."""

    @model_validator(mode="before")
    @classmethod
    def _first_may_name_a_study(cls, values: Any) -> Any:
        first = values.get("first") if isinstance(values, Mapping) else None
        return {**values, "first": (), "first_from": first} if _names_a_study(first) else values

    def order(self) -> list[str]:
        """Parameter names, each after those that its `when` looks at."""
        return dependency_order({name: tuple(one.when) for name, one in self.parameters.items()})

    def config(self, values: Mapping[str, Any], where: str = "") -> RunConfig:
        """The RunConfig of a trial with these parameter values. Raises ConfigError.

        Where a trial is written is the study's business: a `checkpoint_path` of its base is left out.
        """
        changes = {**self.overrides, **values, "checkpoint_path": None}
        if isinstance(self.base, str):
            return load_config(self.base, changes)
        where = where or self.name
        return config_from_mapping(apply_overrides(self.base, changes, where), where)

    def epochs_of(self, values: Mapping[str, Any]) -> int | None:
        """How many epochs a trial with these parameter values has; None when only its base knows, by name."""
        base = self.base if isinstance(self.base, Mapping) else {}
        if base.get("stages") or sets_stages({**self.overrides, **values}):
            return self.config(values).epochs
        epochs = values.get("epochs", self.overrides.get("epochs", base.get("epochs")))
        return None if epochs is None else int(epochs)

    def frozen(self) -> SearchSpace:
        """The same space with the content of its base in place of its name, so that it means the same anywhere."""
        if not isinstance(self.base, str):
            return self
        content, _ = read_source(self.base)
        explicit = {*self.overrides, *self.parameters}
        if self.base in preset_names() and "eval_interval" not in explicit:
            # As in load_config: a preset's evaluation interval belongs to its own number of epochs.
            interval = content["eval_interval"]
            swept = self.parameters.get("epochs")
            epochs = [self.overrides.get("epochs", interval), *([] if swept is None else every_end("epochs", swept))]
            has_stages = sets_stages(dict.fromkeys(explicit, True))
            if has_stages or any(not isinstance(n, int) or n % interval for n in epochs):
                del content["eval_interval"]
        return self.model_copy(update={"base": content})

    def with_overrides(self, overrides: Mapping[str, Any]) -> SearchSpace:
        """With `key=value` of the command line on top: a parameter that is named is pinned to that one value."""
        parameters = {
            name: one.model_copy(
                update={"values": (overrides[name],), "min": None, "max": None, "step": None, "log": False}
            )
            if name in overrides
            else one
            for name, one in self.parameters.items()
        }
        first = tuple({name: overrides.get(name, value) for name, value in point.items()} for point in self.first)
        rest = {key: value for key, value in _read_overrides(overrides).items() if key not in parameters}
        return self.model_copy(
            update={"overrides": {**self.overrides, **rest}, "parameters": parameters, "first": first}
        )

    def identity(self) -> dict[str, Any]:
        """What makes trials of two calls comparable: all but what `_MAY_CHANGE` names, the seed and the tracker. Of
        `audit` too: the value of a condemned trial that went on is as true as that of any other."""
        content = self.frozen().model_dump(
            mode="json", exclude={**dict.fromkeys(_MAY_CHANGE, True), "sampler": {"seed"}}
        )
        for part in ("base", "overrides"):
            content[part] = {key: value for key, value in content[part].items() if key != "tracker"}
        content["parameters"] = {
            name: {key: value for key, value in one.items() if value not in (None, False, {})}
            for name, one in content["parameters"].items()
        }
        return content


def is_space(source: str) -> bool:
    """Whether this names a search space, shipped or a file with keys of one, rather than a configuration.

    Raises SpaceError when there is neither of this name.
    """
    path = Path(source)
    if source in space_names() or source in preset_names() or path.is_dir():
        return source in space_names()
    if path.is_file():
        try:
            return is_space_mapping(read_yaml_mapping(path))
        except ConfigError as error:
            raise SpaceError(str(error)) from None
    close = difflib.get_close_matches(source, [*space_names(), *preset_names()], n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise SpaceError(
        f"{source}: neither a search space ({', '.join(space_names())}), a preset ({', '.join(preset_names())}), a "
        f"file nor a run directory{hint}"
    )


def load_space(source: str) -> SearchSpace:
    """A search space by its shipped name or from a YAML file. Raises SpaceError naming file and key."""
    path = search_spaces_folder() / f"{source}.yaml" if source in space_names() else Path(source)
    if path.is_dir():
        raise SpaceError(
            f"{source}: a folder; expected the file of a search space, or one of {', '.join(space_names())}"
        )
    if not path.is_file():
        close = difflib.get_close_matches(source, space_names(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SpaceError(f"{source}: neither a shipped search space ({', '.join(space_names())}) nor a file{hint}")
    try:
        values = read_yaml_mapping(path)
    except ConfigError as error:
        raise SpaceError(str(error)) from None
    return space_from_mapping(values, str(path))


def space_from_mapping(values: Mapping[str, Any], where: str) -> SearchSpace:
    """Validate a search space. `where` names the file in messages. Raises SpaceError with everything that is wrong."""
    try:
        space = SearchSpace.model_validate(values)
    except ValidationError as error:
        lines = [_as_in_the_file(line) for line in explained(error, _known_names())]
        raise SpaceError("\n".join(f"{where}: {line}" for line in lines)) from None
    problems = list(_problems(space))
    if problems:
        raise SpaceError("\n".join(f"{where}: {problem}" for problem in problems))
    space.sampler.require_modules(where)
    return space


def require_name(name: str, where: str) -> None:
    """Raises SpaceError when `name` cannot be the name of a study, and so of a folder."""
    if not _NAME.fullmatch(name) or name in _TAKEN_NAMES:
        raise SpaceError(
            f"{where}: {name!r} cannot be the name of a study: expected letters, digits, dots, dashes and underscores, "
            f"and not {' or '.join(sorted(_TAKEN_NAMES))}"
        )
    if name.endswith(".") or _DEVICE.fullmatch(name):
        raise SpaceError(f"{where}: {name!r} cannot be the name of a folder on Windows; choose another one")


def _as_in_the_file(line: str) -> str:
    """pydantic puts the kind of sampler into the key: `sampler.tpe.seed` is `sampler.seed` in the file; and a study to
    begin with stands under `first`."""
    line = re.sub(r"^first_from\b", "first", line)
    return re.sub(r"^sampler\.(?!name)[a-z_]+([.:])", r"sampler\1", line)


def _known_names() -> list[str]:
    kinds: list[type[BaseModel]] = [
        SearchSpace,
        Parameter,
        Goal,
        Budget,
        StopWhen,
        Terminator,
        Resources,
        Tpe,
        FromStudy,
        *PRUNERS.values(),
    ]
    return sorted({name for kind in kinds for name in kind.model_fields} | {str(cause) for cause in Cause})


def _problems(space: SearchSpace) -> Iterator[str]:
    """What pydantic cannot see: keys against RunConfig, conditions against parameters, first points against both."""
    try:
        require_name(space.name, "name")
    except SpaceError as error:
        yield str(error)
    if isinstance(space.base, str):
        try:
            read_source(space.base)
        except ConfigError as error:
            yield f"base: {error}"
    for key in space.overrides:
        if plain_key(key) is None and key != "data":
            yield f"overrides.{key}: {unknown_key(key)}"
        if key in space.parameters:
            yield f"overrides.{key}: is a parameter too; leave it out of one of the two"
    for name, parameter in space.parameters.items():
        yield from (f"parameters.{name}: {problem}" for problem in _parameter_problems(name, parameter))
        if plain_key(name) and isinstance(space.sampler, Exhaustive) and _is_endless(name, parameter):
            yield (
                f"parameters.{name}: sampler {space.sampler.name} tries every value, but a range of real numbers "
                "has no end of them; give values or a step"
            )
    if space.confirm is not None and set(space.parameters) != {"seed"}:
        yield f"confirm: the one parameter of a confirmation is seed, found {', '.join(space.parameters)}"
    yield from _several_goals_problems(space)
    yield from _terminator_problems(space)
    conditions = list(_condition_problems(space))
    yield from conditions or _first_problems(space)


def _several_goals_problems(space: SearchSpace) -> Iterator[str]:
    """Optuna's own pruners, and CMA-ES, know one goal only."""
    if not space.objective.beside:
        return
    for name, pruner in space.pruner.items():
        if isinstance(pruner, OptunaPruner):
            yield (
                f"pruner.{name}: Optuna's pruners compare trials by one goal, and this space has "
                f"{len(space.objective.goals)}; zero_accuracy and diagnosis work with several"
            )
    if space.sampler.name == "cmaes":
        yield f"sampler.name: cmaes draws for one goal only, and this space has {len(space.objective.goals)}; use tpe"


def _terminator_problems(space: SearchSpace) -> Iterator[str]:
    """The terminator needs one score, whose error follows from the number of puzzles behind it."""
    if space.stop_when.terminator is None:
        return
    key, goals = "stop_when.terminator", space.objective.goals
    if len(goals) > 1:
        yield f"{key}: works with one goal, and this space has {len(goals)}; leave it out, or all goals but the first"
    elif not is_share(goals[0].metric) or not goals[0].is_maximized:
        yield (
            f"{key}: needs a share of puzzles as the goal, whose error is known; expected objective {{metric: "
            f"exact_accuracy, goal: maximize}}, found {goals[0].metric}, {goals[0].goal}; leave it out, or change the "
            "objective"
        )
    if "eval_puzzles" in space.parameters:
        yield (
            f"{key}: needs scores of one error, and parameters.eval_puzzles gives each trial its own; give one number "
            "under overrides, or leave the terminator out"
        )


def _condition_problems(space: SearchSpace) -> Iterator[str]:
    for name, parameter in space.parameters.items():
        for key, wanted in parameter.when.items():
            if key not in space.parameters:
                yield f"parameters.{name}.when.{key}: {_no_parameter(space, key)}"
            try:
                Condition.parse(key, wanted)
            except ValueError as error:
                yield f"parameters.{name}.when.{key}: {error}"
    try:
        space.order()
    except ValueError as error:
        yield f"parameters: {error}"


def _first_problems(space: SearchSpace) -> Iterator[str]:
    for index, point in enumerate(space.first):
        for name, value in point.items():
            if name not in space.parameters:
                yield f"first.{index}.{name}: {_no_parameter(space, name)}"
            elif plain_key(name) and not allows(name, space.parameters[name], value):
                yield (
                    f"first.{index}.{name}: {value!r} is not among the values that the parameter allows, "
                    f"{allowed_text(name, space.parameters[name])}; write one of those, or extend parameters.{name}"
                )
            else:
                for condition in space.parameters[name].conditions():
                    if condition.key in point and not condition.holds(point[condition.key]):
                        where = f"{condition.key}={point[condition.key]}"
                        yield f"first.{index}.{name}: does not exist where {where}, see its `when`"


def _no_parameter(space: SearchSpace, name: str) -> str:
    close = difflib.get_close_matches(name, list(space.parameters), n=1)
    return "no parameter of this space" + (f"; the nearest is {close[0]}" if close else "")


def _is_endless(name: str, parameter: Parameter) -> bool:
    return parameter.values is None and number_kind(name) is float and parameter.step is None


def _parameter_problems(name: str, parameter: Parameter) -> Iterator[str]:
    if plain_key(name) is None:
        yield unknown_key(name)
        return
    if parameter.values is not None:
        return
    kind = number_kind(name)
    if kind is None:
        yield "is no number, so it has no min and max; expected {values: [...]}"
    elif kind is int:
        for bound in ("min", "max", "step"):
            value = getattr(parameter, bound)
            if value is not None and value != int(value):
                yield f"{bound}: expected a whole number, found {value}"
