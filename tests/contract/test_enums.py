"""Our enums and the wire's match, and zero on the wire never means anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rollcall.domain.verdicts import Reason
from rollcall.edge.converters import enums
from rollcall.v1 import common_pb2, explanation_pb2, model_pb2

if TYPE_CHECKING:
    from enum import Enum

    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

TABLES: list[tuple[Any, Any]] = [
    (enums.TASKS, model_pb2.Task),
    (enums.TENSOR_TYPES, common_pb2.DataType),
    (enums.MAP_KINDS, explanation_pb2.MapKind),
    (enums.FLAGS, explanation_pb2.Flag),
    (enums.REASONS, explanation_pb2.Reason),
    (enums.CHECK_LEVELS, explanation_pb2.CheckLevel),
    (enums.CHECK_KINDS, explanation_pb2.CheckKind),
    (enums.CHECK_OUTCOMES, explanation_pb2.CheckOutcome),
    (enums.OPERATORS, explanation_pb2.RemovalOperator),
    (enums.SCOPES, explanation_pb2.Scope),
    (enums.HEAD_REDUCTIONS, explanation_pb2.HeadReduction),
]


@pytest.mark.parametrize(("table", "wire"), TABLES)
def test_every_value_has_its_number(table: dict[Enum, int], wire: EnumTypeWrapper) -> None:
    """Each member has its own number, each number its member, and only "no reason" is zero."""
    assert len(set(table.values())) == len(table) == len(type(next(iter(table))))
    assert {number for member, number in table.items() if member is not Reason.NONE} == set(wire.values()) - {0}


@pytest.mark.parametrize("wire", [wire for _, wire in TABLES] + [explanation_pb2.QuerySelection])
def test_zero_means_not_set(wire: EnumTypeWrapper) -> None:
    """A field that nobody set cannot be read as an answer."""
    assert wire.Name(0).endswith("_UNSPECIFIED")
