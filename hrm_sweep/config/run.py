"""RunConfig: the one description of a run.

Keys and meaning follow the reference implementation (HRM_SPEC), so that its users read and write the same file. Ours
besides: `data`, `device`, `compile`, `eval_puzzles`, `log_interval`, `checkpoint`, `stop_when_solved`, `max_seconds`,
`micro_batch_size`, `tracker`, `stages`, `init_from` (the reference leaves out keys that it does not know).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from hrm_sweep.config.other_names import OTHER_NAMES
from hrm_sweep.errors import ConfigError


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number, found true or false")
    return value


def _on_or_off(value: object) -> object:
    """In YAML 1.1 `on` and `off` are true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


_NOT_BOOL = BeforeValidator(_refuse_bool)
Compile = Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_or_off)]
PositiveInt = Annotated[int, _NOT_BOOL, Field(ge=1)]
NonNegativeInt = Annotated[int, _NOT_BOOL, Field(ge=0)]
PositiveFloat = Annotated[float, _NOT_BOOL, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, _NOT_BOOL, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, _NOT_BOOL, Field(ge=0, le=1)]
Beta = Annotated[float, _NOT_BOOL, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of a RunConfig: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LossConfig(Section):
    """Which cross entropy is taken over the cells; `name` is what the reference calls its loss head."""

    name: str = "losses@ACTLossHead"
    loss_type: Literal["stablemax_cross_entropy", "softmax_cross_entropy"] = "stablemax_cross_entropy"


class ArchConfig(Section):
    """The model: HRM_SPEC 1. `puzzle_emb_ndim` equals hidden_size where it is not given; 0 means none."""

    name: str = "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1"
    loss: LossConfig = LossConfig()
    hidden_size: PositiveInt = 512
    num_heads: PositiveInt = 8
    expansion: PositiveFloat = 4.0
    H_layers: PositiveInt = 4
    L_layers: PositiveInt = 4
    H_cycles: PositiveInt = 2
    L_cycles: PositiveInt = 2
    halt_max_steps: PositiveInt = 16
    halt_exploration_prob: Fraction = 0.1
    puzzle_emb_ndim: NonNegativeInt = 512
    pos_encodings: Literal["rope", "learned"] = "rope"
    rope_theta: PositiveFloat = 10000.0
    rms_norm_eps: PositiveFloat = 1e-5
    forward_dtype: Literal["bfloat16", "float32"] = "bfloat16"

    @model_validator(mode="before")
    @classmethod
    def _embedding_follows_width(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("puzzle_emb_ndim") is None:
            width = values.get("hidden_size", cls.model_fields["hidden_size"].default)
            return {**values, "puzzle_emb_ndim": width}
        return values

    @model_validator(mode="after")
    def _heads_fit(self) -> ArchConfig:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}; "
                f"{_heads_that_fit(self.hidden_size)}"
            )
        head_dim = self.hidden_size // self.num_heads
        if head_dim % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} / num_heads {self.num_heads} gives head_dim {head_dim}: "
                f"rotary positions need an even one; {_heads_that_fit(self.hidden_size)}"
            )
        return self


class DataConfig(Section):
    """What to build when there is no data folder; the same choices as `hrm-sweep data sudoku`.

    `source` says where puzzles come from: the generator, two CSV files in the Sudoku-Extreme layout, or a published
    set on the Hugging Face hub. `subsample_size` is the number of training puzzles (generated, or kept of the source).
    """

    source: Literal["generator", "csv", "hub"] = "generator"
    size: Literal[4, 6, 9] = 9
    subsample_size: PositiveInt | None = None
    test_size: PositiveInt | None = None
    min_blanks: NonNegativeInt | None = None
    max_blanks: NonNegativeInt | None = None
    min_difficulty: NonNegativeInt | None = None
    max_difficulty: NonNegativeInt | None = None
    num_aug: NonNegativeInt = 0
    csv: tuple[str, str] | None = None
    hub: str | None = None
    seed: NonNegativeInt = 0


STAGE_KEYS = (
    "arch.halt_max_steps",
    "arch.halt_exploration_prob",
    "arch.H_cycles",
    "arch.L_cycles",
    "arch.loss.loss_type",
    "lr",
    "weight_decay",
    "puzzle_emb_lr",
    "puzzle_emb_weight_decay",
)
"""What a stage may set. Nothing here changes the shape of a weight, the data, or how many steps an epoch has."""

_STAGE_KEY = re.compile(r"stages\.(\d+)\.(?:epochs|overrides\.(.+))")
_SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")  # YAML 1.1 reads 1e-3 as a string


class Stage(Section):
    """A part of a run: so many epochs with these dotted keys, of STAGE_KEYS, set otherwise than in the rest."""

    epochs: PositiveInt
    overrides: dict[str, Any] = Field(default_factory=dict)

    @field_validator("overrides", mode="before")
    @classmethod
    def _only_what_a_stage_may_set(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            raise ValueError(f"expected RunConfig keys and values, found {values!r}")
        flat = dict(_flat(values))
        for key in flat:
            if key not in STAGE_KEYS:
                meant = None if key in _all_keys() else nearest_key(key)
                nearest = f"unknown key; the nearest valid key is {meant}" if meant in STAGE_KEYS else None
                raise ValueError(f"{key}: {nearest or _not_of_a_stage(key)}")
        return flat


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            is_number = isinstance(value, str) and _SCIENTIFIC.fullmatch(value)
            yield f"{prefix}{key}", float(value) if is_number else value


class RunConfig(Section):
    """Everything that decides a training run. Build one with `load_config` or `config_from_mapping`.

    `stages` trains the run in parts: weights, both optimizers and the puzzle embedding carry over, the ACT carry starts
    anew. `epochs` is the sum of theirs; an evaluation ends each of them. The learning-rate schedule spans the whole
    run: the `lr` of a stage is what warm-up and decay multiply while it lasts. Each evaluation takes as many ACT steps
    as its stage allows. `init_from` names a run or a checkpoint whose weights the run starts from.

    `micro_batch_size` is the number of rows that a process has in memory at once: the gradients of a larger batch are
    accumulated over several passes, which takes less memory and computes the same. None: all rows in one pass.
    """

    arch: ArchConfig = ArchConfig()

    data_path: str | None = None
    data: DataConfig | None = None

    global_batch_size: PositiveInt = 768
    micro_batch_size: PositiveInt | None = None
    epochs: PositiveInt = 20000
    eval_interval: PositiveInt = 2000

    lr: NonNegativeFloat = 1e-4
    lr_min_ratio: Fraction = 1.0
    lr_warmup_steps: NonNegativeInt = 2000
    weight_decay: NonNegativeFloat = 1.0
    beta1: Beta = 0.9
    beta2: Beta = 0.95
    puzzle_emb_lr: NonNegativeFloat = 1e-4
    puzzle_emb_weight_decay: NonNegativeFloat = 1.0

    seed: NonNegativeInt = 0
    project_name: str | None = None
    run_name: str | None = None
    checkpoint_path: str | None = None
    checkpoint_every_eval: bool = False
    eval_save_outputs: list[str] = Field(default_factory=list)

    device: str = "auto"
    compile: Compile = "auto"
    eval_puzzles: PositiveInt = 1000
    log_interval: PositiveInt = 10
    checkpoint: bool = True
    stop_when_solved: Fraction | None = None
    max_seconds: PositiveFloat | None = None
    tracker: Literal["tensorboard", "wandb", "mlflow"] | None = None
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] | None = None
    init_from: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _evaluate_about_ten_times(cls, values: Any) -> Any:
        """Fill in absent epochs, of a run with stages the sum of theirs, and an absent eval_interval; an explicit null
        of the latter means one evaluation at the end, as in the reference."""
        if not isinstance(values, Mapping):
            return values
        parts = _epochs_of_stages(values.get("stages"))
        if parts and values.get("epochs") is None:
            values = {**values, "epochs": sum(parts)}
        epochs = values.get("epochs", cls.model_fields["epochs"].default)
        if not _is_whole(epochs):
            return values
        common = math.gcd(*parts) if sum(parts) == int(epochs) else None
        if "eval_interval" not in values:
            return {**values, "eval_interval": default_eval_interval(int(epochs), common)}
        if values["eval_interval"] is None:
            return {**values, "eval_interval": common or int(epochs)}
        return values

    @model_validator(mode="after")
    def _evaluations_divide_the_run(self) -> RunConfig:
        if self.epochs % self.eval_interval:
            raise ValueError(
                f"eval_interval {self.eval_interval} does not divide epochs {self.epochs}: "
                f"choose one that does, for example {default_eval_interval(self.epochs)}"
            )
        return self

    @model_validator(mode="after")
    def _stages_fit(self) -> RunConfig:
        parts = [stage.epochs for stage in self.stages or ()]
        if parts and sum(parts) != self.epochs:
            raise ValueError(
                f"epochs {self.epochs} is not what the stages add up to, {' + '.join(map(str, parts))} = {sum(parts)}: "
                "leave epochs out, or change the epochs of the stages (stages=null trains without)"
            )
        for number, epochs in enumerate(parts):
            if epochs % self.eval_interval:
                raise ValueError(
                    f"eval_interval {self.eval_interval} does not divide the {epochs} epochs of stage {number}, and an "
                    f"evaluation ends each stage: choose one that does, for example {math.gcd(*parts)}"
                )
            try:
                self.stage(number)
            except ValidationError as error:
                said = "; ".join(_explain(detail) for detail in error.errors(include_url=False))
                raise ValueError(f"stages.{number}.overrides.{said}") from None
        return self

    def stage(self, number: int) -> RunConfig:
        """What stage `number`, counted from 0, trains with; `epochs` and `eval_interval` stay those of the whole run.
        A run without stages has one, itself."""
        if self.stages is None:
            return self
        values = self.to_mapping() | {"stages": None}
        for dotted, value in self.stages[number].overrides.items():
            *sections, last = dotted.split(".")
            place = values
            for section in sections:
                place = place[section]
            place[last] = value
        return RunConfig.model_validate(values)

    @property
    def stage_shares(self) -> list[tuple[RunConfig, float]]:
        """What each stage trains with, and its share of the epochs; a run without stages is its only one."""
        if self.stages is None:
            return [(self, 1.0)]
        return [(self.stage(number), stage.epochs / self.epochs) for number, stage in enumerate(self.stages)]

    @property
    def last_stage(self) -> RunConfig:
        """What the end of the run trains with."""
        return self.stage(-1)

    def stage_at(self, epoch: float) -> int:
        """The number of the stage that trains on after `epoch` epochs; of the last one at the end of the run."""
        stages = self.stages or ()
        ends = [sum(stage.epochs for stage in stages[: n + 1]) for n in range(len(stages))]
        return next((number for number, end in enumerate(ends) if epoch < end), max(0, len(stages) - 1))

    def to_mapping(self) -> dict[str, Any]:
        """Plain nested dictionary, ready for YAML or JSON."""
        return self.model_dump(mode="json")

    def get(self, dotted: str) -> Any:
        """The value of a dotted key, for example `arch.halt_max_steps` or `stages.1.epochs`; None below a section that
        is not there. A key that a stage does not set has the value that it has in the whole run."""
        if of_stage := _STAGE_KEY.fullmatch(dotted):
            number, key = int(of_stage[1]), of_stage[2]
            if self.stages is None or number >= len(self.stages):
                return None
            stage = self.stages[number]
            return stage.epochs if key is None else stage.overrides.get(key, self.get(key))
        if dotted == "stages":
            return self.to_mapping()["stages"]
        value: Any = self
        for part in dotted.split("."):
            value = None if value is None else getattr(value, part)
        return value


def swiglu_width(hidden_size: int, expansion: float) -> int:
    """The inner width of SwiGLU: the smallest multiple of 256 that is at least round(expansion * D * 2 / 3)."""
    return -(-round(expansion * hidden_size * 2 / 3) // 256) * 256


def _is_whole(value: object) -> bool:
    try:
        return int(value) >= 1  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return False


def _heads_that_fit(hidden_size: int) -> str:
    """What to choose instead of heads that do not divide a width into even parts."""
    if hidden_size % 2:
        return "choose an even hidden_size"
    return (
        f"choose a number of heads that fits, for example {max(n for n in range(1, 9) if hidden_size % (2 * n) == 0)}"
    )


def default_eval_interval(epochs: int, common: int | None = None) -> int:
    """The smallest divisor of `epochs` that is at least a tenth of it: about ten evaluations a run. Of a run with
    stages it divides `common`, the greatest common divisor of their epochs."""
    whole = common or epochs
    return next(whole // parts for parts in range(max(1, 10 * whole // epochs), 0, -1) if whole % parts == 0)


def _epochs_of_stages(stages: object) -> list[int]:
    """The epochs of each stage of an unchecked config; nothing where they are no numbers, which is complained of
    later."""
    if not isinstance(stages, list | tuple):
        return []
    found = [stage.get("epochs") if isinstance(stage, Mapping) else getattr(stage, "epochs", None) for stage in stages]
    return [int(epochs) for epochs in found if epochs is not None] if all(map(_is_whole, found)) else []


def dotted_keys(section: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Every settable key of a RunConfig, dotted: `lr`, `arch.H_cycles`, `data.num_aug`, ..."""
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from dotted_keys(inner, f"{prefix}{name}.")


@cache
def _all_keys() -> frozenset[str]:
    return frozenset(dotted_keys())


def plain_key(key: str) -> str | None:
    """The RunConfig key that decides which values a dotted key takes: the key itself; `epochs` of `stages.1.epochs` and
    `lr` of `stages.1.overrides.lr`; None where there is no such key."""
    if of_stage := _STAGE_KEY.fullmatch(key):
        inner = of_stage[2] or "epochs"
        return inner if inner in (*STAGE_KEYS, "epochs") else None
    return key if key in _all_keys() else None


def text_keys(section: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """The dotted keys whose value is text, where `run_name=2024` means the four characters."""
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None:
            yield from text_keys(inner, f"{prefix}{name}.")
        elif get_origin(field.annotation) is not list and str in (field.annotation, *get_args(field.annotation)):
            yield prefix + name


def _section_of(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def nearest_key(key: str) -> str | None:
    """The valid dotted key that is meant by `key`: one that differs in case only, one that other programs call so, or
    that which looks most like it, also when only its last part was written."""
    keys = list(dotted_keys())
    last_part = key.rsplit(".", 1)[-1]
    plain = last_part.lower().replace("-", "_")
    same = [one for one in keys if one.lower() == key.lower()]
    same += [one for one in keys if one.rsplit(".", 1)[-1].lower() == plain or plain in OTHER_NAMES.get(one, ())]
    if same:
        return same[0]
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    if close:
        return close[0]
    last_parts = {k.rsplit(".", 1)[-1]: k for k in keys}
    close = difflib.get_close_matches(last_part, list(last_parts), n=1, cutoff=0.6)
    return last_parts[close[0]] if close else None


def unknown_key(key: str) -> str:
    """What to say of a dotted key that `plain_key` does not know: the one that is meant, or, where it is a key that a
    stage cannot set, which ones it can."""
    if in_stage := re.fullmatch(r"(stages\.\d+)\.(.+)", key):
        return _unknown_in_stage(in_stage[1], in_stage[2])
    nearest = nearest_key(key)
    return "unknown key" + (f"; the nearest valid key is {nearest}" if nearest else "")


def _unknown_in_stage(stage: str, rest: str) -> str:
    """The same for `stages.0` and `overrides.arch.hidden_size`, `override.lr`, `epoch`, ..."""
    part, _, inner = rest.partition(".")
    if part == "overrides" and inner in _all_keys():
        return _not_of_a_stage(inner)
    if rest == "overrides":
        return f"is set key by key, as in {stage}.overrides.lr"
    of_overrides = bool(difflib.get_close_matches(part, ["overrides"]))
    if of_overrides and not inner:
        return f"unknown key; the nearest valid key is {stage}.overrides"
    meant = nearest_key(inner if of_overrides else rest)
    if meant == "epochs" and not of_overrides:
        return f"unknown key; the nearest valid key is {stage}.epochs"
    if meant in STAGE_KEYS:
        return f"unknown key; the nearest valid key is {stage}.overrides.{meant}"
    return f"unknown key; a stage has epochs, and overrides, which set {', '.join(STAGE_KEYS)}"


def _not_of_a_stage(key: str) -> str:
    why = " (the weights carry over, so their shapes cannot change)" if key.startswith("arch.") else ""
    return f"a stage cannot set it{why}; a stage sets {', '.join(STAGE_KEYS)}"


def config_from_mapping(values: Mapping[str, Any], where: str) -> RunConfig:
    """Validate a nested mapping. `where` names the file or command in messages. Raises ConfigError."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        lines = [_explain(detail) for detail in _causes(error)]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from None


def _causes(error: ValidationError) -> Iterator[Any]:
    """pydantic's complaints but for those that follow from another one: that a list has too few items where one of its
    items is wrong, and that a key is missing where it is written otherwise."""
    details = error.errors(include_url=False)
    places = [detail["loc"] for detail in details]
    unknown = [".".join(map(str, detail["loc"])) for detail in details if detail["type"] == "extra_forbidden"]
    for detail in details:
        place = detail["loc"]
        if detail["type"] == "too_short" and any(
            len(one) > len(place) and one[: len(place)] == place for one in places
        ):
            continue
        missing = f" {'.'.join(map(str, place))}"
        if detail["type"] == "missing" and any(unknown_key(key).endswith(missing) for key in unknown):
            continue
        yield detail


def _explain(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{key}: {unknown_key(key)}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if message else message
    if detail["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message}; found {detail['input']!r}"


def config_text(config: RunConfig) -> str:
    """The full config as YAML; the reference's own config class reads it too."""
    return yaml.safe_dump(config.to_mapping(), sort_keys=False)


def write_config(config: RunConfig, path: Path) -> None:
    """Write `config_text`, whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(config_text(config), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
