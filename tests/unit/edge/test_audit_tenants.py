"""Every call of AuditService, by those who see one tenant's records, or all: others' records are not there.

The calls come from the service's descriptor, so a new one is asked, too; what each role may call is `access`'s matrix.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import aio

from rollcall.audit.database import FILE
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import ReviewAction
from rollcall.domain.identity import Role
from rollcall.edge.access.callers import parse_callers, token_digest
from rollcall.settings import AuthSettings, GrpcSettings
from rollcall.v1 import audit_service_pb2, audit_service_pb2_grpc
from tests.unit.audit import samples
from tests.unit.audit.archives import ANNA, check, open_archive
from tests.unit.audit.test_replaying import House, replayer
from tests.unit.audit.test_tenants import OUR_RECORD, OURS, THEIR_RECORD
from tests.unit.edge.fakes import FakeHouse, open_door
from tests.unit.edge.samples import MODEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.message import Message

    from rollcall.audit.archive import Archive
    from tests.unit.edge.fakes import Door

SERVICE = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
METHODS = {method.name: method for method in SERVICE.methods}
WHOLE = {"VerifyLog", "ApplyRetention"}
"""About all records, or none."""
OPEN = {"GetCheckpoint"}
"""Tells nothing of any record but how many entries there are."""


@asynccontextmanager
async def door(tmp_path: Path) -> AsyncIterator[tuple[Door, Archive]]:
    """Keep a record of each tenant, both in review; know two people with every role, who see ours, and all."""
    roles = ", ".join(f'"{role.value}"' for role in Role)
    people = (
        f'[{who}]\nroles = [{roles}]\n{sees}token_sha256 = "{token_digest(who)}"\n'
        for who, sees in (("one", f'sees = ["{OURS}"]\n'), ("all", ""))
    )
    (tmp_path / "callers.toml").write_text("".join(people))
    auth = AuthSettings(callers=tmp_path / "callers.toml")
    with open_archive(tmp_path / FILE, OUR_RECORD, THEIR_RECORD) as archive:
        for name in ("e-0", "e-1"):
            act(archive, name, Doing(action=ReviewAction.OPEN, actor=ANNA, rationale="so"), four_eyes=True)
        archive.sign()
        settings = GrpcSettings(port=0, drain_seconds=0.2)
        async with open_door(FakeHouse(), settings, auth, replayer=replayer(archive, House())) as opened:
            yield opened, archive


def asked(method: str, record_id: str) -> Message:
    """Ask a method of a record as well as it can be asked."""
    told: dict[str, Any] = {
        "record_id": record_id, "record_ids": [record_id], "reason": "why", "rationale": "why", "matter": "case 1",
        "subject_ref": samples.SUBJECT, "ground": 1, "disposition": 1, "parts": ["input"], "model": MODEL,
    }  # fmt: skip
    kind: Any = getattr(audit_service_pb2, METHODS[method].input_type.name)
    message: Message = kind(**{name: value for name, value in told.items() if name in kind.DESCRIPTOR.fields_by_name})
    return message


async def ask(opened: Door, who: str, name: str, record_id: str) -> tuple[grpc.StatusCode, str]:
    """Call a method as somebody; return how that ended, and everything that was told."""
    stub: Any = audit_service_pb2_grpc.AuditServiceStub(opened.channel)
    call = getattr(stub, name)(asked(name, record_id), metadata=(("authorization", f"Bearer {who}"),), timeout=30)
    try:
        replies = [reply async for reply in call] if hasattr(call, "__aiter__") else [await call]
    except aio.AioRpcError as error:
        return error.code(), str(error.details())
    return grpc.StatusCode.OK, "".join(map(str, replies))


@pytest.mark.parametrize("name", METHODS)
async def test_what_one_may_not_see_is_not_there(tmp_path: Path, name: str) -> None:
    """Another tenant's record is as one that never was: NOT_FOUND, or in no list; one's own is there."""
    async with door(tmp_path) as (opened, archive):
        code, told = await ask(opened, "one", name, THEIR_RECORD.record_id)
        missing = await ask(opened, "one", name, "0" * 36)
        takes_record = {"record_id", "record_ids"} & set(asked(name, "").DESCRIPTOR.fields_by_name)
        if name in WHOLE:
            assert code is grpc.StatusCode.PERMISSION_DENIED
        elif name in OPEN or not takes_record:
            assert code is grpc.StatusCode.OK
        elif name == "ListEvents":
            assert (code, told) == (grpc.StatusCode.OK, "")
        else:
            assert (code, told) == missing
            assert code is grpc.StatusCode.NOT_FOUND
        assert THEIR_RECORD.record_id not in told
        assert check(archive).problems == []
        if name != "EraseSubject":  # which was about ours, and is done
            assert (await ask(opened, "one", name, OUR_RECORD.record_id))[0] is not grpc.StatusCode.NOT_FOUND
        code, _ = await ask(opened, "all", name, THEIR_RECORD.record_id)
        assert code not in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL}


async def test_nothing_of_others_is_in_a_list_or_stream(tmp_path: Path) -> None:
    """Search, events, reviews, statistics and the stream tell of one's own records alone, and proofs of others fail."""
    async with door(tmp_path) as (opened, _):
        for name in ("SearchRecords", "ListEvents", "ListReviews", "StreamRecords"):
            (_, ours), (_, everything) = await asyncio.gather(
                ask(opened, "one", name, ""), ask(opened, "all", name, "")
            )
            if name != "ListEvents":  # which is asked of a record here
                assert OUR_RECORD.record_id in ours
                assert THEIR_RECORD.record_id in everything
            assert THEIR_RECORD.record_id not in ours
        stub: Any = audit_service_pb2_grpc.AuditServiceStub(opened.channel)
        who = {"metadata": (("authorization", "Bearer one"),)}
        found = await stub.GetReviewStatistics(audit_service_pb2.GetReviewStatisticsRequest(), **who)
        assert sum(each.reviews for each in found.states) == 1
        events = await stub.ListEvents(audit_service_pb2.ListEventsRequest(), **who)
        assert [event.log_index for event in events.events] == [3]
        for index, code in ((0, False), (1, True), (2, False), (3, True), (4, False)):
            call = stub.GetProof(audit_service_pb2.GetProofRequest(log_index=index), **who)
            if code:
                assert (await call).proof
            else:
                with pytest.raises(aio.AioRpcError, match="no such record"):
                    await call


def test_whom_one_sees_is_in_the_file_of_callers() -> None:
    """All tenants where nothing is said, none for an empty list; what is no name is a mistake."""
    entry = f'roles = ["auditor"]\ntoken_sha256 = "{token_digest("t")}"\n'
    for sees, wanted in (("", None), ('sees = ["a", "b"]', {"a", "b"}), ("sees = []", set())):
        found = parse_callers(f"[x]\n{entry}{sees}\n".encode()).by_token("t")
        assert found is not None
        assert found.sees == wanted
    with pytest.raises(ValueError, match=r"x\.sees: expected names of tenants"):
        parse_callers(f'[x]\n{entry}sees = ["not a name"]\n'.encode())
