"""The table of values in the chart's README, from the schema's descriptions and the defaults of values.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1] / "rollcall"
BEGIN, END = "<!-- values: made by `make charts` -->\n", "<!-- end of values -->\n"
UNUSED = {"global"}


def leaves() -> Iterator[tuple[str, str, object]]:
    """Yield path, description and default of every value that the schema describes."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    yield from _leaves(schema["properties"], yaml.safe_load((CHART / "values.yaml").read_text()), "")


def readme() -> str:
    """Write the chart's README with the table as it should be."""
    text = (CHART / "README.md").read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = "".join(f"| `{path}` | `{json.dumps(default)}` | {words} |\n" for path, words, default in leaves())
    return f"{before}{BEGIN}\n| value | default | what it is |\n|---|---|---|\n{rows}\n{END}{after}"


def _leaves(properties: dict[str, Any], defaults: dict[str, Any], path: str) -> Iterator[tuple[str, str, object]]:
    for key, schema in properties.items():
        inner = f"{path}.{key}".lstrip(".")
        if "description" in schema and inner not in UNUSED:
            yield inner, schema["description"], defaults[key]
        elif "properties" in schema:
            yield from _leaves(schema["properties"], defaults[key], inner)
