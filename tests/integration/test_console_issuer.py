"""Signing in at the console with an issuer of OpenID Connect: a small one that runs here, and is strict."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from rollcall.console.app import console
from rollcall.console.commands import connecting
from rollcall.console.options import ConsoleOptions, OpenId
from rollcall.demo.server import ServerProcess, server_process
from tests.console import BASE
from tests.unit.edge.access.tokens import AUDIENCE, Issuer
from tests.waiting import wait_until

CLIENT, SECRET = "console", "a secret that both know"


@dataclass(kw_only=True)
class StrictIssuer:
    """Signs people in at once. It takes a code once, with the client's secret and the verifier of PKCE.

    `lies` are claims that its id tokens get wrong; `claims` are of its access tokens.
    """

    address: str = ""
    signer: Issuer = field(default_factory=Issuer)
    liar: Issuer | None = None
    lies: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    lasts: int = 3600
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def app(self) -> Starlette:
        """Its four pages."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/keys", self.keys),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
            ]
        )

    async def discovery(self, _: Request) -> Response:
        """Say where everything is."""
        return JSONResponse(
            {
                "issuer": self.address,
                "authorization_endpoint": f"{self.address}/authorize",
                "token_endpoint": f"{self.address}/token",
                "jwks_uri": f"{self.address}/keys",
                "id_token_signing_alg_values_supported": ["Ed25519"],
            }
        )

    async def keys(self, _: Request) -> Response:
        """Give the public keys."""
        return Response(self.signer.keys(), media_type="application/json")

    async def authorize(self, request: Request) -> Response:
        """Let whoever comes in, and send them back with a code."""
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def token(self, request: Request) -> Response:
        """Give tokens for a code."""
        form = {name: str(value) for name, value in (await request.form()).items()}
        asked = self.codes.pop(form["code"], None)
        known = base64.b64encode(f"{CLIENT}:{SECRET}".replace(" ", "%20").encode()).decode()
        plain = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
        if (
            asked is None
            or request.headers["authorization"] not in {f"Basic {known}", f"Basic {plain}"}
            or base64.urlsafe_b64encode(challenge).decode().rstrip("=") != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        person = {"iss": self.address, "sub": "grace", "roles": ["auditor"]}
        told = {"aud": CLIENT, "nonce": asked["nonce"], "iat": int(time.time())}
        return JSONResponse(
            {
                "token_type": "Bearer",
                "expires_in": self.lasts,
                "access_token": self.signer.token(**{**person, "aud": AUDIENCE, **self.claims}),
                "id_token": (self.liar or self.signer).token({"alg": "Ed25519"}, **{**person, **told, **self.lies}),
            }
        )


@pytest.fixture(scope="module")
def running() -> Iterator[StrictIssuer]:
    """Run the issuer in a thread."""
    issuer = StrictIssuer()
    server = uvicorn.Server(uvicorn.Config(issuer.app(), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    issuer.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield issuer
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def server(running: StrictIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve the demo model to whoever has a token of the issuer."""
    folder = tmp_path_factory.mktemp("issuer")
    (folder / "keys.json").write_bytes(running.signer.keys())
    settings = {
        "ROLLCALL_AUDIT_DIRECTORY": str(folder / "log"),
        "ROLLCALL_AUTH_JWT_KEYS_FILE": str(folder / "keys.json"),
        "ROLLCALL_AUTH_JWT_ISSUER": running.address,
        "ROLLCALL_AUTH_JWT_AUDIENCE": AUDIENCE,
    }
    with server_process("--demo", environment=settings) as process:
        yield process


@pytest.fixture
def issuer(running: StrictIssuer) -> StrictIssuer:
    """Have the issuer tell the truth again."""
    running.liar, running.lies, running.claims, running.lasts = None, {}, {}, 3600
    return running


@pytest.fixture
def browser(server: ServerProcess, issuer: StrictIssuer) -> TestClient:
    """Somebody in front of a console that knows the issuer."""
    known = OpenId(issuer=issuer.address, client_id=CLIENT, client_secret=SECRET)
    options = ConsoleOptions(target=server.target, public_url=BASE, open_id=known)
    return TestClient(console(options, connecting(server.target)), base_url=BASE)


def come_back(browser: TestClient, then: str = "") -> str:
    """Go to the issuer; return the address that it sends one back to."""
    sent = browser.get("/sign-in/issuer", params={"then": then}, follow_redirects=False)
    assert sent.status_code == 302
    return httpx2.get(sent.headers["location"]).headers["location"]


def test_the_issuers_word_and_the_services_sign_somebody_in(browser: TestClient) -> None:
    """By the name that the log will have for them, with the roles of their token; and where they wanted to be."""
    first = browser.get("/events?type=access")
    assert "Sign in with the issuer" in first.text
    assert 'type="password"' not in first.text
    page = browser.get(come_back(browser, "/events?type=access"))
    assert str(page.url) == f"{BASE}/events?type=access"
    assert "grace" in page.text
    assert "auditor" in page.text


def test_a_code_is_good_once_and_in_one_browser(browser: TestClient) -> None:
    """A link that somebody else began signs nobody in."""
    back = come_back(browser)
    assert browser.get(back).status_code == 200
    assert browser.get(back).status_code == 400
    stranger = TestClient(browser.app, base_url=BASE)
    assert stranger.get(come_back(browser)).status_code == 400
    asked = parse_qs(urlsplit(come_back(browser)).query)
    other = f"/sign-in/back?{urlencode({'code': asked['code'][0], 'state': 'another'})}"
    assert browser.get(other).status_code == 400


@pytest.mark.parametrize(
    "lies",
    [
        {"nonce": "another"},
        {"aud": "another client"},
        {"iss": "https://evil.example"},
        {"exp": int(time.time()) - 3600},
    ],
)
def test_a_token_that_is_not_for_this_visit_signs_nobody_in(
    browser: TestClient, issuer: StrictIssuer, lies: dict[str, Any]
) -> None:
    """Of another visit, for another client, of another issuer, of another time."""
    issuer.lies = lies
    refused = browser.get(come_back(browser))
    assert refused.status_code == 400
    assert "did not sign you in" in refused.text
    assert browser.get("/records", follow_redirects=False).status_code == 303


def test_a_token_that_somebody_else_signed_signs_nobody_in(browser: TestClient, issuer: StrictIssuer) -> None:
    """Under the issuer's own key id."""
    issuer.liar = Issuer()
    assert browser.get(come_back(browser)).status_code == 400


def test_the_service_has_the_last_word(browser: TestClient, issuer: StrictIssuer) -> None:
    """An access token for somebody else's service is refused by ours."""
    issuer.claims = {"aud": "another service"}
    refused = browser.get(come_back(browser))
    assert refused.status_code == 403
    assert "not valid" in refused.text


def test_a_session_ends_with_its_token(browser: TestClient, issuer: StrictIssuer) -> None:
    """Nobody stays longer than the issuer said."""
    issuer.lasts = 1
    browser.get(come_back(browser))
    wait_until(lambda: browser.get("/records", follow_redirects=False).status_code == 303)


def test_a_refusal_of_the_issuer_is_told(browser: TestClient) -> None:
    """And says nothing of the issuer's own words."""
    refused = browser.get("/sign-in/back?error=access_denied&error_description=<b>evil</b>")
    assert refused.status_code == 400
    assert "evil" not in refused.text
    assert browser.post("/sign-in", data={}).status_code in {400, 403}


def test_an_issuer_that_is_away_is_told(server: ServerProcess) -> None:
    """The page stays up."""
    known = OpenId(issuer="http://127.0.0.1:9", client_id=CLIENT, client_secret=SECRET)
    options = ConsoleOptions(target=server.target, public_url=BASE, open_id=known)
    away = TestClient(console(options, connecting(server.target)), base_url=BASE).get("/sign-in/issuer")
    assert away.status_code == 400
    assert "did not sign you in" in away.text


def test_claims_are_read_as_json(issuer: StrictIssuer) -> None:
    """What the issuer publishes is what its tokens are verified with."""
    assert json.loads(httpx2.get(f"{issuer.address}/keys").text)["keys"][0]["kid"] == issuer.signer.key_id
