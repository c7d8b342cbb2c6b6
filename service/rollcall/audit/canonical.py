"""Canonical bytes, and the values that go into them. Pure.

Numbers that are not whole are decimal strings of nine significant digits, seeds are decimal strings, so that every
language reads the same; times are RFC 3339 in UTC with three decimals. null says that there is none; a list or an
object may be empty. Strings are as they were received, in no normal form. The bytes are RFC 8785, and are stored, never
made again from what was read.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import rfc8785

ID_RANDOM_BYTES = 10
MAX_INTEGER = 2**53 - 1
"""Beyond it RFC 8785 has no integers: not every reader can tell them apart."""
_WORDS = (str, bool, type(None))
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=True).encode


def new_id(at: float, randomness: bytes) -> str:
    """Make an id that sorts by time: a UUID of version 7 (RFC 9562) from Unix seconds and 10 random bytes."""
    bits = int(at * 1000) << 80 | int.from_bytes(randomness, "big")
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))


def timestamp(at: float) -> str:
    """Write Unix seconds as RFC 3339 with three decimals."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def canonical(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Write a value as RFC 8785 does. Raises rfc8785.CanonicalizationError for what has no such form.

    The standard library writes a record in a quarter of the time that rfc8785 takes, and the same bytes where `_alike`.
    """
    whole = dict(value) if isinstance(value, Mapping) else list(value)
    if _alike(whole):
        try:
            return _encode(whole).encode()
        except UnicodeEncodeError:
            pass  # half a surrogate pair, which rfc8785 refuses by name
    return rfc8785.dumps(whole)


def _alike(whole: Any) -> bool:  # noqa: ANN401 - anything
    """Whether a value consists of what RFC 8785 and the json module write alike.

    That is everything but numbers that are not whole, which they format differently, integers and types that RFC 8785
    does not have, and names beyond ASCII, which it sorts by UTF-16.
    """
    left: list[Any] = [whole]
    while left:
        value = left.pop()
        kind = type(value)
        if kind is dict:
            if not all(type(name) is str and name.isascii() for name in value):
                return False
            left.extend(value.values())
        elif kind is list:
            left.extend(value)
        elif kind is int:
            if not -MAX_INTEGER <= value <= MAX_INTEGER:
                return False
        elif kind not in _WORDS:
            return False
    return True


def sha256(data: bytes) -> str:
    """Digest as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def decimal(value: float | None) -> str | None:
    """Nine significant digits, which tell any two float32 apart; "nan", "inf" and "-inf" are words."""
    return None if value is None else f"{value:.9g}"


def decimals(numbers: Mapping[str, float]) -> dict[str, str | None]:
    """Write named numbers."""
    return {name: decimal(value) for name, value in numbers.items()}


def plain(value: object) -> object:
    """Write an option: members of an enum by their value, tuples as lists."""
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
