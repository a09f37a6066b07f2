"""The JSON Schema of search spaces, for editors: `search_spaces/schema.json`.

Written by `python -m hrm_sweep.sweep.schema`. An editor finds it through a first line
`# yaml-language-server: $schema=PATH/schema.json`.
"""

from __future__ import annotations

import json
from typing import Any

from hrm_sweep.config import dotted_keys, search_spaces_folder
from hrm_sweep.sweep.space import SearchSpace

SCHEMA_FILE = "schema.json"


# pydantic writes the bounds of validated numbers under its own names.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


_OF_A_STAGE = {"pattern": r"^stages\.[0-9]+\.(epochs|overrides\..+)$"}


def space_schema() -> dict[str, Any]:
    """The schema, with every RunConfig key as a name that a parameter can have."""
    schema = _with_json_schema_bounds(SearchSpace.model_json_schema())
    parameters = schema["properties"]["parameters"]
    parameters["propertyNames"] = {"anyOf": [{"enum": list(dotted_keys())}, _OF_A_STAGE]}
    overrides = schema["properties"]["overrides"]
    overrides["propertyNames"] = {"anyOf": [{"enum": [*dotted_keys(), "arch", "arch.loss", "data"]}, _OF_A_STAGE]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "hrm-sweep search space"}


def _with_json_schema_bounds(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_json_schema_bounds(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        _BOUNDS.get(key, key) if isinstance(value, int | float) else key: _with_json_schema_bounds(value)
        for key, value in part.items()
    }


def schema_text() -> str:
    return json.dumps(space_schema(), indent=1) + "\n"


if __name__ == "__main__":
    (search_spaces_folder() / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
