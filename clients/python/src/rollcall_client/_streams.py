"""One answer out of the messages of a stream: the explanation, and attention that came in chunks put together.

Every chunk is checked: its place, its length, and its CRC-32C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import google_crc32c

from rollcall_client import _answers

if TYPE_CHECKING:
    from rollcall_client._v1 import explanation_pb2, explanation_service_pb2
    from rollcall_client.explanation import Explanation

_LARGEST_VALUE_BYTES = 4  # of FLOAT32


@dataclass(slots=True, kw_only=True)
class Streamed:
    """What has come so far."""

    header: explanation_pb2.ExplainResponse | None = None
    attention: explanation_pb2.AttentionTensor | None = None
    chunks: list[bytes] = field(default_factory=list)
    received: int = 0

    def take(self, message: explanation_service_pb2.ExplainStreamResponse) -> None:
        """Take the next message; what this client does not know is passed over.

        Raises:
            ValueError: a chunk is damaged, or is not the next one.
        """
        match message.WhichOneof("content"):
            case "header":
                self.header = message.header
            case "attention":
                self.attention = message.attention
            case "chunk":
                self._append(message.chunk)

    def explanation(self) -> Explanation:
        """The whole answer, when the stream has ended.

        Raises:
            ValueError: something is missing, or the answer contradicts itself.
        """
        if self.header is None:
            message = "the service's stream ended without an answer"
            raise ValueError(message)
        explanation = _answers.explanation(self.header)
        if self.attention is None:
            return explanation
        return replace(explanation, attention=_answers.attention(self.attention, b"".join(self.chunks)))

    def _append(self, chunk: explanation_service_pb2.TensorChunk) -> None:
        if self.attention is None or chunk.offset != self.received:
            message = f"the service's stream has a chunk for byte {chunk.offset}, not for byte {self.received}"
            raise ValueError(message)
        if google_crc32c.value(chunk.data) != chunk.crc32c:
            message = f"a chunk of attention was damaged on the way: its checksum at byte {chunk.offset} is wrong"
            raise ValueError(message)
        self.received += len(chunk.data)
        if self.received > _LARGEST_VALUE_BYTES * math.prod(self.attention.tensor.shape):
            message = "the service's stream brings more attention than it announced"
            raise ValueError(message)
        self.chunks.append(chunk.data)
