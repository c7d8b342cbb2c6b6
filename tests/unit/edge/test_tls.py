"""TLS and mTLS with the real client: who is trusted, who is known, and certificates that change while calls come in."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from rollcall.domain.errors import FileRejected
from rollcall.domain.identity import ANYONE, Identity, Role
from rollcall.edge.access.callers import token_digest
from rollcall.edge.tls import server_credentials
from rollcall.settings import AuthSettings, TlsSettings
from rollcall_client import AccessDenied, Client, Unavailable
from tests.certificates import DAY, Authority
from tests.unit.edge.fakes import Door, FakeHouse, open_door

URI = x509.UniformResourceIdentifier
CALLERS = f"""
[reviews]
roles = "caller"
certificate = "spiffe://prod/reviews"
[auditing]
roles = "auditor"
certificate = "auditing.example"
token_sha256 = "{token_digest("auditing-token")}"
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A directory with an authority and what it has signed."""

    directory: Path
    authority: Authority
    server: TlsSettings
    ca: Path

    @property
    def mutual(self) -> TlsSettings:
        """The server's settings where clients need certificates."""
        return TlsSettings(certificate=self.server.certificate, key=self.server.key, client_ca=self.ca)

    @property
    def callers(self) -> AuthSettings:
        """Known callers."""
        file = self.directory / "callers.toml"
        file.write_text(CALLERS)
        return AuthSettings(callers=file)

    def client(self, *names: x509.GeneralName, authority: Authority | None = None) -> dict[str, Any]:
        """Options of a client with a certificate for these names."""
        cert, key = (authority or self.authority).client(*names).write(self.directory, "client")
        return {"ca": self.ca, "cert": cert, "key": key}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give a server its certificate."""
    authority = Authority()
    certificate, key = authority.server().write(tmp_path, "server")
    return Site(
        directory=tmp_path,
        authority=authority,
        server=TlsSettings(certificate=certificate, key=key),
        ca=authority.write(tmp_path / "ca.pem"),
    )


async def ask(door: Door, **options: Any) -> object:  # noqa: ANN401 - options of the client
    """Explain through a new connection of the real client."""

    def call() -> object:
        with Client(f"127.0.0.1:{door.port}", retries=0, timeout=20, **options) as client:
            return client.explain("a good film")

    return await asyncio.to_thread(call)


# --- who is trusted ------------------------------------------------------------------------------------------------


async def test_a_client_that_trusts_the_authority_is_answered(site: Site) -> None:
    """With the authority's certificate the connection is encrypted and calls go through."""
    async with open_door(FakeHouse(), tls=site.server) as door:
        await ask(door, ca=site.ca)
        assert door.house.asked[0].caller == ANYONE


async def test_neither_plain_text_nor_another_authority_gets_through(site: Site) -> None:
    """A client without TLS is not answered, and one that trusts somebody else does not speak."""
    other = Authority().write(site.directory / "other.pem")
    async with open_door(FakeHouse(), tls=site.server) as door:
        for options in ({}, {"ca": other}):
            with pytest.raises(Unavailable):
                await ask(door, **options)
        assert door.house.asked == []


async def test_with_a_client_authority_nobody_connects_without_a_certificate(site: Site) -> None:
    """Without a certificate, or with one that another authority of the same name signed, there is no connection."""
    async with open_door(FakeHouse(), auth=site.callers, tls=site.mutual) as door:
        forged = site.client(URI("spiffe://prod/reviews"), authority=Authority())
        for options in ({"ca": site.ca}, {"ca": site.ca, "token": "auditing-token"}, forged):
            with pytest.raises(Unavailable):
                await ask(door, **options)
        assert door.house.asked == []


# --- who is known --------------------------------------------------------------------------------------------------


async def test_a_certificate_is_an_identity(site: Site) -> None:
    """The name in the certificate says who asks, and with what role."""
    async with open_door(FakeHouse(), auth=site.callers, tls=site.mutual) as door:
        await ask(door, **site.client(x509.DNSName("other.example"), URI("spiffe://prod/reviews")))
        assert door.house.asked[0].caller == Identity(name="reviews", tenant="reviews", roles=frozenset({Role.CALLER}))
        with pytest.raises(AccessDenied, match="needs the role caller"):
            await ask(door, **site.client(x509.DNSName("auditing.example")))


@pytest.mark.parametrize(
    "names",
    [
        (),
        (x509.DNSName("stranger.example"),),
        (x509.DNSName("spiffe://prod/reviews"),),
        (URI("auditing.example"),),
        (URI("spiffe://prod/reviews/more"),),
        (x509.RFC822Name("auditing@auditing.example"),),
    ],
)
async def test_other_certificates_are_nobodys(site: Site, names: tuple[x509.GeneralName, ...]) -> None:
    """A name of another kind, or one that only begins alike, is not taken for a caller's."""
    async with open_door(FakeHouse(), auth=site.callers, tls=site.mutual) as door:
        with pytest.raises(AccessDenied, match="UNAUTHENTICATED"):
            await ask(door, **site.client(*names))


async def test_a_token_counts_beside_a_certificate(site: Site) -> None:
    """Whoever brings both is who the token says; a wrong one is not overlooked."""
    certified = site.client(URI("spiffe://prod/reviews"))
    async with open_door(FakeHouse(), auth=site.callers, tls=site.mutual) as door:
        with pytest.raises(AccessDenied, match="PERMISSION_DENIED"):
            await ask(door, **certified, token="auditing-token")  # noqa: S106 - a test's
        with pytest.raises(AccessDenied, match="UNAUTHENTICATED"):
            await ask(door, **certified, token="another")  # noqa: S106 - a test's


# --- certificates that change --------------------------------------------------------------------------------------


def seen(door: Door, ca: Path) -> int:
    """Connect as any TLS client; return the serial number of the server's certificate."""
    pem = ssl.get_server_certificate(("127.0.0.1", door.port), ca_certs=str(ca))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def test_certificates_change_under_load_without_a_failed_call(site: Site) -> None:
    """Callers that stay connected and such that come anew are answered while the certificate is replaced ten times."""
    stop = asyncio.Event()
    answered = list[object]()

    def stay(door: Door, until: Callable[[], bool]) -> None:
        with Client(f"127.0.0.1:{door.port}", ca=site.ca, retries=0, timeout=20) as client:
            while not until():
                answered.append(client.explain("a good film"))

    async def come_and_go(door: Door) -> None:
        while not stop.is_set():
            answered.append(await ask(door, ca=site.ca))

    async with open_door(FakeHouse(), tls=site.server) as door:
        callers = [
            asyncio.create_task(asyncio.to_thread(stay, door, stop.is_set)),
            *(asyncio.create_task(come_and_go(door)) for _ in range(2)),
        ]
        for _ in range(10):
            pair, before = site.authority.server(), len(answered)
            pair.write(site.directory, "server")
            while len(answered) < before + 20:
                await asyncio.sleep(0.01)
                assert not any(caller.done() for caller in callers)
            assert await asyncio.to_thread(seen, door, site.ca) == pair.serial
        stop.set()
        await asyncio.gather(*callers)
    assert len(answered) >= 200


async def test_another_client_authority_takes_over(site: Site) -> None:
    """When clients' authority is replaced, its certificates are good from then on, and those of the old one are not."""
    old, new = site.client(URI("spiffe://prod/reviews")), Authority(name="new")
    trusted = site.directory / "clients.pem"
    trusted.write_bytes(site.ca.read_bytes())
    tls = TlsSettings(certificate=site.server.certificate, key=site.server.key, client_ca=trusted)
    async with open_door(FakeHouse(), auth=site.callers, tls=tls) as door:
        await ask(door, **old)
        new.write(trusted)
        with pytest.raises(Unavailable):
            await ask(door, **old)
        await ask(door, **site.client(URI("spiffe://prod/reviews"), authority=new))
        assert len(door.house.asked) == 2


async def test_half_a_change_waits_for_the_other_half(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A new certificate beside the old key changes nothing; when the key follows both are used."""
    assert site.server.certificate is not None
    assert site.server.key is not None
    pair = site.authority.server()
    async with open_door(FakeHouse(), tls=site.server) as door:
        before = await asyncio.to_thread(seen, door, site.ca)
        with caplog.at_level(logging.INFO):
            site.server.certificate.write_bytes(pair.certificate)
            assert await asyncio.to_thread(seen, door, site.ca) == before
            await ask(door, ca=site.ca)
            assert "file_rejected" in [record.message for record in caplog.records]
            site.server.key.write_bytes(pair.key)
            assert await asyncio.to_thread(seen, door, site.ca) == pair.serial


def test_how_long_a_certificate_is_valid_is_told(site: Site) -> None:
    """Who watches is told of the certificate that is shown, also when another one takes its place."""
    told: list[Callable[[], tuple[float, float]]] = []
    server_credentials(site.server, told.append)
    (validity,) = told
    before, after = validity()
    assert after - before == pytest.approx(2 * DAY.total_seconds())
    assert before < time.time() < after
    site.authority.server(days=90).write(site.directory, "server")
    assert validity()[1] == pytest.approx(time.time() + 90 * DAY.total_seconds(), abs=60)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("certificate", b"no certificate", "the certificate is no PEM certificate"),
        ("key", b"secret material", "the key is no PEM private key without a password"),
        ("key", Authority().server().key, "the key does not belong to the certificate"),
        ("client_ca", b"", "client_ca holds no PEM certificates"),
    ],
)
def test_a_server_does_not_start_with_files_that_do_not_fit(
    site: Site, name: str, content: bytes, problem: str
) -> None:
    """An operator learns which file is wrong, and no key is quoted."""
    file: Path = getattr(site.mutual, name)
    file.write_bytes(content)
    with pytest.raises(FileRejected, match=problem) as raised:
        server_credentials(site.mutual)
    assert "secret material" not in str(raised.value)
