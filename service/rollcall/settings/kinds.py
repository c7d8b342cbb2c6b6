"""What a key accepts, and how that is said where it does not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

MOST_PORTS = 65_535
MOST_TOKENS = 100
MOST_LABELS = 10_000
MOST_DEVICES = 64
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[T]):
    """What a key accepts: `parse` makes the value of what TOML or a variable holds, or raises ValueError."""

    expected: str
    parse: Callable[[object], T]


def number(of: Callable[[str | float], T], expected: str, accepts: Callable[[T], bool]) -> Kind[T]:
    """Numbers for which `accepts` holds; text is read with `of`, booleans are not numbers."""

    def parse(value: object) -> T:
        if (
            isinstance(value, bool)
            or not isinstance(value, (str, int, float))
            or (of is int and isinstance(value, float))
        ):
            raise ValueError
        try:
            parsed = of(value)
        except OverflowError as error:  # a whole number that no float holds
            raise ValueError from error
        if not accepts(parsed):
            raise ValueError
        return parsed

    return Kind(expected=expected, parse=parse)


def whole(least: int, most: int) -> Kind[int]:
    """Whole numbers from `least` to `most`."""
    return number(int, f"a whole number from {least} to {most}", lambda n: least <= n <= most)


def seconds(most: float, least: float = 0.0) -> Kind[float]:
    """Durations up to `most`."""
    return number(float, f"seconds from {least:g} to {most:g}", lambda x: least <= x <= most)


def text(expected: str, pattern: str = r".*\S.*") -> Kind[str]:
    """Text that matches `pattern` from start to end."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return Kind(expected=expected, parse=parse)


def choice(members: type[E]) -> Kind[E]:
    """One of an enum's members, named by its value in any case."""
    by_name = {str(member.value).lower(): member for member in members}

    def parse(value: object) -> E:
        if not isinstance(value, str) or value.lower() not in by_name:
            raise ValueError
        return by_name[value.lower()]

    return Kind(expected="one of " + ", ".join(by_name), parse=parse)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in {"true", "false"}:
        raise ValueError
    return value.lower() == "true"


def _path(value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise ValueError
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # of somebody who has no home here
        raise ValueError from error


def _devices(value: object) -> tuple[str, ...]:
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not 0 < len(found) <= MOST_DEVICES:
        raise ValueError
    return tuple(DEVICE.parse(item.strip() if isinstance(item, str) else item) for item in found)


def several(expected: str, *, most: int) -> Kind[tuple[str, ...]]:
    """At least two texts: a list, or one text with commas between them."""

    def parse(value: object) -> tuple[str, ...]:
        found = value.split(",") if isinstance(value, str) else value
        if not isinstance(found, (list, tuple)) or not 1 < len(found) <= most:
            raise ValueError
        if not all(isinstance(each, str) and each for each in found):
            raise ValueError
        return tuple(found)

    return Kind(expected=expected, parse=parse)


BOOLEAN = Kind(expected="true or false", parse=_boolean)
PATH = Kind(expected="a path", parse=_path)
TOKENS = several("a list of tokens, at least two", most=MOST_TOKENS)
LABELS = several("a list of labels, at least two", most=MOST_LABELS)
MAX_UNITS = whole(2, 256)
TENSOR = text("a name of a tensor")
DAYS = whole(183, 36_500)
"""Of keeping records: six months at least, which is the least that anybody asks of such logs."""
HOST = text("a host name or address")
KEYS_URL = text("an https address", r"https://\S+|http://(localhost|127\.0\.0\.1|\[::1\])[:/]\S*")
COLLECTOR = text("an address like http://HOST:4317 or https://HOST:4317", r"https?://[^\s/@]+")
NAME = text("a model's name: letters, digits, dot, underscore, hyphen, at most 64", MODEL_NAME.pattern)
DEVICE = text('"cpu" or "cuda:N"', r"cpu|cuda(:\d+)?")
DEVICES = Kind(expected='a list of "cpu" or "cuda:N", or the same with commas between', parse=_devices)
DTYPE = text('"float32", "bfloat16" or "float16"', r"float32|bfloat16|float16")
PORT = whole(0, MOST_PORTS)
SHARE = number(float, "a share above 0 and at most 1", lambda x: 0 < x <= 1)
SHARE_OR_NONE = number(float, "a share from 0 to 1", lambda x: 0 <= x <= 1)
RATE = number(float, "a number above 0", lambda x: 0 < x < float("inf"))
PROBABILITY = number(float, "a probability above 0 and below 1", lambda x: 0 < x < 1)
