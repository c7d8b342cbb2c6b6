"""Signing in and out: by a token of the service, or by an issuer of OpenID Connect whose tokens the service takes.

Either way it is the service that says who somebody is: a token counts once it has answered GetCaller.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.starlette_client import OAuth, OAuthError
from authlib.oauth2.rfc6749.wrappers import OAuth2Token
from httpx2 import HTTPError
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from rollcall.console.options import Connect, OpenId
from rollcall.console.sessions import MOST_SECONDS
from rollcall.console.visiting import (
    BAD,
    SESSION,
    SIGN_IN,
    House,
    address,
    explained,
    is_own_form,
    local,
    page,
    problem_of,
    read_form,
    refuse_form,
)
from rollcall_client import AuditClient, Caller, errors

WITH_ISSUER, BACK = "/sign-in/issuer", "/sign-in/back"
THEN = "then"
NOT_OURS = "That was not sent by this page. Try again."
ISSUER_FAILED = "The issuer did not sign you in. Try again; if it happens again, ask whoever runs this console."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """The pages before anybody is signed in."""

    house: House
    connect: Connect
    oauth: OAuth = field(repr=False)

    async def show(self, request: Request) -> Response:
        """Ask who it is."""
        return self._asked(request, then=request.query_params.get(THEN, ""))

    async def by_token(self, request: Request) -> Response:
        """Sign in with a token of the service, or without one where the service asks nobody."""
        refusal = refuse_form(self.house, request)
        if refusal is not None:
            return refusal
        form = await read_form(request)
        then = form.get(THEN, "")
        if not is_own_form(request, form) or self.house.options.open_id is not None:
            return self._asked(request, then=then, problem=NOT_OURS, status=BAD)
        return await self._let_in(request, form.get("token", "").strip() or None, then)

    async def with_issuer(self, request: Request) -> Response:
        """Send somebody to the issuer."""
        request.session[THEN] = local(request.query_params.get(THEN, ""))
        back = f"{self.house.options.public_url.rstrip('/')}{BACK}"
        try:
            sent: Response = await self.oauth.issuer.authorize_redirect(request, back)
        except (OAuthError, HTTPError, JoseError, KeyError, ValueError):
            return self._asked(request, problem=ISSUER_FAILED, status=BAD)
        return sent

    async def back(self, request: Request) -> Response:
        """Take what the issuer says of somebody who comes back from it; its signature and nonce are verified."""
        try:
            given: OAuth2Token = await self.oauth.issuer.authorize_access_token(request)
        except (OAuthError, HTTPError, JoseError, KeyError, ValueError):
            return self._asked(request, problem=ISSUER_FAILED, status=BAD)
        token = given.get(self.house.options.open_id.sends) if self.house.options.open_id else None
        if not token:
            return self._asked(request, problem=ISSUER_FAILED, status=BAD)
        ends = given.get("expires_at")
        seconds = max(0.0, ends - time.time()) if ends else MOST_SECONDS
        return await self._let_in(request, token, request.session.pop(THEN, ""), seconds)

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        refusal = refuse_form(self.house, request)
        if refusal is not None:
            return refusal
        if is_own_form(request, await read_form(request)):
            self.house.sessions.end(request.session.get(SESSION, ""))
            request.session.clear()
        return RedirectResponse(SIGN_IN, status_code=303)

    async def _let_in(self, request: Request, token: str | None, then: str, seconds: float = MOST_SECONDS) -> Response:
        """Begin a session for whoever the service says that this is; under a new name, so that none can be planted."""
        try:
            client = self.connect(token)
            caller = await run_in_threadpool(_caller, client)
        except errors.RollcallError as error:
            status, _ = explained(error)
            return self._asked(request, then=then, problem=problem_of(error), status=status)
        self.house.sessions.end(request.session.get(SESSION, ""))
        request.session.clear()
        request.session[SESSION] = self.house.sessions.begin(caller, client, seconds)
        return RedirectResponse(local(then), status_code=303)

    def _asked(self, request: Request, *, then: str = "", **values: Any) -> Response:  # noqa: ANN401 - a template's
        way = address(WITH_ISSUER, then=then)
        return page(self.house, request, "sign_in.html", then=then, with_issuer=way, **values)


def _caller(client: AuditClient) -> Caller:
    """Ask who it is; a connection that nobody gets is closed."""
    try:
        return client.caller()
    except errors.RollcallError:
        client.close()
        raise
    except ValueError as error:
        client.close()
        raise errors.AccessDenied(str(error), code="UNAUTHENTICATED") from error


def registered(open_id: OpenId | None) -> OAuth:
    """Know the issuer, by its discovery document; the code flow with PKCE, state and nonce."""
    oauth = OAuth()
    if open_id is not None:
        oauth.register(
            "issuer",
            server_metadata_url=f"{open_id.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_id=open_id.client_id,
            client_secret=open_id.client_secret,
            client_kwargs={"scope": "openid profile", "code_challenge_method": "S256"},
        )
    return oauth
