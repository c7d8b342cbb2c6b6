"""The console as a whole: one table of pages, and what stands before all of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollcall.console.options import Connect, ConsoleOptions
from rollcall.console.pages import exporting, finding, governing, log, modelling, records, reviewing, trying
from rollcall.console.proving import Watch
from rollcall.console.sessions import MOST_SECONDS, Sessions
from rollcall.console.showing import HEADERS, STYLE, STYLE_PATH, environment
from rollcall.console.signing_in import BACK, WITH_ISSUER, Reception, registered
from rollcall.console.visiting import MISSING, SIGN_IN, House, Page, endpoint, page

SECRET_BYTES = 32
FAILED = 500
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1d5fae"/>'
    '<path d="M4 8.5l3 3 5-7" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)
ROUTES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/reviews", reviewing.queue),
    ("GET", "/records", finding.search),
    ("POST", "/records", finding.find_by_name),
    ("GET", "/records.csv", finding.table),
    ("GET", "/records/{record_id}", records.show),
    ("POST", "/records/{record_id}/open", records.open_parts),
    ("POST", "/records/{record_id}/replay", records.replay),
    ("POST", "/records/{record_id}/explain", records.explain),
    ("POST", "/records/{record_id}/review/{action}", records.review),
    ("GET", "/records/{record_id}/files/{kind}", records.give_file),
    ("POST", "/exports", exporting.export),
    ("GET", "/log", log.status),
    ("POST", "/log", log.verify),
    ("GET", "/events", log.events),
    ("GET", "/holds", governing.show),
    ("POST", "/holds/place", governing.place),
    ("POST", "/holds/release", governing.release),
    ("POST", "/holds/erase", governing.erase),
    ("POST", "/holds/retention", governing.retention),
    ("GET", "/models", modelling.index),
    ("GET", "/models/{name}", modelling.show),
    ("GET", "/try", trying.show),
    ("POST", "/try", trying.explain),
)
"""Every page for whoever is signed in."""


def console(options: ConsoleOptions, connect: Connect, *, clock: Callable[[], float] = time.monotonic) -> ASGIApp:
    """Put the console together. Sessions end with it: their names are signed with a secret of its own."""
    watch, sessions = Watch(options.log_key), Sessions(clock)
    house = House(options=options, templates=environment(), sessions=sessions, watch=watch)
    reception = Reception(house=house, connect=connect, oauth=registered(options.open_id))

    @asynccontextmanager
    async def until_it_stops(_: Starlette) -> AsyncIterator[None]:
        yield
        sessions.end_all()

    async def missing(request: Request, _: Exception) -> Response:
        return page(house, request, "refused.html", status=MISSING, title="There is no such page", problem="")

    async def failed(request: Request, _: Exception) -> Response:
        told = "It is this console's fault; its log says more."
        return page(house, request, "refused.html", status=FAILED, title="This failed", problem=told)

    whole = Starlette(
        routes=[
            Route("/", _begin),
            Route(STYLE_PATH, _style),
            Route("/icon.svg", _icon),
            Route(SIGN_IN, reception.show),
            Route(SIGN_IN, reception.by_token, methods=["POST"]),
            Route(WITH_ISSUER, reception.with_issuer),
            Route(BACK, reception.back),
            Route("/sign-out", reception.sign_out, methods=["POST"]),
            *(Route(path, endpoint(house, show), methods=[method]) for method, path, show in ROUTES),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=options.hosts, www_redirect=False),
            Middleware(
                SessionMiddleware,
                secret_key=secrets.token_urlsafe(SECRET_BYTES),
                session_cookie="__Host-rollcall" if options.secure else "rollcall",
                max_age=int(MOST_SECONDS),
                same_site="lax",
                https_only=options.secure,
            ),
        ],
        exception_handlers={404: missing, 405: missing, Exception: failed},
        lifespan=until_it_stops,
    )
    return Headers(whole)


class Headers:
    """Gives every answer the headers that all have, refusals and failures included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(each for each in ours if each[0] not in given)]
            await send(message)

        await self._app(scope, receive, with_headers)


async def _begin(_: Request) -> Response:
    return RedirectResponse("/reviews", status_code=303)


async def _style(_: Request) -> Response:
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return PlainTextResponse(STYLE, media_type="text/css", headers=kept)


async def _icon(_: Request) -> Response:
    return Response(ICON, media_type="image/svg+xml")
