"""The service as it stands in production: mTLS, tokens, quotas; asked by the real client and command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from rollcall.demo.server import ServerProcess, server_process
from rollcall.edge.access.callers import token_digest
from rollcall_client import AccessDenied, Client, QuotaExceeded, Unavailable
from tests.certificates import Authority

TOKENS = {name: f"token-of-{name}" for name in ("reviews", "auditing", "busy", "hungry")}
CALLERS = f"""
[reviews]
roles = "caller"
token_sha256 = "{token_digest(TOKENS["reviews"])}"
certificate = "spiffe://prod/reviews"
[auditing]
roles = "auditor"
token_sha256 = "{token_digest(TOKENS["auditing"])}"
[busy]
roles = "caller"
token_sha256 = "{token_digest(TOKENS["busy"])}"
[hungry]
roles = "caller"
token_sha256 = "{token_digest(TOKENS["hungry"])}"
"""
QUOTAS = """
[busy]
requests_per_second = 0.01
[hungry]
rows_per_second = 0.1
"""


@dataclass(frozen=True, kw_only=True)
class Secured:
    """A server with mTLS and callers, and the files of a client of it."""

    server: ServerProcess
    files: dict[str, Path]
    strange: dict[str, Path]
    """The same with a certificate that is nobody's."""

    def client(self, **options: Any) -> Client:  # noqa: ANN401 - options of the client
        """Connect."""
        return Client(self.server.target, timeout=120, retries=0, **options)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Serve the demo model behind mTLS."""
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority()
    certificate, key = authority.server().write(directory, "server")
    ca = authority.write(directory / "ca.pem")
    (directory / "callers.toml").write_text(CALLERS)
    (directory / "quotas.toml").write_text(QUOTAS)
    environment = {
        "ROLLCALL_TLS_CERTIFICATE": certificate,
        "ROLLCALL_TLS_KEY": key,
        "ROLLCALL_TLS_CLIENT_CA": ca,
        "ROLLCALL_AUTH_CALLERS": directory / "callers.toml",
        "ROLLCALL_QUOTA_TENANTS": directory / "quotas.toml",
    }

    def files(name: str, uri: str) -> dict[str, Path]:
        cert, own = authority.client(x509.UniformResourceIdentifier(uri)).write(directory, name)
        return {"ca": ca, "cert": cert, "key": own}

    with server_process("--demo", environment={name: str(path) for name, path in environment.items()}) as server:
        yield Secured(
            server=server,
            files=files("reviews", "spiffe://prod/reviews"),
            strange=files("strange", "spiffe://prod/strange"),
        )


def test_the_command_explains_over_mtls(secured: Secured) -> None:
    """Whoever has a certificate that is known gets a verdict."""
    options = [part for name, file in secured.files.items() for part in (f"--{name}", str(file))]
    command = [str(Path(sys.executable).parent / "rollcall"), "explain", "A wonderful film.", "--target"]
    done = subprocess.run(
        [*command, secured.server.target, *options], check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    assert "FAITHFUL" in done.stdout or "INCONCLUSIVE" in done.stdout


def test_a_token_says_who_asks(secured: Secured) -> None:
    """With a certificate that is nobody's, a token opens the door, by its role."""
    with secured.client(**secured.strange, token=TOKENS["reviews"]) as client:
        assert client.predict("A wonderful film.").prediction.predicted == "positive"
    with secured.client(**secured.strange, token=TOKENS["auditing"]) as client:
        assert [model.ref.name for model in client.models()] == ["demo"]
        with pytest.raises(AccessDenied, match="needs the role caller"):
            client.explain("A wonderful film.")


def test_others_get_nothing(secured: Secured) -> None:
    """Neither without a certificate, nor with one that nobody knows, nor with a token that nobody has."""
    with secured.client(ca=secured.files["ca"]) as client, pytest.raises(Unavailable):
        client.predict("A wonderful film.")
    with secured.client(**secured.strange) as client, pytest.raises(AccessDenied, match="nobody's here"):
        client.predict("A wonderful film.")
    with secured.client(**secured.files, token="guess") as client, pytest.raises(AccessDenied):  # noqa: S106
        client.predict("A wonderful film.")


@pytest.mark.parametrize(
    ("tenant", "limit"), [("busy", "at most 0.01 requests per second"), ("hungry", "at most 0.1 rows per second")]
)
def test_a_tenant_over_its_quota_is_told_when_to_come_back(secured: Secured, tenant: str, limit: str) -> None:
    """The first explanation passes; the second is refused with the limit and the time, and other tenants are not."""
    with secured.client(**secured.strange, token=TOKENS[tenant]) as client:
        client.explain("A wonderful film.")
        with pytest.raises(QuotaExceeded) as refused:
            client.explain("A wonderful film.")
        assert refused.value.violations == ((f"tenant:{tenant}", limit),)
        assert refused.value.retry_after is not None
        assert 10 < refused.value.retry_after <= 2000
    with secured.client(**secured.strange, token=TOKENS["reviews"]) as client:
        client.explain("A wonderful film.")


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"ROLLCALL_GRPC_HOST": "0.0.0.0"}, "ROLLCALL_GRPC_HOST: expected a loopback address"),  # noqa: S104
        ({"ROLLCALL_AUTH_CALLERS": __file__}, "is not valid TOML"),
    ],
)
def test_a_server_that_would_be_open_does_not_start(environment: dict[str, str], problem: str) -> None:
    """It says why, and ends."""
    with (
        pytest.raises((RuntimeError), match="did not become ready") as raised,
        server_process("--demo", environment=environment),
    ):
        pass
    assert problem in str(raised.value)
