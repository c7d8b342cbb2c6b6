"""Decoding request bytes so that what is wrong with them can be said by field path.

The protobuf library rejects a bad message without naming a field, and where both members of a oneof are on the wire it
keeps the last and says nothing. So when a message fails to decode, or was not stored as it came, its bytes are walked
here once more, beside the descriptor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rollcall.domain.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor

MAX_FIELDS = 10_000
"""Fields of one message that are walked; a hostile message could hold millions."""
MAX_VARINT_BYTES = 10

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """Stands where a message should be: what is wrong with the bytes that came."""

    violations: tuple[FieldViolation, ...]


class _MalformedError(Exception):
    """The bytes are not protobuf, or too many fields to walk."""


def decoder(descriptor: Descriptor) -> Callable[[bytes], Message | Undecodable]:
    """Make a deserializer for a message type that never raises."""
    message_type = GetMessageClass(descriptor)

    def decode(data: bytes) -> Message | Undecodable:
        try:
            message = message_type.FromString(data)
        except DecodeError:
            return _explain(descriptor, data)
        if message.ByteSize() == len(data):
            return message
        violations = tuple(_conflicts(descriptor, data))
        return Undecodable(violations=violations) if violations else message

    return decode


def _explain(descriptor: Descriptor, data: bytes) -> Undecodable:
    try:
        violations = tuple(_invalid_strings(descriptor, memoryview(data)))
    except _MalformedError:
        violations = ()
    unnamed = FieldViolation(field="", description=f"the request is not a valid {descriptor.full_name} message")
    return Undecodable(violations=violations or (unnamed,))


def _invalid_strings(descriptor: Descriptor, data: memoryview, path: str = "") -> Iterator[FieldViolation]:
    for field, payload in _delimited(descriptor, data):
        name = path + field.name
        if field.type == FieldDescriptor.TYPE_STRING and not is_utf8(payload):
            yield FieldViolation(field=name, description="must be valid UTF-8")
        elif field.message_type is not None:
            yield from _invalid_strings(field.message_type, payload, name + ".")


def _conflicts(descriptor: Descriptor, data: bytes | memoryview, path: str = "") -> Iterator[FieldViolation]:
    """Find oneofs with several members on the wire. The bytes did decode once, so only their number can be bad."""
    members: dict[str, set[str]] = {}
    try:
        present = list(_known(descriptor, memoryview(data)))
    except _MalformedError:
        yield FieldViolation(field=path.rstrip("."), description=f"must have at most {MAX_FIELDS} entries")
        return
    for field, payload in present:
        if field.containing_oneof is not None:
            members.setdefault(field.containing_oneof.name, set()).add(field.name)
        if payload is not None and field.message_type is not None and field.message_type.oneofs:
            yield from _conflicts(field.message_type, payload, f"{path}{field.name}.")
    for oneof, names in members.items():
        if len(names) > 1:
            found = " and ".join(sorted(names))
            yield FieldViolation(field=path + oneof, description=f"only one of its members may be set, not {found}")


def is_utf8(payload: bytes | memoryview) -> bool:
    """Whether bytes are a text."""
    try:
        str(payload, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _delimited(descriptor: Descriptor, data: memoryview) -> Iterator[tuple[FieldDescriptor, memoryview]]:
    return ((field, payload) for field, payload in _known(descriptor, data) if payload is not None)


def _known(descriptor: Descriptor, data: memoryview) -> Iterator[tuple[FieldDescriptor, memoryview | None]]:
    """Yield the fields that the descriptor knows, with the bytes of those that have a length."""
    position = count = 0
    while position < len(data):
        count += 1
        if count > MAX_FIELDS:
            raise _MalformedError
        tag, position = _varint(data, position)
        end, start = _extent(tag & 7, data, position)
        if end > len(data):
            raise _MalformedError
        field = descriptor.fields_by_number.get(tag >> 3)
        if field is not None:
            yield field, data[start:end] if tag & 7 == _DELIMITED else None
        position = end


def _extent(wire_type: int, data: memoryview, position: int) -> tuple[int, int]:
    """Return the end and the start of a value's bytes."""
    if wire_type == _DELIMITED:
        length, start = _varint(data, position)
        return start + length, start
    if wire_type == _VARINT:
        return _varint(data, position)[1], position
    if wire_type in {_FIXED64, _FIXED32}:
        return position + (8 if wire_type == _FIXED64 else 4), position
    raise _MalformedError


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Read a variable-length integer; return it and the position behind it."""
    value = 0
    for index, byte in enumerate(data[position : position + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position + index + 1
    raise _MalformedError
