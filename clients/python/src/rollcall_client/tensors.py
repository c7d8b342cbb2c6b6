"""The model's own attention as it came over the wire, readable with and without numpy.

Axes: L layer, H head, Q query, K key. Values are little-endian and row-major; UINT8 stores round(255 * value).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rollcall_client.enums import DataType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RANK = 4
_BYTE_SCALE = 255.0
# Storage: struct code, numpy's name, bytes per value.
_STORAGE = {
    DataType.FLOAT32: ("f", "<f4", 4),
    DataType.FLOAT16: ("e", "<f2", 2),
    DataType.UINT8: ("B", "u1", 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTensor:
    """Attention weights [L, H, Q, K] over tokens; each row over K sums to 1, up to storage precision.

    `layers` and `heads` number the first two axes; `heads` is empty, and the axis has length 1, if heads were reduced.
    The query axis has length 1 if only the read-out was asked for. `readout` is the token that the classifier reads.
    Single heads are never checked: no flag speaks for them.

    Raises:
        ValueError: shape, storage and number of bytes do not fit together.
    """

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    readout: int
    shape: tuple[int, ...]
    data_type: DataType
    data: bytes

    def __post_init__(self) -> None:
        """Refuse a tensor that could not be read."""
        if self.data_type not in _STORAGE:
            message = f"attention is stored as {self.data_type.name}, which this client does not know"
            raise ValueError(message)
        if len(self.shape) != _RANK or min(self.shape) < 1:
            message = f"attention must have four axes of at least one value, not shape {self.shape}"
            raise ValueError(message)
        if len(self.data) != math.prod(self.shape) * _STORAGE[self.data_type][2]:
            message = f"attention of shape {self.shape} cannot have {len(self.data)} bytes of {self.data_type.name}"
            raise ValueError(message)
        if len(self.layers) != self.shape[0] or len(self.heads or (0,)) != self.shape[1]:
            message = f"attention of shape {self.shape} cannot have layers {self.layers} and heads {self.heads}"
            raise ValueError(message)
        if not 0 <= self.readout < self.shape[3]:
            message = f"the read-out position {self.readout} is none of {self.shape[3]} tokens"
            raise ValueError(message)

    def row(self, layer_axis: int, head_axis: int, query_axis: int) -> tuple[float, ...]:
        """The weights [K] of one query. Arguments count along the axes, not by layer number.

        Raises:
            IndexError: a position outside its axis.
        """
        _, heads, queries, keys = self.shape
        for position, length in zip((layer_axis, head_axis, query_axis), self.shape[:3], strict=True):
            if not 0 <= position < length:
                message = f"position {(layer_axis, head_axis, query_axis)} is outside of shape {self.shape}"
                raise IndexError(message)
        code, _, size = _STORAGE[self.data_type]
        start = ((layer_axis * heads + head_axis) * queries + query_axis) * keys
        values = struct.unpack_from(f"<{keys}{code}", memoryview(self.data), start * size)
        return tuple(value / _BYTE_SCALE for value in values) if self.data_type is DataType.UINT8 else values

    def readout_row(self, layer_axis: int, head_axis: int) -> tuple[float, ...]:
        """The weights [K] of the query that the classifier reads.

        Raises:
            IndexError: a position outside its axis.
        """
        return self.row(layer_axis, head_axis, self.readout if self.shape[2] > 1 else 0)

    def numpy(self) -> NDArray[np.floating[Any]]:
        """The weights as an array [L, H, Q, K]: float32, or float16 if stored so. Read-only unless made from UINT8.

        Raises:
            ModuleNotFoundError: numpy is not installed.
        """
        try:
            import numpy as np  # noqa: PLC0415 - optional: only this method needs it
        except ModuleNotFoundError as error:
            message = "AttentionTensor.numpy() needs numpy: install rollcall-client[numpy]"
            raise ModuleNotFoundError(message, name="numpy") from error
        stored = np.frombuffer(self.data, dtype=_STORAGE[self.data_type][1]).reshape(self.shape)
        return stored.astype(np.float32) / np.float32(_BYTE_SCALE) if self.data_type is DataType.UINT8 else stored
