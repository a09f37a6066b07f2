"""RunConfig: the one description of a run.

Keys and meaning follow the reference implementation (HRM_SPEC), so that its users read and write the same file. Ours
besides: `data`, `device`, `compile`, `eval_puzzles`, `log_interval`, `checkpoint`, `stop_when_solved`, `max_seconds`,
`micro_batch_size`, `tracker` (the reference leaves out keys that it does not know).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

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


class RunConfig(Section):
    """Everything that decides a training run. Build one with `load_config` or `config_from_mapping`.

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

    @model_validator(mode="before")
    @classmethod
    def _evaluate_about_ten_times(cls, values: Any) -> Any:
        """Fill an absent eval_interval; an explicit null means one evaluation at the end, as in the reference."""
        if not isinstance(values, Mapping):
            return values
        epochs = values.get("epochs", cls.model_fields["epochs"].default)
        if not _is_whole(epochs):
            return values
        if "eval_interval" not in values:
            return {**values, "eval_interval": default_eval_interval(int(epochs))}
        if values["eval_interval"] is None:
            return {**values, "eval_interval": int(epochs)}
        return values

    @model_validator(mode="after")
    def _evaluations_divide_the_run(self) -> RunConfig:
        if self.epochs % self.eval_interval:
            raise ValueError(
                f"eval_interval {self.eval_interval} does not divide epochs {self.epochs}: "
                f"choose one that does, for example {default_eval_interval(self.epochs)}"
            )
        return self

    def to_mapping(self) -> dict[str, Any]:
        """Plain nested dictionary, ready for YAML or JSON."""
        return self.model_dump(mode="json")

    def get(self, dotted: str) -> Any:
        """The value of a dotted key, for example `arch.halt_max_steps`; None below a section that is not there."""
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


def default_eval_interval(epochs: int) -> int:
    """The smallest divisor of `epochs` that is at least a tenth of it: about ten evaluations a run."""
    return next(epochs // evaluations for evaluations in range(10, 0, -1) if epochs % evaluations == 0)


def dotted_keys(section: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Every settable key of a RunConfig, dotted: `lr`, `arch.H_cycles`, `data.num_aug`, ..."""
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from dotted_keys(inner, f"{prefix}{name}.")


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
    """The valid dotted key that looks most like `key`, also when only its last part was written."""
    keys = list(dotted_keys())
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    if close:
        return close[0]
    last_parts = {k.rsplit(".", 1)[-1]: k for k in keys}
    close = difflib.get_close_matches(key.rsplit(".", 1)[-1], list(last_parts), n=1, cutoff=0.6)
    return last_parts[close[0]] if close else None


def config_from_mapping(values: Mapping[str, Any], where: str) -> RunConfig:
    """Validate a nested mapping. `where` names the file or command in messages. Raises ConfigError."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from None


def _explain(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        nearest = nearest_key(key)
        return f"{key}: unknown key" + (f"; the nearest valid key is {nearest}" if nearest else "")
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
