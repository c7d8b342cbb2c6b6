"""Whoever watches the log from elsewhere sees every entry, in its order, as it comes, and can go on where it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import aio

from rollcall.audit.database import FILE
from rollcall.audit.records import read_record
from rollcall.settings import AuthSettings, GrpcSettings
from rollcall.v1 import audit_service_pb2, audit_service_pb2_grpc
from tests.unit.audit import samples
from tests.unit.audit.archives import open_archive
from tests.unit.audit.test_replaying import House, replayer
from tests.unit.edge.fakes import FakeHouse, open_door

if TYPE_CHECKING:
    from rollcall.audit.archive import Archive
    from tests.unit.edge.fakes import Door

AUTH = AuthSettings(dangerously_trust_anyone=True)


def follow(door: Door, start: int = 0, *, following: bool = True) -> Any:  # noqa: ANN401 - a call of grpc.aio
    """Read the log."""
    stub: Any = audit_service_pb2_grpc.AuditServiceStub(door.channel)
    return stub.StreamRecords(audit_service_pb2.StreamRecordsRequest(from_log_index=start, follow=following))


def door_to(archive: Archive) -> Any:  # noqa: ANN401 - an asynchronous context manager
    """Open the log to everybody."""
    return open_door(FakeHouse(), GrpcSettings(port=0, drain_seconds=30.0), AUTH, replayer=replayer(archive, House()))


async def test_the_log_is_read_in_its_order_with_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Envelopes and events as they were logged; nothing sealed; from any index on, and to the end if not followed."""
    monkeypatch.setattr("rollcall.audit.following.BATCH", 2)
    record = samples.accepted(0, subject_ref=samples.SUBJECT)
    with open_archive(tmp_path / FILE, record, samples.accepted(1)) as archive:
        read_record(archive, "e-0", ["input"], "complaint of Xanthippe", "auditor")
        async with door_to(archive) as door:
            found = [message async for message in follow(door, following=False)]
            assert [message.log_index for message in found] == [0, 1, 2, 3]
            assert [json.loads(message.entry)["type"] for message in found] == [
                "genesis", "explanation", "explanation", "access",
            ]  # fmt: skip
            assert (found[0].envelope, found[0].event) == ("", "")
            assert found[1].envelope.encode() == record.envelope
            assert json.loads(found[3].event)["actor"] == "auditor"
            assert not any("Xanthippe" in str(message) for message in found)
            assert [message.log_index async for message in follow(door, 3, following=False)] == [3]
            assert [message async for message in follow(door, 4, following=False)] == []
            with pytest.raises(aio.AioRpcError, match="from_log_index: must not be negative"):
                await follow(door, -1).read()


async def test_what_comes_is_told_until_the_server_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower waits for the next entry, and does not hold up a server that stops: its stream ends in good order."""
    monkeypatch.setattr("rollcall.edge.audit_following.LOOK_SECONDS", 0.01)
    with open_archive(tmp_path / FILE) as archive:
        async with door_to(archive) as door:
            call = follow(door, 1)
            waiting = asyncio.create_task(anext(aiter(call)))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            archive.store.append([samples.accepted(0)])
            assert (await waiting).log_index == 1
            await asyncio.wait_for(door.server.drain(lambda: None), 10)
            assert [message async for message in call] == []
            assert await call.code() is grpc.StatusCode.OK


async def test_few_follow_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is told to come back, and takes the place of one that has gone."""
    monkeypatch.setattr("rollcall.edge.audit_following.MOST_FOLLOWERS", 1)
    with open_archive(tmp_path / FILE) as archive:
        async with door_to(archive) as door:
            first = follow(door)
            assert (await first.read()).log_index == 0
            with pytest.raises(aio.AioRpcError) as refused:
                await follow(door).read()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            first.cancel()
            for _ in range(100):
                try:
                    assert (await follow(door).read()).log_index == 0
                    break
                except aio.AioRpcError:
                    await asyncio.sleep(0.05)
            else:
                pytest.fail("the place was never free again")
