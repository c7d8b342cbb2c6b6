"""The rich part of a gRPC failure: google.rpc details, read from the trailer `grpc-status-details-bin`.

The message types live in a private descriptor pool, built below from their published field numbers
(google/rpc/status.proto and error_details.proto). The default pool is global to the process and refuses a second copy
of a type, so registering them there would break every program that also loads googleapis-common-protos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

_Field = descriptor_pb2.FieldDescriptorProto
_INT32, _INT64, _STRING, _BYTES = _Field.TYPE_INT32, _Field.TYPE_INT64, _Field.TYPE_STRING, _Field.TYPE_BYTES
_REPEATED = "*"

# Message -> field -> (number, type). A type given by name is a message; a trailing * means repeated.
_SCHEMA: Mapping[str, Mapping[str, tuple[int, _Field.Type.ValueType | str]]] = {
    "Any": {"type_url": (1, _STRING), "value": (2, _BYTES)},
    "Duration": {"seconds": (1, _INT64), "nanos": (2, _INT32)},
    "Pair": {"key": (1, _STRING), "value": (2, _STRING)},
    "Status": {"code": (1, _INT32), "message": (2, _STRING), "details": (3, "Any*")},
    "RetryInfo": {"retry_delay": (1, "Duration")},
    "BadRequest": {"field_violations": (1, "FieldViolation*")},
    "FieldViolation": {"field": (1, _STRING), "description": (2, _STRING)},
    # A map travels as repeated pairs.
    "ErrorInfo": {"reason": (1, _STRING), "domain": (2, _STRING), "metadata": (3, "Pair*")},
    "ResourceInfo": {"resource_type": (1, _STRING), "resource_name": (2, _STRING), "description": (4, _STRING)},
    "PreconditionFailure": {"violations": (1, "PreconditionViolation*")},
    "PreconditionViolation": {"type": (1, _STRING), "subject": (2, _STRING), "description": (3, _STRING)},
    "QuotaFailure": {"violations": (1, "QuotaViolation*")},
    "QuotaViolation": {"subject": (1, _STRING), "description": (2, _STRING)},
}
_READ = ("RetryInfo", "BadRequest", "ErrorInfo", "ResourceInfo", "PreconditionFailure", "QuotaFailure")
_PACKAGE = "rollcall_client.status"
_NANOSECONDS = 1e9
_ERROR_ID = "error_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What a failure says beyond code and message. Nothing said is empty, or None for the delay in seconds."""

    retry_after: float | None = None
    violations: tuple[tuple[str, str], ...] = ()
    resource: str = ""
    error_id: str = ""


def _field(name: str, number: int, kind: _Field.Type.ValueType | str) -> _Field:
    label = _Field.LABEL_OPTIONAL
    if not isinstance(kind, str):
        return _Field(name=name, number=number, label=label, type=kind)
    if kind.endswith(_REPEATED):
        label = _Field.LABEL_REPEATED
    type_name = f".{_PACKAGE}.{kind.removesuffix(_REPEATED)}"
    return _Field(name=name, number=number, label=label, type=_Field.TYPE_MESSAGE, type_name=type_name)


def _private_pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="rollcall_client/status.proto", package=_PACKAGE, syntax="proto3")
    for message, members in _SCHEMA.items():
        fields = [_field(name, number, kind) for name, (number, kind) in members.items()]
        file.message_type.add(name=message, field=fields)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _private_pool()


def _decode(message: str, data: bytes) -> Any:  # noqa: ANN401 - a class made at run time has no static type
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{message}")).FromString(data)


def read_details(trailer: bytes | None) -> Details:
    """Read the trailer's bytes; kinds of detail that are not known are skipped.

    Details help, but must never hide the failure that they belong to: bytes that cannot be read count as nothing said.
    """
    try:
        status = _decode("Status", trailer or b"")
        packed = {detail.type_url.rpartition("/google.rpc.")[2]: detail.value for detail in status.details}
        # A detail that did not come reads as an empty one.
        retry, bad, error, resource, missing, quota = (_decode(name, packed.get(name, b"")) for name in _READ)
    except DecodeError:
        return Details()
    delay = retry.retry_delay
    return Details(
        retry_after=delay.seconds + delay.nanos / _NANOSECONDS if retry.HasField("retry_delay") else None,
        violations=(
            *((violation.field, violation.description) for violation in bad.field_violations),
            *((violation.subject, violation.description) for violation in (*missing.violations, *quota.violations)),
        ),
        resource=resource.resource_name,
        error_id=next((pair.value for pair in error.metadata if pair.key == _ERROR_ID), ""),
    )
