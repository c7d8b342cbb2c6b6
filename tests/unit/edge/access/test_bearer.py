"""Tokens of an issuer are believed only where every part of them is right."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from rollcall.domain.errors import CapacityError, NotAuthenticated
from rollcall.domain.identity import Identity, Role
from rollcall.edge.access.bearer import TokenVerifier
from rollcall.edge.access.keys import MAX_BYTES, RETRY_SECONDS, STALE_SECONDS, Keys, RemoteKeys, parse_keys, pick
from tests.unit.edge.access.tokens import AUDIENCE, ISSUER, Issuer, encoded

ISSUED_BY = Issuer()


class Fixed:
    """Keys that are there."""

    def __init__(self, content: bytes) -> None:
        self.keys: Keys = parse_keys(content)

    async def find(self, key_id: str | None) -> Any:  # noqa: ANN401 - a key of the library
        """Find one."""
        return pick(self.keys, key_id)


def verifier(content: bytes | None = None, **claims: str) -> TokenVerifier:
    """Make a verifier of the issuer's tokens."""
    named: dict[str, str] = {"roles_claim": "roles", "tenant_claim": "tenant"} | claims
    return TokenVerifier(Fixed(content or ISSUED_BY.keys()), issuer=ISSUER, audience=AUDIENCE, **named)


async def test_a_good_token_is_an_identity() -> None:
    """Subject, tenant and those roles that are ours."""
    token = ISSUED_BY.token(tenant="reviews", roles=["caller", "auditor", "offline_access"])
    roles = frozenset({Role.CALLER, Role.AUDITOR})
    assert await verifier().identify(token) == Identity(name="reviews-backend", tenant="reviews", roles=roles)


@pytest.mark.parametrize(
    ("claims", "sees"),
    [
        ({"tenants": ["reviews", "fraud"]}, {"reviews", "fraud"}),
        ({"tenants": "reviews fraud"}, {"reviews", "fraud"}),
        ({"tenants": []}, set()),
        ({"tenants": 7}, {"own"}),
        ({}, {"own"}),
    ],
)
async def test_a_claim_says_whose_records_somebody_sees(claims: dict[str, Any], sees: set[str]) -> None:
    """Those that it lists; without it one's own tenant's, and those of all only where no claim is asked for."""
    token = ISSUED_BY.token(tenant="own", **claims)
    assert (await verifier(sees_claim="tenants").identify(token)).sees == frozenset(sees)
    assert (await verifier().identify(token)).sees is None


async def test_claims_may_stand_elsewhere() -> None:
    """Issuers put roles into objects, into texts, and under names with dots."""
    nested = await verifier(roles_claim="realm_access.roles").identify(
        ISSUED_BY.token(realm_access={"roles": ["admin"]})
    )
    assert nested.roles == {Role.ADMIN}
    scopes = await verifier(roles_claim="scope").identify(ISSUED_BY.token(scope="openid auditor reviewer"))
    assert scopes.roles == {Role.AUDITOR, Role.REVIEWER}
    named: dict[str, Any] = {"https://a.example/roles": ["metrics"]}
    dotted = await verifier(roles_claim="https://a.example/roles").identify(ISSUED_BY.token(**named))
    assert dotted.roles == {Role.METRICS}


@pytest.mark.parametrize("roles", [None, [], "", 7, {"caller": True}, [["caller"]]])
async def test_who_has_no_roles_may_nothing(roles: object) -> None:
    """What is no list of roles gives none; without a tenant the subject is one."""
    identity = await verifier().identify(ISSUED_BY.token(roles=roles))
    assert identity == Identity(name="reviews-backend", tenant="reviews-backend", roles=frozenset())


def unsigned() -> str:
    """Make a token that says itself that it need not be signed (RFC 8725, 3.2)."""
    return ISSUED_BY.token({"alg": "none"}).rpartition(".")[0] + "."


def signed_with_the_public_key() -> str:
    """Make a token with the public key as an HMAC secret, the confusion of RFC 8725, 2.1."""
    parts = ISSUED_BY.token({"alg": "HS256"}).rpartition(".")[0]
    secret = base64.urlsafe_b64decode(ISSUED_BY.public["x"] + "=")
    return f"{parts}.{encoded(hmac.digest(secret, parts.encode(), 'sha256'))}"


NOW = int(time.time())
WRONG = {
    "expired": ISSUED_BY.token(exp=NOW - 60),
    "for ever": ISSUED_BY.token(exp=None),
    "not yet": ISSUED_BY.token(nbf=NOW + 86_400, exp=NOW + 172_800),
    "of another issuer": ISSUED_BY.token(iss="https://evil.example"),
    "of no issuer": ISSUED_BY.token(iss=None),
    "for others": ISSUED_BY.token(aud="another service"),
    "for nobody": ISSUED_BY.token(aud=None),
    "of nobody": ISSUED_BY.token(sub=None),
    "of a number": ISSUED_BY.token(sub=7),
    "of an odd subject": ISSUED_BY.token(sub="a\nb"),
    "of an odd tenant": ISSUED_BY.token(tenant=["a"]),
    "by another key of this name": Issuer().token(),
    "by a key nobody knows": Issuer(key_id="other").token(),
    "unsigned": unsigned(),
    "signed with what is public": signed_with_the_public_key(),
    "by another algorithm than its key's": ISSUED_BY.token({"alg": "RS256"}),
    "cut": ISSUED_BY.token()[:-9],
    "changed": ISSUED_BY.token().replace(".", ".e", 1),
    "no token": "reviews",
    "dots": "..",
    "a deep header": f"{encoded(b'[' * 9000)}.e30.AA",
    "a header that is a list": f"{encoded(b'[]')}.e30.AA",
    "critical extensions": ISSUED_BY.token({"crit": ["b64"], "b64": False}),
}


@pytest.mark.parametrize("token", WRONG.values(), ids=WRONG)
async def test_everything_else_is_refused(token: str) -> None:
    """Whatever is wrong, the caller is nobody, and the message quotes nothing."""
    with pytest.raises(NotAuthenticated) as raised:
        await verifier().identify(token)
    assert not any(part in str(raised.value) for part in token.split(".") if len(part) > 8)


async def test_a_token_without_a_key_id_fits_the_only_key() -> None:
    """Some issuers have one key and no name for it; of two it would be a guess."""
    token = ISSUED_BY.token({"kid": None})
    assert (await verifier().identify(token)).name == "reviews-backend"
    with pytest.raises(NotAuthenticated):
        await verifier(ISSUED_BY.keys(Issuer(key_id="second"))).identify(token)


def test_only_public_keys_for_signatures_count() -> None:
    """A secret in the set, or a key for encryption, verifies nothing."""
    secret = {"kty": "oct", "k": encoded(b"x" * 64), "kid": "secret"}
    encrypting = Issuer(key_id="enc").public | {"use": "enc"}
    keys = parse_keys(json.dumps({"keys": [secret, encrypting, ISSUED_BY.public, {"kty": "XX"}]}).encode())
    assert [key.key_id for key in keys] == ["first"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
def test_a_file_without_keys_is_refused(content: bytes) -> None:
    """A server does not start with keys that verify nothing."""
    with pytest.raises(ValueError, match=r"^(is no set of JSON Web Keys|has no public key for signatures)$"):
        parse_keys(content)


async def test_a_short_key_is_refused() -> None:
    """RSA keys below 2,048 bits can be broken (NIST SP 800-131A)."""
    numbers = generate_private_key(65537, 1024).public_key().public_numbers()  # noqa: S505 - on purpose
    key = {"kty": "RSA", "kid": "first", "e": "AQAB", "n": encoded(numbers.n.to_bytes(128, "big"))}
    with pytest.raises(NotAuthenticated):
        await verifier(json.dumps({"keys": [key]}).encode()).identify(ISSUED_BY.token({"alg": "RS256"}))


# --- keys at an address --------------------------------------------------------------------------------------------


class Address:
    """An address that answers with what it is given, on a clock that a test moves."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = ISSUED_BY.keys()
        self.asked = 0
        self.now = 1000.0
        self.source = RemoteKeys("https://issuer.example/keys", self.get, lambda: self.now)

    async def get(self, url: str) -> bytes:
        """Answer, or fail."""
        assert url == "https://issuer.example/keys"
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def knows(self, key_id: str) -> bool:
        """Whether a key is found."""
        return await self.source.find(key_id) is not None


async def test_keys_are_fetched_once_for_all() -> None:
    """A hundred callers at once make one request to the issuer."""
    address = Address()
    assert all(await asyncio.gather(*(address.knows("first") for _ in range(100))))
    assert address.asked == 1


async def test_a_new_key_is_found_at_once() -> None:
    """When the issuer changes its key, tokens by the new one are good; guessed ids do not become requests."""
    address = Address()
    assert await address.knows("first")
    address.answer = ISSUED_BY.keys(Issuer(key_id="second"))
    address.now += RETRY_SECONDS
    assert await address.knows("second")
    assert not any([await address.knows(f"guess {number}") for number in range(50)])
    assert address.asked == 2


async def test_a_withdrawn_key_is_forgotten() -> None:
    """A key that the issuer has withdrawn is good for some minutes at most."""
    address = Address()
    assert await address.knows("first")
    address.answer = Issuer(key_id="second").keys()
    address.now += 301
    assert await address.knows("first")  # the old ones serve while the new ones are fetched
    await asyncio.sleep(0.01)
    assert not await address.knows("first")


@pytest.mark.parametrize("failure", [OSError("down"), TimeoutError(), b"<html>", ValueError("too large")])
async def test_an_issuer_that_is_down_does_not_stop_callers(failure: Any) -> None:  # noqa: ANN401 - bytes or an error
    """The last keys serve for a day; without any, callers hear that it is not their fault."""
    address = Address()
    assert await address.knows("first")
    address.answer = failure
    address.now += STALE_SECONDS
    assert await address.knows("first")
    address.now += 1 + RETRY_SECONDS
    with pytest.raises(CapacityError):
        await address.knows("first")
    address.answer = ISSUED_BY.keys()
    address.now += RETRY_SECONDS
    assert await address.knows("first")


async def test_keys_come_over_http() -> None:
    """From a real server: keys are read; a redirect, an error, too much, and nobody there are failures."""
    answers: dict[str, web.Response] = {
        "/keys": web.Response(body=ISSUED_BY.keys()),
        "/elsewhere": web.Response(status=302, headers={"Location": "/keys"}),
        "/broken": web.Response(status=500),
        "/huge": web.Response(body=b" " * (MAX_BYTES + 1) + ISSUED_BY.keys()),
    }

    async def answer(request: web.Request) -> web.Response:
        return answers[request.path]

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        key = await RemoteKeys(f"{address}/keys").find("first")
        assert key is not None
        for path in answers.keys() - {"/keys"}:
            with pytest.raises(CapacityError):
                await RemoteKeys(address + path).find("first")
    finally:
        await runner.cleanup()
    with pytest.raises(CapacityError):
        await RemoteKeys(f"{address}/keys").find("first")
