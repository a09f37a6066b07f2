"""RunConfig, presets, overrides, and where shipped files lie."""

from hrm_sweep.config.library import (
    is_space_mapping,
    load_config,
    preset_names,
    read_source,
    read_yaml_mapping,
    search_spaces_folder,
    space_names,
)
from hrm_sweep.config.overrides import apply_overrides, flattened, parse_overrides
from hrm_sweep.config.run import (
    ArchConfig,
    DataConfig,
    RunConfig,
    config_from_mapping,
    config_text,
    default_eval_interval,
    dotted_keys,
    nearest_key,
    plain_key,
    swiglu_width,
    unknown_key,
    write_config,
)

__all__ = [
    "ArchConfig",
    "DataConfig",
    "RunConfig",
    "apply_overrides",
    "config_from_mapping",
    "config_text",
    "default_eval_interval",
    "dotted_keys",
    "flattened",
    "is_space_mapping",
    "load_config",
    "nearest_key",
    "parse_overrides",
    "plain_key",
    "preset_names",
    "read_source",
    "read_yaml_mapping",
    "search_spaces_folder",
    "space_names",
    "swiglu_width",
    "unknown_key",
    "write_config",
]
