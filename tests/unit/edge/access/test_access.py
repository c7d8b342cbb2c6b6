"""Over a real port: who is let in, what they are told who are not, and that no call is open by oversight."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from grpc import aio
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from rollcall.domain.errors import NotPermitted
from rollcall.domain.identity import ANYONE, ANYONE_AT_ALL, Identity, Role
from rollcall.edge.access import table
from rollcall.edge.access.callers import token_digest
from rollcall.edge.access.identity import current
from rollcall.settings import AuthSettings, GrpcSettings
from rollcall.v1 import audit_service_pb2, audit_service_pb2_grpc, common_pb2, explanation_pb2, explanation_service_pb2
from tests.unit.audit import samples as records
from tests.unit.audit.archives import open_archive
from tests.unit.audit.test_replaying import House, replayer
from tests.unit.edge.access.tokens import AUDIENCE, ISSUER, Issuer
from tests.unit.edge.fakes import Door, FakeHouse, failure_of, open_door
from tests.unit.edge.test_interceptors import captured_log

README = (Path(__file__).resolve().parents[4] / "README.md").read_text()
ROLES = [role.value for role in Role]
NOBODY, STRANGER = "nobody", "stranger"
"""Without a token, and with one that is not known."""
NEWER = "grpc.health.v1.Health/List"
"""A call that newer versions of a library add."""
EXPLAIN = explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text="a good film"))
LIST = explanation_service_pb2.ListModelsRequest()


@pytest.fixture
def auth(tmp_path: Path) -> AuthSettings:
    """Know a caller for each role, whose token is "token of ROLE", and the tokens of an issuer."""
    entries = (
        f'[{role}]\ntenant = "t-{role}"\nroles = "{role}"\ntoken_sha256 = "{token_digest(f"token of {role}")}"\n'
        for role in ROLES
    )
    (tmp_path / "callers.toml").write_text("".join(entries))
    return AuthSettings(callers=tmp_path / "callers.toml")


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Write a token as metadata."""
    return (("authorization", f"Bearer {token}"),)


def credentials(who: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a role, of nobody, or of a stranger."""
    return () if who == NOBODY else bearer(f"token of {who}")


# --- role by call --------------------------------------------------------------------------------------------------


def promised() -> dict[str, set[str]]:
    """Read from the README who may make which call."""
    everybody = {NOBODY, STRANGER, *ROLES}
    found = dict[str, set[str]]()
    for service, methods, who in re.findall(r"^\| `([\w.]+)`: ([\w, ]+) \| ([\w, ]+) \|$", README, flags=re.MULTILINE):
        allowed = everybody if who == "everybody" else set(ROLES) if who == "any role" else set(who.split(", "))
        assert allowed <= everybody
        found |= {f"{service}/{method}": allowed for method in methods.split(", ")}
    return found


async def methods(door: Door) -> dict[str, Any]:
    """List every method that the server has, by reflection, as descriptors."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(door.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    reply = await stub.ServerReflectionInfo(asked, metadata=credentials("caller")).read()
    pool = descriptor_pool.Default()
    services = [pool.FindServiceByName(service.name) for service in reply.list_services_response.service]
    return {f"{each.full_name}/{method.name}": method for each in services for method in each.methods}


async def code_of(channel: aio.Channel, method: Any, who: str) -> str:  # noqa: ANN401 - a descriptor
    """Make a call with an empty message; return the code of its first answer."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    shape = [("unary", "stream")[streaming] for streaming in (method.client_streaming, method.server_streaming)]
    make: Callable[..., Any] = getattr(channel, "_".join(shape))
    sent: Any = iter([b""]) if method.client_streaming else b""
    call = make(path)(sent, metadata=credentials(who), timeout=20)
    try:
        await (call.read() if method.server_streaming else call)
    except aio.AioRpcError as error:
        return str(error.code().name)
    if call.done():
        return str((await call.code()).name)
    call.cancel()
    return "OK"


async def test_every_role_at_every_call(auth: AuthSettings, tmp_path: Path) -> None:
    """The README's table is what the server does: all roles, nobody and strangers, at every call that there is."""
    settings = GrpcSettings(port=0, drain_seconds=0.2, reflection=True)
    with open_archive(tmp_path / "log.db") as archive:
        async with open_door(FakeHouse(), settings, auth, replayer=replayer(archive, House())) as door:
            found = await methods(door)
            assert found.keys() | {NEWER} == promised().keys() == table.TABLE.keys()
            for call, method in found.items():
                for who in (NOBODY, STRANGER, *ROLES):
                    code = await code_of(door.channel, method, who)
                    if who in promised()[call]:
                        assert code not in {"UNAUTHENTICATED", "PERMISSION_DENIED"}, (call, who)
                    else:
                        refused = "UNAUTHENTICATED" if who in {NOBODY, STRANGER} else "PERMISSION_DENIED"
                        assert code == refused, (call, who)


async def test_the_log_keeps_the_name_of_who_asked(auth: AuthSettings, tmp_path: Path) -> None:
    """What is done with a record is done by the identity that the credentials are of."""
    with open_archive(tmp_path / "log.db", records.accepted()) as archive:
        async with open_door(FakeHouse(), auth=auth, replayer=replayer(archive, House())) as door:
            stub: Any = audit_service_pb2_grpc.AuditServiceStub(door.channel)
            asked = audit_service_pb2.GetRecordRequest(record_id="e-0", parts=["input"], reason="a complaint")
            reply = await stub.GetRecord(asked, metadata=credentials("auditor"))
    assert json.loads(reply.events[0].body)["actor"] == "auditor"


@pytest.mark.parametrize("role", Role)
def test_a_call_that_nobody_thought_of_is_denied(role: Role) -> None:
    """Forgetting a row closes a door; it does not open one."""
    with pytest.raises(NotPermitted):
        table.check(Identity(name="a", tenant="a", roles=frozenset({role})), "rollcall.v1.ExplanationService/Forgotten")
    assert not table.is_open("rollcall.v1.ExplanationService/Forgotten")


async def test_a_method_without_a_row_is_denied_by_the_server(
    auth: AuthSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same over the wire, for the one who has every other right to it."""
    monkeypatch.delitem(table.TABLE, "rollcall.v1.ExplanationService/Explain")
    async with open_door(FakeHouse(), auth=auth) as door:
        failure = await failure_of(door.stub.Explain(EXPLAIN, metadata=credentials("caller")))
        assert (failure.code, door.house.asked) == ("PERMISSION_DENIED", [])


# --- who is known, and by what -------------------------------------------------------------------------------------


async def test_the_identity_reaches_the_house(auth: AuthSettings) -> None:
    """Fair shares, quotas and records go by who asks."""
    async with open_door(FakeHouse(), auth=auth) as door:
        await door.stub.Explain(EXPLAIN, metadata=credentials("caller"))
        (asked,) = door.house.asked
        assert asked.caller == Identity(name="caller", tenant="t-caller", roles=frozenset({Role.CALLER}))


async def test_calls_at_once_keep_their_identities(tmp_path: Path) -> None:
    """Two who ask at the same time are not taken for each other."""
    names = [f"caller-{number}" for number in range(20)]
    lines = (f'[{name}]\nroles = "caller"\ntoken_sha256 = "{token_digest(name)}"\n' for name in names)
    (tmp_path / "callers.toml").write_text("".join(lines))
    house = FakeHouse(hangs=True)
    async with open_door(house, auth=AuthSettings(callers=tmp_path / "callers.toml")) as door:
        calls = [
            door.stub.Explain(explanation_pb2.ExplainRequest(text=EXPLAIN.text, request_id=name), metadata=bearer(name))
            for name in names
        ]
        while len(house.asked) < len(names):
            await house.entered.wait()
            house.entered.clear()
        house.release.set()
        for call in calls:
            await call
    assert {asked.request_id: asked.caller.name for asked in house.asked} == {name: name for name in names}


async def test_an_issuers_token_opens_the_door_too(auth: AuthSettings, tmp_path: Path) -> None:
    """Static tokens and those of an issuer are known side by side."""
    issuer = Issuer()
    (tmp_path / "keys.json").write_bytes(issuer.keys())
    both = AuthSettings(
        callers=auth.callers, jwt_keys_file=tmp_path / "keys.json", jwt_issuer=ISSUER, jwt_audience=AUDIENCE
    )
    async with open_door(FakeHouse(), auth=both) as door:
        await door.stub.ListModels(LIST, metadata=credentials("metrics"))
        await door.stub.Explain(EXPLAIN, metadata=bearer(issuer.token(tenant="reviews")))
        assert door.house.asked[0].caller.tenant == "reviews"
        failure = await failure_of(door.stub.Explain(EXPLAIN, metadata=bearer(issuer.token(exp=1))))
        assert (failure.code, failure.message) == ("UNAUTHENTICATED", "the token has expired")


async def test_a_token_that_is_taken_away_is_refused_at_once(auth: AuthSettings) -> None:
    """An operator who changes the file need not restart the server."""
    assert auth.callers is not None
    async with open_door(FakeHouse(), auth=auth) as door:
        await door.stub.Explain(EXPLAIN, metadata=credentials("caller"))
        auth.callers.write_text(f'[new]\nroles = "caller"\ntoken_sha256 = "{token_digest("token of new")}"\n')
        assert (await failure_of(door.stub.Explain(EXPLAIN, metadata=credentials("caller")))).code == "UNAUTHENTICATED"
        await door.stub.Explain(EXPLAIN, metadata=credentials("new"))


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", "token of caller"),),
        (("authorization", "Basic dXNlcjpwYXNz"),),
        (("authorization", "Bearer "),),
        (("authorization", ""),),
        (*bearer("token of caller"), *bearer("token of caller")),
    ],
)
async def test_authorizations_of_other_forms_are_refused(auth: AuthSettings, metadata: Any) -> None:  # noqa: ANN401 - metadata
    """What is not one bearer token is none, and a bad one is not overlooked."""
    async with open_door(FakeHouse(), auth=auth) as door:
        failure = await failure_of(door.stub.Explain(EXPLAIN, metadata=metadata))
        assert (failure.code, failure.message) == (
            "UNAUTHENTICATED",
            "expected one authorization, of the form: Bearer TOKEN",
        )


async def test_without_authentication_anyone_is_a_caller() -> None:
    """On the loopback nobody has to say who they are, and tokens that come along do no harm."""
    async with open_door(FakeHouse()) as door:
        await door.stub.Explain(EXPLAIN, metadata=bearer("whatever"))
        assert door.house.asked[0].caller == ANYONE
    async with open_door(FakeHouse(), auth=AuthSettings(dangerously_trust_anyone=True)) as door:
        await door.stub.Explain(EXPLAIN)
        assert door.house.asked[0].caller == ANYONE_AT_ALL


def test_without_authentication_nobody_has_other_roles() -> None:
    """What is for auditors and administrators stays shut, and the message says what to set."""
    with pytest.raises(NotPermitted, match=r"needs the role admin, and this server asks nobody who they are"):
        table.check(ANYONE, "inference.GRPCInferenceService/RepositoryModelLoad")
    table.check(ANYONE_AT_ALL, "inference.GRPCInferenceService/RepositoryModelLoad")


def test_nobody_is_the_default() -> None:
    """Code that asks for the identity outside of a call finds none."""
    with pytest.raises(LookupError):
        current()


# --- how refusals leave --------------------------------------------------------------------------------------------


async def test_refusals_are_counted_and_logged_without_the_token(auth: AuthSettings) -> None:
    """An SRE sees who is turned away, by code; no token is in the log or in the error."""
    with captured_log() as lines:
        async with open_door(FakeHouse(), auth=auth) as door:
            metadata = (*bearer("hunter2-hunter2"), ("x-request-id", "mine"))
            strange = await failure_of(door.stub.Explain(EXPLAIN, metadata=metadata))
            denied = await failure_of(door.stub.Explain(EXPLAIN, metadata=credentials("auditor")))
            assert (strange.code, strange.request_id) == ("UNAUTHENTICATED", "mine")
            assert (denied.code, denied.message) == ("PERMISSION_DENIED", "this call needs the role caller")
            assert [door.handled("Explain", code) for code in ("Unauthenticated", "PermissionDenied")] == [1, 1]
            assert door.sample("rollcall_requests_in_flight", method="Explain") == 0
    refused = [line for line in lines if line["event"] == "refused"]
    assert [(line["code"], line["level"]) for line in refused] == [
        ("UNAUTHENTICATED", "info"),
        ("PERMISSION_DENIED", "info"),
    ]
    assert "hunter2" not in str(lines) + str(strange)
    assert "token of" not in str(lines)


async def test_a_bug_in_the_door_lets_nobody_in(auth: AuthSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not foreseen leaves as INTERNAL, without its text, and the call is not answered."""

    def broken(identity: Identity, call: str) -> None:
        raise KeyError(identity, call, "inner text")

    monkeypatch.setattr(table, "check", broken)
    with captured_log() as lines:
        async with open_door(FakeHouse(), auth=auth) as door:
            failure = await failure_of(door.stub.Explain(EXPLAIN, metadata=credentials("caller")))
            assert (failure.code, door.house.asked) == ("INTERNAL", [])
            assert "inner text" not in failure.message
    assert any(line["event"] == "refused" and line["level"] == "error" and line["trace"] for line in lines)


async def test_an_unknown_method_is_unknown(auth: AuthSettings) -> None:
    """What is not there is UNIMPLEMENTED, as the standard says, whoever asks."""
    async with open_door(FakeHouse(), auth=auth) as door:
        call: Any = door.channel.unary_unary("/a.B/C", bytes, bytes)
        assert (await failure_of(call(b""))).code == "UNIMPLEMENTED"
