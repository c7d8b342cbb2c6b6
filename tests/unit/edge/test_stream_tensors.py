"""Attention behind the header of an ExplainStream: in checked chunks, as fast as they are read, gone with the call."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import pytest

from rollcall.domain.maps import AttentionTensor, TensorType
from rollcall.edge.converters.attention import CHUNK_BYTES, parts
from rollcall.v1 import common_pb2, explanation_pb2
from tests.unit.edge.fakes import LIMITS, Door, FakeHouse, failure_of, open_door

if TYPE_CHECKING:
    from rollcall.domain.explanation import ExplainRequest, Explanation

PATIENCE = 20.0
WINDOW_CHUNKS = 64
"""More chunks than gRPC and the kernel take before anybody reads (9 to 33 were seen): far fewer than a tensor has."""
REQUEST = explanation_pb2.ExplainRequest(
    text=common_pb2.TextInput(text="a good film"),
    attention=explanation_pb2.AttentionSelection(queries=explanation_pb2.QUERY_SELECTION_ALL),
)


def pattern(size: int) -> Any:  # noqa: ANN401 - an array
    """Make bytes that differ from chunk to chunk."""
    return np.resize(np.arange(251, dtype=np.uint8), size)


def tensor(values: Any) -> AttentionTensor:  # noqa: ANN401 - anything with a buffer stands for bytes here
    """Make attention of bytes, one layer and one head."""
    return AttentionTensor(
        layers=(3,), heads=(1,), readout=0, tensor_type=TensorType.UINT8, shape=(1, 1, 1, len(values)), data=values
    )


class TensorHouse(FakeHouse):
    """Answers with so many bytes of attention, and keeps nothing of them but whether they are still there."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.made: list[weakref.ref[Any]] = []

    async def explain(self, request: ExplainRequest, tell: Any = None) -> Explanation:  # noqa: ANN401
        """Answer with the sample and a fresh tensor."""
        answer = await super().explain(request, tell)
        if request.attention is None:
            return answer
        values = pattern(self.size)
        self.made.append(weakref.ref(values))
        return replace(answer, attention=tensor(values))

    def alive(self) -> int:
        """Count tensors that somebody holds."""
        gc.collect()
        return sum(ref() is not None for ref in self.made)


async def eventually(check: Any) -> None:  # noqa: ANN401 - a condition
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not check():  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.01)


def sent(door: Door) -> float:
    """Read how many messages of streams have been sent."""
    labels = {"grpc_service": "rollcall.v1.ExplanationService", "grpc_method": "ExplainStream"}
    return door.sample("grpc_server_msg_sent_total", grpc_type="server_stream", **labels)


async def opened(door: Door) -> Any:  # noqa: ANN401 - an aio call
    """Begin a stream and read its header."""
    call: Any = door.stub.ExplainStream(REQUEST)
    message = await asyncio.wait_for(call.read(), PATIENCE)
    assert message.WhichOneof("content") == "header"
    return call


async def test_the_header_comes_first_and_the_tensor_whole() -> None:
    """The answer with its flags, then what follows, then chunks without gaps whose checksums are right."""
    size = 3 * CHUNK_BYTES + 77
    async with open_door(TensorHouse(size)) as door:
        header, described, *chunks = [message async for message in door.stub.ExplainStream(REQUEST)]
        assert door.house.asked[0].max_attention_bytes == LIMITS.max_attention_bytes  # type: ignore[attr-defined]
    assert header.header.verdict.flag != explanation_pb2.FLAG_UNSPECIFIED
    assert {a.verdict.flag for a in header.header.attributions} & {explanation_pb2.FLAG_UNSPECIFIED} == set()
    assert not header.header.HasField("attention")
    assert (list(described.attention.layers), list(described.attention.heads)) == ([3], [1])
    assert (list(described.attention.tensor.shape), described.attention.tensor.data) == ([1, 1, 1, size], b"")
    assert [chunk.chunk.offset for chunk in chunks] == [i * CHUNK_BYTES for i in range(4)]
    assert all(google_crc32c.value(chunk.chunk.data) == chunk.chunk.crc32c for chunk in chunks)
    data = b"".join(chunk.chunk.data for chunk in chunks)
    assert np.array_equal(np.frombuffer(data, np.uint8), pattern(size))


@pytest.mark.parametrize(
    ("data", "crc"), [(bytes(32), 0x8A9136AA), (bytes([255] * 32), 0x62A8AB43), (bytes(range(32)), 0x46DD794E)]
)
def test_checksums_are_those_of_rfc_3720(data: bytes, crc: int) -> None:
    """The vectors of RFC 3720, appendix B.4."""
    _, message = parts(tensor(data))
    assert message.chunk.crc32c == crc


async def test_a_reader_that_stops_holds_up_nothing_but_itself() -> None:
    """Without reading no more chunks are made than the transport takes; others are answered; then all come."""
    house = TensorHouse(4 * WINDOW_CHUNKS * CHUNK_BYTES)
    async with open_door(house) as door:
        call = await opened(door)
        before = -1.0
        while sent(door) != before:
            before = sent(door)
            await asyncio.sleep(0.3)
        assert before < WINDOW_CHUNKS
        bare = explanation_pb2.ExplainRequest(text=REQUEST.text)
        other: Any = door.stub.ExplainStream(bare)
        assert [message.WhichOneof("content") async for message in other] == ["header"]
        received = 0
        while message := await call.read():
            received += len(message.chunk.data)
        assert received == house.size


async def test_tensors_of_slow_readers_are_few() -> None:
    """One stream more than may hold attention is refused at once, with a hint; streams without attention are not."""
    async with open_door(TensorHouse(2 * WINDOW_CHUNKS * CHUNK_BYTES)) as door:
        calls = [await opened(door) for _ in range(LIMITS.max_attention_streams)]
        failure = await failure_of(door.stub.ExplainStream(REQUEST).read())
        assert failure.code == "UNAVAILABLE"
        bare = explanation_pb2.ExplainRequest(text=REQUEST.text)
        other: Any = door.stub.ExplainStream(bare)
        assert (await other.read()).WhichOneof("content") == "header"
        for call in calls:
            call.cancel()
        await eventually(lambda: door.handled("ExplainStream", "Canceled") >= len(calls))
        (await opened(door)).cancel()


async def test_leaving_in_the_middle_frees_everything() -> None:
    """Whoever cancels while chunks wait takes the tensor along."""
    house = TensorHouse(4 * WINDOW_CHUNKS * CHUNK_BYTES)
    async with open_door(house) as door:
        call = await opened(door)
        assert house.alive() == 1
        call.cancel()
        await eventually(lambda: house.alive() == 0)
        await eventually(lambda: door.handled("ExplainStream", "Canceled") == 1)
        assert door.sample("rollcall_requests_in_flight", method="ExplainStream") == 0


async def test_a_finished_stream_keeps_nothing() -> None:
    """A tensor that has been read is let go."""
    house = TensorHouse(4 * CHUNK_BYTES)
    async with open_door(house) as door:
        assert len([message async for message in door.stub.ExplainStream(REQUEST)]) == 6
        await eventually(lambda: house.alive() == 0)
