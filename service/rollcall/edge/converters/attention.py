"""Attention tensors, whole in a reply or in chunks of a stream, to protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import google_crc32c

from rollcall.domain.errors import InvalidInput
from rollcall.domain.maps import MAX_ATTENTION_BYTES
from rollcall.edge.converters import enums
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollcall.domain.maps import AttentionTensor

CHUNK_BYTES = 512 * 1024
"""Large enough to cost little, small enough that little waits for a slow reader."""


def whole(attention: AttentionTensor) -> explanation_pb2.AttentionTensor:
    """Write a tensor into a reply. Raises InvalidInput if it would make the reply larger than clients accept."""
    if len(attention.data) > MAX_ATTENTION_BYTES:
        raise InvalidInput.of(
            "attention",
            f"asks for {len(attention.data)} bytes, at most {MAX_ATTENTION_BYTES} fit into a reply: "
            "select fewer layers or heads, QUERY_SELECTION_READOUT, or DATA_TYPE_FLOAT16",
        )
    return _described(attention, attention.data)


def parts(attention: AttentionTensor) -> Iterator[explanation_service_pb2.ExplainStreamResponse]:
    """Write a tensor as messages of a stream: its description, then its bytes; each made when it is asked for."""
    yield explanation_service_pb2.ExplainStreamResponse(attention=_described(attention, b""))
    view = memoryview(attention.data)
    for offset in range(0, len(view), CHUNK_BYTES):
        data = bytes(view[offset : offset + CHUNK_BYTES])
        yield explanation_service_pb2.ExplainStreamResponse(
            chunk=explanation_service_pb2.TensorChunk(offset=offset, data=data, crc32c=google_crc32c.value(data))
        )


def _described(attention: AttentionTensor, data: bytes) -> explanation_pb2.AttentionTensor:
    return explanation_pb2.AttentionTensor(
        layers=attention.layers,
        heads=attention.heads,
        tensor=common_pb2.Tensor(data_type=enums.TENSOR_TYPES[attention.tensor_type], shape=attention.shape, data=data),
        readout=attention.readout,
    )
