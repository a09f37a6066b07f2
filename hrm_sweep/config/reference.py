"""A RunConfig as the reference implementation writes and takes it: its all_config.yaml, its command line.

The reference reads its defaults with Hydra from two files. A key of theirs is set by `key=value`; any other that its
classes know has to be added, by `++key=value`, which also sets it where a version of the reference has it in a file.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hrm_sweep.config.run import RunConfig, dotted_keys

_OURS = (
    "data",
    "device",
    "compile",
    "eval_puzzles",
    "log_interval",
    "checkpoint",
    "stop_when_solved",
    "max_seconds",
    "micro_batch_size",
    "tracker",
    "stages",
    "init_from",
)

_NOT_IN_ITS_FILES = {
    "arch.rope_theta": 10000.0,
    "arch.rms_norm_eps": 1e-5,
    "arch.forward_dtype": "bfloat16",
    "seed": 0,
    "project_name": None,
    "run_name": None,
    "checkpoint_path": None,
    "eval_save_outputs": [],
}
"""What the reference takes where nothing is said, for keys that neither of its two files sets."""

_DECIDES_THE_END = ("stop_when_solved", "max_seconds")

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@%+-]*")
_WORDS = {"null", "true", "false", "nan", "inf"}  # in any case: values of another kind for Hydra


def all_config(config: RunConfig, data_path: Path | None = None) -> dict[str, Any]:
    """The keys and values of the reference's all_config.yaml. `data_path` says where the puzzles are for whoever reads
    it; by default what the config says. Of a run with stages the last one counts."""
    values = {key: value for key, value in config.last_stage.to_mapping().items() if key not in _OURS}
    return values if data_path is None else {**values, "data_path": str(data_path)}


def all_config_text(config: RunConfig, data_path: Path | None = None) -> str:
    """all_config.yaml as the reference dumps it, its keys sorted."""
    return yaml.safe_dump(all_config(config, data_path))


def official_command(config: RunConfig, data_path: Path | None = None) -> str:
    """The line that trains `config` with the reference, typed in its folder. Every key of its files is set, so that
    nothing depends on the defaults of a version."""
    values = all_config(config, data_path)
    overrides = [_override(key, _at(values, key)) for key in _keys() if _is_said(key, _at(values, key))]
    return shlex.join(["python", "pretrain.py", "arch=hrm_v1", *overrides])


def not_official(config: RunConfig) -> Iterator[str]:
    """What the reference would do otherwise, a sentence each."""
    for key in _DECIDES_THE_END:
        if config.get(key) is not None:
            yield f"the reference has no {key} ({config.get(key):g} here): it trains all {config.epochs} epochs"
    if config.stages is not None:
        yield f"the reference has no stages: it trains all {config.epochs} epochs as the last of them"
    if config.init_from is not None:
        yield f"the reference has no init_from ({config.init_from} here): it starts from random weights"
    if config.arch.puzzle_emb_ndim == 0:
        yield "the reference does not start with arch.puzzle_emb_ndim 0: it expects a puzzle embedding"


def _keys() -> list[str]:
    return [key for key in dotted_keys() if key.split(".")[0] not in _OURS]


def _is_said(key: str, value: Any) -> bool:
    return key not in _NOT_IN_ITS_FILES or value != _NOT_IN_ITS_FILES[key]


def _at(values: dict[str, Any], dotted: str) -> Any:
    found: Any = values
    for part in dotted.split("."):
        found = found[part]
    return found


def _override(key: str, value: Any) -> str:
    return f"{'++' if key in _NOT_IN_ITS_FILES else ''}{key}={_hydra(value)}"


def _hydra(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(_hydra(each) for each in value)}]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else _quoted(value)
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _quoted(text: str) -> str:
    """Inside quotes a quote and `${` are escaped by a backslash, and backslashes count double only before them."""
    escaped = re.sub(r"(\\*)('|\$\{|$)", lambda found: 2 * found[1] + ("\\" + found[2] if found[2] else ""), text)
    return f"'{escaped}'"
