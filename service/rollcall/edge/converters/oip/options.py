"""Parameters of ModelInfer: the options of an explanation as `rollcall_*`, and those of other servers' clients.

A parameter that is ours and wrong, or unknown, is refused; so is one that would change the meaning of the request on
another server. What is only advice to another server (priority, headers, ...) is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from rollcall.domain.errors import FieldViolation, InvalidInput
from rollcall.v1 import common_pb2, explanation_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

    from rollcall.oip import open_inference_pb2 as oip

V = TypeVar("V", bound=int)

OURS = "rollcall_"
TIMEOUT = "timeout"
"""Microseconds that the request may take."""
NOT_OFFERED = ("sequence_id", "sequence_start", "sequence_end")
MICROSECONDS = 1e-6


def options(parameters: Mapping[str, oip.InferParameter]) -> dict[str, Any]:
    """Read the fields of an ExplainRequest that parameters set. Raises InvalidInput with everything that is wrong."""
    violations: list[FieldViolation] = []
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        try:
            fields |= _read(name, parameter)
        except ValueError as error:
            violations.append(FieldViolation(field=f"parameters[{name}]", description=str(error)))
    if violations:
        raise InvalidInput(*violations)
    return fields


def timeout_seconds(parameters: Mapping[str, oip.InferParameter]) -> float | None:
    """Read how long the request may take; None without a limit. Raises InvalidInput."""
    if TIMEOUT not in parameters:
        return None
    try:
        microseconds = _integer(parameters[TIMEOUT], 2**63)
    except ValueError as error:
        raise InvalidInput.of(f"parameters[{TIMEOUT}]", str(error)) from error
    return microseconds * MICROSECONDS if microseconds else None


def _read(name: str, parameter: oip.InferParameter) -> dict[str, Any]:
    """Read one parameter. Raises ValueError, whose text is the description of a violation."""
    if name in NOT_OFFERED and _value(parameter):
        message = "sequences are not offered here"
        raise ValueError(message)
    if not name.startswith(OURS):
        return {}
    reader = READERS.get(name.removeprefix(OURS))
    if reader is None:
        message = f"unknown; there are {', '.join(OURS + each for each in sorted(READERS))}"
        raise ValueError(message)
    return reader(parameter)


def _target(parameter: oip.InferParameter) -> dict[str, Any]:
    if parameter.WhichOneof("parameter_choice") == "string_param":
        return {"target": common_pb2.Target(label=parameter.string_param)}
    return {"target": common_pb2.Target(class_index=_integer(parameter, 2**31))}


def _maps(parameter: oip.InferParameter) -> dict[str, Any]:
    names = _text(parameter).split(",")
    return {"maps": [_member(name, explanation_pb2.MapKind, "MAP_KIND_") for name in names]}


READERS: dict[str, Callable[[oip.InferParameter], dict[str, Any]]] = {
    "map": _maps,
    "primary": lambda given: {"primary_map": _member(_text(given), explanation_pb2.MapKind, "MAP_KIND_")},
    "policy": lambda given: {"policy": _text(given)},
    "seed": lambda given: {"seed": _integer(given, 2**64)},
    "max_rows": lambda given: {"max_rows": _integer(given, 2**32)},
    "check_level": lambda given: {"check_level": _member(_text(given), explanation_pb2.CheckLevel, "CHECK_LEVEL_")},
    "target": _target,
}


def _member(name: str, enum: _EnumTypeWrapper[V], prefix: str) -> V:
    """Find an enum's member by its name without prefix, in any case."""
    names = [key.removeprefix(prefix).lower() for key, number in enum.items() if number]
    wanted = name.strip().lower()
    if wanted not in names:
        message = f"must be one of {', '.join(names)}"
        raise ValueError(message)
    return enum.Value(prefix + wanted.upper())


def _value(parameter: oip.InferParameter) -> object:
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None


def _text(parameter: oip.InferParameter) -> str:
    value = _value(parameter)
    if not isinstance(value, str):
        message = "must be a string"
        raise ValueError(message)  # noqa: TRY004 - a wrong value of a message, not a wrong argument
    return value


def _integer(parameter: oip.InferParameter, end: int) -> int:
    value = _value(parameter)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        message = f"must be an integer from 0 to {end - 1}"
        raise ValueError(message)
    return value
