"""What auditors ask at length is done by few threads of its own, and keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import aio
from sqlalchemy import event

from rollcall.audit.database import FILE
from rollcall.edge.audit_desk import MOST_AT_LENGTH, THREADS
from rollcall.settings import AuthSettings, GrpcSettings
from rollcall.v1 import audit_service_pb2, audit_service_pb2_grpc
from tests.unit.audit import samples
from tests.unit.audit.archives import open_archive
from tests.unit.audit.test_replaying import House, replayer
from tests.unit.edge.fakes import FakeHouse, open_door
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollcall.audit.archive import Archive

AUTH = AuthSettings(dangerously_trust_anyone=True)
SECONDS = 30.0


class Slow:
    """A database that answers its first readers when it is let."""

    def __init__(self, archive: Archive, *, first: int) -> None:
        self._first = first
        self._lock = threading.Lock()
        self.asked = 0
        self.let = threading.Event()
        event.listen(archive.store.opened, "checkout", self._checked_out)

    async def all_wait(self) -> None:
        """Return when all of them wait."""
        await asyncio.to_thread(wait_until, lambda: self.asked >= self._first)

    def _checked_out(self, *_: object) -> None:
        with self._lock:
            self.asked += 1
            late = self.asked > self._first
        if not late:
            self.let.wait(SECONDS)


@contextmanager
def slow_archive(directory: Path, *, first: int) -> Iterator[tuple[Archive, Slow]]:
    """Keep a record in a log whose database is slow."""
    with open_archive(directory / FILE, samples.accepted(0)) as archive:
        slow = Slow(archive, first=first)
        try:
            yield archive, slow
        finally:
            slow.let.set()


def door_to(archive: Archive) -> Any:  # noqa: ANN401 - an asynchronous context manager
    """Open the log to everybody."""
    return open_door(FakeHouse(), GrpcSettings(port=0, drain_seconds=0.2), AUTH, replayer=replayer(archive, House()))


async def refused(call: Any) -> str:  # noqa: ANN401 - a call of grpc.aio
    """Make a call that finds no place; return what it is told."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return str(caught.value.details())


async def verified(call: Any) -> bool:  # noqa: ANN401 - the same
    """Whether a call found a place."""
    try:
        await call
    except aio.AioRpcError:
        return False
    return True


async def test_few_calls_read_all_of_the_log_at_a_time(tmp_path: Path) -> None:
    """Further ones are refused, also when callers have left whose work goes on; then there is place again."""
    with slow_archive(tmp_path, first=MOST_AT_LENGTH) as (archive, slow):
        async with door_to(archive) as door:
            stub: Any = audit_service_pb2_grpc.AuditServiceStub(door.channel)
            export = audit_service_pb2.ExportRecordsRequest(record_ids=["e-0"], reason="why")
            verify = audit_service_pb2.VerifyLogRequest()
            calls = [stub.ExportRecords(export) for _ in range(MOST_AT_LENGTH)]
            waiting = [asyncio.ensure_future(call.read()) for call in calls]
            await slow.all_wait()
            told = f"{MOST_AT_LENGTH} verifications and exports are under way already"
            assert told in await refused(stub.VerifyLog(verify))
            assert told in await refused(stub.ExportRecords(export).read())
            for call in calls:
                call.cancel()
            await asyncio.wait(waiting)
            assert told in await refused(stub.VerifyLog(verify))
            assert len((await stub.SearchRecords(audit_service_pb2.SearchRecordsRequest())).records) == 1
            slow.let.set()
            for _ in range(1_000):
                if await verified(stub.VerifyLog(verify)):
                    break
                await asyncio.sleep(0.03)
            else:
                pytest.fail("there is no place again")


async def test_auditors_take_no_thread_that_anything_else_waits_for(tmp_path: Path) -> None:
    """With every thread of the desk taken, what the process does beside its event loop goes on."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with slow_archive(tmp_path, first=THREADS) as (archive, slow):
        async with door_to(archive) as door:
            stub: Any = audit_service_pb2_grpc.AuditServiceStub(door.channel)
            calls = [
                asyncio.ensure_future(stub.SearchRecords(audit_service_pb2.SearchRecordsRequest()))
                for _ in range(THREADS)
            ]
            await slow.all_wait()
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), SECONDS / 2) == "done"
            slow.let.set()
            assert [len(found.records) for found in await asyncio.gather(*calls)] == [1] * THREADS
