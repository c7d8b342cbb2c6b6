"""Attention read with and without numpy."""

from __future__ import annotations

import struct
import sys
from dataclasses import replace

import numpy as np
import pytest

from rollcall_client import AttentionTensor, DataType

ROWS = ((0.5, 0.25, 0.25), (0.0, 1.0, 0.0))


def tensor(data_type: DataType, code: str, scale: float = 1.0) -> AttentionTensor:
    """Two heads of layer 5 that look from the last of three tokens."""
    values = [value * scale for row in ROWS for value in row]
    data = struct.pack(f"<6{code}", *(round(value) if code == "B" else value for value in values))
    return AttentionTensor(layers=(5,), heads=(0, 1), readout=2, shape=(1, 2, 1, 3), data_type=data_type, data=data)


STORED = pytest.mark.parametrize(
    ("attention", "tolerance"),
    [
        (tensor(DataType.FLOAT32, "f"), 1e-7),
        (tensor(DataType.FLOAT16, "e"), 1e-3),
        (tensor(DataType.UINT8, "B", 255), 1 / 255),
    ],
    ids=["float32", "float16", "uint8"],
)


@STORED
def test_rows_are_read_without_numpy(attention: AttentionTensor, tolerance: float) -> None:
    """Every storage gives the weights back, as exactly as it can."""
    assert attention.row(0, 0, 0) == pytest.approx(ROWS[0], abs=tolerance)
    assert attention.readout_row(0, 1) == pytest.approx(ROWS[1], abs=tolerance)


@STORED
def test_numpy_gives_the_same(attention: AttentionTensor, tolerance: float) -> None:
    """The array has the stored shape and the same weights."""
    assert attention.numpy() == pytest.approx(np.array(ROWS).reshape(1, 2, 1, 3), abs=tolerance)


def test_all_queries_are_told_apart() -> None:
    """With all queries, the read-out row is the read-out's."""
    values = [1, 0, 0, 1]
    attention = AttentionTensor(
        layers=(0,),
        heads=(),
        readout=1,
        shape=(1, 1, 2, 2),
        data_type=DataType.FLOAT32,
        data=struct.pack("<4f", *values),
    )
    assert (attention.row(0, 0, 0), attention.readout_row(0, 0)) == ((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize("position", [(1, 0, 0), (0, 2, 0), (0, 0, 1), (-1, 0, 0)])
def test_a_position_outside_is_an_error(position: tuple[int, int, int]) -> None:
    """No row is ever taken from a neighbour."""
    with pytest.raises(IndexError, match="outside of shape"):
        tensor(DataType.FLOAT32, "f").row(*position)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": b""}, "cannot have 0 bytes"),
        ({"shape": (2, 3)}, "four axes"),
        ({"shape": (1, 2, 0, 3)}, "at least one value"),
        ({"layers": ()}, "cannot have layers"),
        ({"heads": (0,)}, "cannot have layers"),
        ({"readout": 3}, "none of 3 tokens"),
        ({"data_type": DataType(9)}, "UNKNOWN_9"),
    ],
)
def test_a_tensor_that_cannot_be_read_is_refused(change: dict[str, object], says: str) -> None:
    """Shape, storage and bytes must fit together."""
    with pytest.raises(ValueError, match=says):
        replace(tensor(DataType.FLOAT32, "f"), **change)  # type: ignore[arg-type]  # any field


def test_numpy_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without numpy the error says what to install."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r"install rollcall-client\[numpy\]"):
        tensor(DataType.FLOAT32, "f").numpy()
