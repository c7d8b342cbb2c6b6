"""Hostile values and hostile bytes, all drawn from a `Random` that the caller seeds."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

CANARY = "xyzzyplugh"
"""Stands in every hostile text: where it shows up again, an input got out."""
MOST_DEPTH = 6
NAMES = frozenset(
    (
        *("request_id", "id", "model", "model_name", "model_version", "revision", "name", "policy", "service"),
        *("record_id", "record_ids", "matter", "assignee", "case_number"),
    )
)
"""Fields that name something: they may be logged or echoed, and get no canary."""

TEXTS = (
    "",
    " \t\n\u2003",
    "\x00",
    "a\x00b",
    "\u202egood\u202c film",
    "\u200d\u200d\ufeff",
    "e" + "\u0301" * 300,
    "👍🏽👨‍👩‍👧‍👦" * 20,
    "我喜欢这部电影。",
    "{0.__class__.__mro__} %s%n%x ${jndi:ldap://a/b}",
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
    "'; DROP TABLE explanation; --",
    '\r\n{"event": "forged", "level": "error"}\r\n',
    "[MASK] [SEP] [CLS] <s> </s> <mask>",
    "nan",
    "-1",
    "x" * 5_000,
    "word " * 2_000,
)
WHOLE = (0, 1, -1, 2, 7, 127, 128, 255, 1 << 16, (1 << 31) - 1, -(1 << 31), 1 << 32, (1 << 63) - 1, -(1 << 63))
REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))

_Field = FieldDescriptor
_INT32, _UINT32, _INT64, _UINT64 = (-(1 << 31), 1 << 31), (0, 1 << 32), (-(1 << 63), 1 << 63), (0, 1 << 64)
_BOUNDS: Mapping[int, tuple[int, int]] = {
    **dict.fromkeys((_Field.TYPE_INT32, _Field.TYPE_SINT32, _Field.TYPE_SFIXED32, _Field.TYPE_ENUM), _INT32),
    **dict.fromkeys((_Field.TYPE_UINT32, _Field.TYPE_FIXED32), _UINT32),
    **dict.fromkeys((_Field.TYPE_INT64, _Field.TYPE_SINT64, _Field.TYPE_SFIXED64), _INT64),
    **dict.fromkeys((_Field.TYPE_UINT64, _Field.TYPE_FIXED64), _UINT64),
}


def text(random: Random, *, marked: bool = True) -> str:
    """Draw a hostile text, with the canary where it is `marked`."""
    chosen = random.choice(TEXTS)
    return f"{chosen}{CANARY}{chosen[:9]}" if marked and random.random() < 0.7 else chosen


def blob(random: Random) -> bytes:
    """Draw bytes: random ones, numbers of a tensor that may be cut, or elements with lengths that lie."""
    kind = random.randrange(4)
    if kind == 0:
        return random.randbytes(random.choice((0, 1, 3, 7, 64, 1000)))
    if kind == 1:
        return struct.pack("<8q", *(random.choice(WHOLE) for _ in range(8)))[: random.randrange(65)]
    element = text(random).encode()
    length = len(element) if kind == 2 else random.choice((0, 1, len(element) + 1, (1 << 31), (1 << 32) - 1))
    return struct.pack("<I", length) + element


def scalar(field: Any, random: Random) -> object:  # noqa: ANN401 - a descriptor of either make
    """Draw a value that a field can hold."""
    if field.type in _BOUNDS:
        low, high = _BOUNDS[field.type]
        return (random.choice((*WHOLE, random.randrange(low, high))) - low) % (high - low) + low
    if field.type in {_Field.TYPE_DOUBLE, _Field.TYPE_FLOAT}:
        return random.choice(REAL)
    if field.type == _Field.TYPE_BOOL:
        return random.random() < 0.5
    if field.type == _Field.TYPE_BYTES:
        return blob(random)
    return text(random, marked=field.name not in NAMES)


def fill(message: Message, random: Random, *, share: float, depth: int = 0) -> None:
    """Set about `share` of the fields of a message to hostile values, in place."""
    for field in message.DESCRIPTOR.fields:
        if random.random() >= share or depth > MOST_DEPTH:
            continue
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            _fill_map(message, field, random)
        elif field.is_repeated:
            _fill_list(getattr(message, field.name), field, random, share=share, depth=depth)
        elif entry is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            fill(inner, random, share=max(share, 0.5), depth=depth + 1)
        else:
            setattr(message, field.name, scalar(field, random))


def nudge(message: Message, random: Random) -> None:
    """Set one field, somewhere in a message, to a hostile value: all else stays right, and is not refused for it."""
    field: Any = random.choice(message.DESCRIPTOR.fields)
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        _fill_map(message, field, random)
    elif field.is_repeated and entry is None:
        _nudge_list(getattr(message, field.name), field, random)
    elif entry is not None:
        held = getattr(message, field.name)
        inner = held if not field.is_repeated else random.choice(held) if held else held.add()
        if not field.is_repeated:
            inner.SetInParent()
        if entry.fields:
            nudge(inner, random)
    else:
        setattr(message, field.name, scalar(field, random))


def _nudge_list(held: Any, field: Any, random: Random) -> None:  # noqa: ANN401 - a repeated field, and its descriptor
    """Replace, add, or take away an entry."""
    if held and random.random() < 0.5:
        held[random.randrange(len(held))] = scalar(field, random)
    elif held and random.random() < 0.3:
        del held[-1]
    else:
        held.append(scalar(field, random))


def _fill_list(held: Any, field: Any, random: Random, *, share: float, depth: int) -> None:  # noqa: ANN401 - as above
    if held and random.random() < 0.3:
        del held[random.randrange(len(held)) :]
    for _ in range(random.choice((0, 1, 1, 2, 3, 200))):
        if field.message_type is None:
            held.append(scalar(field, random))
        else:
            fill(held.add(), random, share=max(share, 0.5), depth=depth + 1)


def _fill_map(message: Message, field: Any, random: Random) -> None:  # noqa: ANN401 - a descriptor of either make
    values = getattr(message, field.name)
    known = ("rollcall_map", "rollcall_max_rows", "rollcall_seed", "rollcall_check_level", "rollcall_target", "timeout")
    key = random.choice((*known, text(random, marked=False)))
    held = field.message_type.fields_by_name["value"]
    if held.message_type is None:
        values[key] = scalar(held, random)
    else:
        fill(values[key], random, share=0.5)


# --- bytes ---------------------------------------------------------------------------------------------------------


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


def _lose(data: bytearray, random: Random) -> None:
    start = random.randrange(len(data) + 1)
    del data[start : start + random.randrange(1, 9)]


def _insert(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.randbytes(random.randrange(1, 9))


def _repeat(data: bytearray, random: Random) -> None:
    start = random.randrange(len(data) + 1)
    data[start:start] = data[start : start + random.randrange(1, 40)] * random.choice((1, 2, 50))


def _number(data: bytearray, random: Random) -> None:
    """Put the longest, the largest or an endless varint somewhere."""
    at = random.randrange(len(data) + 1)
    data[at : at + 1] = random.choice((b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\x80" * 12, b"\xff\xff\xff\xff\x07"))


def _nest(data: bytearray, random: Random) -> None:
    """Wrap all of it, over and over, as the content of one field."""
    tag = random.randrange(1, 16) << 3 | 2
    for _ in range(random.choice((1, 5, 150))):
        length = len(data)
        varint = bytearray()
        while length > 0x7F:
            varint.append(length & 0x7F | 0x80)
            length >>= 7
        varint.append(length)
        data[0:0] = bytes([tag]) + varint


OPERATIONS: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip,
    _flip,
    _cut,
    _lose,
    _insert,
    _repeat,
    _number,
    _nest,
)


def scramble(data: bytes, random: Random) -> bytes:
    """Change the bytes of a message in one to four ways."""
    changed = bytearray(data)
    for _ in range(random.randrange(1, 5)):
        random.choice(OPERATIONS)(changed, random)
    return bytes(changed)
