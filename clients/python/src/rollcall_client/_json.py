"""Values to JSON-ready ones. The rules are those of `Explanation.to_dict`."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

_NOT_IN_JSON = {math.inf: "Infinity", -math.inf: "-Infinity"}


def plain(record: DataclassInstance) -> dict[str, JsonValue]:
    """The fields of a value by name, JSON-ready all the way down."""
    return {
        field.name: str(getattr(record, field.name))
        if field.metadata.get("json_string")
        else _plain_value(getattr(record, field.name))
        for field in fields(record)
        if field.metadata.get("in_json", True)
    }


def _plain_value(value: object) -> JsonValue:
    plain_value: JsonValue
    match value:
        case None | bool() | int() | str():
            plain_value = value
        case float():
            plain_value = value if math.isfinite(value) else _NOT_IN_JSON.get(value, "NaN")
        case Enum():
            plain_value = value.name
        case datetime():
            plain_value = value.isoformat()
        case bytes():
            plain_value = base64.b64encode(value).decode("ascii")
        case tuple():
            plain_value = [_plain_value(item) for item in value]
        case Mapping():
            plain_value = {_key(key): _plain_value(item) for key, item in value.items()}
        case _:
            plain_value = plain(value)  # type: ignore[arg-type]  # only this package's dataclasses are left
    return plain_value


def _key(key: object) -> str:
    return key.name if isinstance(key, Enum) else str(key)
