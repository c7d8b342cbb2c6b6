"""The enums say what the wire says, and survive what it does not say yet."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from rollcall_client import enums
from rollcall_client._v1 import audit_service_pb2, common_pb2, explanation_pb2, model_pb2
from rollcall_client.enums import Flag, MapKind, WireEnum

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

KINDS = [kind for kind in vars(enums).values() if isinstance(kind, type) and issubclass(kind, WireEnum)]
KINDS.remove(WireEnum)
MODULES = (audit_service_pb2, common_pb2, explanation_pb2, model_pb2)


def _wire(name: str) -> EnumTypeWrapper:
    module = next(module for module in MODULES if hasattr(module, name))
    wrapper: EnumTypeWrapper = getattr(module, name)
    return wrapper


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_mirrors_the_wire(kind: type[WireEnum]) -> None:
    """Each member has the name and the number of the wire, and none is missing."""
    wire = dict(_wire(kind.__name__).items())
    prefix = next(name for name, number in wire.items() if number == 0).removesuffix("UNSPECIFIED")
    assert {f"{prefix}{member.name}": member.value for member in kind} == wire


def test_every_enum_of_the_wire_is_here() -> None:
    """A new enum on the wire gets one here."""
    assert {name for module in MODULES for name in module.DESCRIPTOR.enum_types_by_name} == {
        kind.__name__ for kind in KINDS
    }


def test_an_unknown_number_is_kept() -> None:
    """A flag from a newer service is nobody's flag: not FAITHFUL, not lost, and the same each time."""
    unknown = Flag(77)
    assert (unknown.name, unknown.value, unknown.words) == ("UNKNOWN_77", 77, "unknown 77")
    assert unknown is Flag(77)
    assert unknown not in list(Flag)
    assert isinstance(MapKind(77), MapKind)
    assert pickle.loads(pickle.dumps(unknown)) is unknown  # noqa: S301 - its own bytes


def test_what_is_no_number_is_refused() -> None:
    """Only numbers can be unknown."""
    with pytest.raises(ValueError, match="'FAITHFUL' is not a valid Flag"):
        Flag("FAITHFUL")
