"""The one way to every page: who is it, did their own form send it, ask the service beside the event loop, show.

A page is a function from a visit to an answer. It may let the client's errors go: here they become pages, by one table.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from rollcall.console.options import ConsoleOptions
from rollcall.console.proving import Watch
from rollcall.console.sessions import Session, Sessions
from rollcall_client import AuditClient, Caller, errors

SIGN_IN = "/sign-in"
SESSION, FORM_TOKEN = "session", "form_token"
"""What a browser's signed cookie holds: the name of its session, and what its forms must bring."""
FORM_TOKEN_BYTES = 32
MOST_FORM_BYTES = 256 * 1024
OK, BAD, DENIED, MISSING, BLOCKED, NO_LENGTH, TOO_LONG, FAULT, LATER = 200, 400, 403, 404, 409, 411, 413, 502, 503
STATUS: tuple[tuple[type[errors.RollcallError], int, str], ...] = (
    (errors.AccessDenied, DENIED, "This is not yours to do"),
    (errors.NotFound, MISSING, "There is no such thing"),
    (errors.FailedPrecondition, BLOCKED, "Something stands in the way"),
    (errors.CallerError, BAD, "That cannot be asked"),
    (errors.CapacityError, LATER, "The service cannot answer now"),
    (errors.RollcallError, FAULT, "The service failed"),
)
"""What an error of the client becomes: the first that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all pages share."""

    options: ConsoleOptions
    templates: Environment = field(repr=False)
    sessions: Sessions
    watch: Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Somebody who is signed in and wants a page, or sends a form of ours."""

    house: House
    request: Request
    session: Session
    form: Mapping[str, str] = field(repr=False)

    @property
    def client(self) -> AuditClient:
        """The service, asked as whoever is signed in."""
        return self.session.client

    @property
    def caller(self) -> Caller:
        """Whoever is signed in."""
        return self.session.caller

    def asked(self, name: str) -> str:
        """Give a parameter of the address, "" without one."""
        return self.request.query_params.get(name, "").strip()

    def given(self, name: str) -> str:
        """Give a field of the form, "" without one."""
        return self.form.get(name, "").strip()

    def path(self, name: str) -> str:
        """Give a part of the path."""
        return str(self.request.path_params[name])

    def show(self, template: str, *, status: int = OK, **values: Any) -> Response:  # noqa: ANN401 - a template's own
        """Make a page."""
        return page(self.house, self.request, template, status=status, caller=self.caller, visit=self, **values)

    def refused(self, template: str, error: errors.RollcallError, **values: Any) -> Response:  # noqa: ANN401
        """Make a page again, with what was typed, and why it was refused."""
        status, _ = explained(error)
        return self.show(template, status=status, problem=problem_of(error), typed=self.form, **values)

    def go(self, path: str) -> Response:
        """Send the browser on after a form, so that coming back sends nothing twice."""
        return RedirectResponse(path, status_code=303)


Page: TypeAlias = Callable[[Visit], Response]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def page(house: House, request: Request, template: str, *, status: int = OK, **values: Any) -> HTMLResponse:  # noqa: ANN401
    """Make a page for anybody."""
    known: dict[str, Any] = {
        "caller": None,
        "problem": "",
        "typed": {},
        "path": request.url.path,
        "form_token": form_token(request) if "session" in request.scope else "",
        "options": house.options,
    }
    return HTMLResponse(house.templates.get_template(template).render(known | values), status_code=status)


def endpoint(house: House, show: Page) -> Endpoint:
    """Put the way in before a page."""

    async def answer(request: Request) -> Response:
        session = house.sessions.find(request.session.get(SESSION, ""))
        if session is None:
            return _sign_in_first(request)
        form: Mapping[str, str] = {}
        if request.method == "POST":
            refusal = refuse_form(house, request)
            if refusal is not None:
                return refusal
            form = await read_form(request)
            if not is_own_form(request, form):
                return _not_ours(house, request)
        visit = Visit(house=house, request=request, session=session, form=form)
        try:
            return await run_in_threadpool(show, visit)
        except errors.RollcallError as error:
            if error.code == "UNAUTHENTICATED":
                house.sessions.end(request.session.pop(SESSION, ""))
                return _sign_in_first(request)
            status, title = explained(error)
            return visit.show("refused.html", status=status, title=title, problem=problem_of(error))

    return answer


def form_token(request: Request) -> str:
    """Give what this browser's forms bring along; made with its first page."""
    if FORM_TOKEN not in request.session:
        request.session[FORM_TOKEN] = secrets.token_urlsafe(FORM_TOKEN_BYTES)
    return str(request.session[FORM_TOKEN])


def is_own_form(request: Request, form: Mapping[str, str]) -> bool:
    """Whether a page of ours that this browser was given has sent the form."""
    expected = request.session.get(FORM_TOKEN, "")
    return bool(expected) and hmac.compare_digest(form.get(FORM_TOKEN, "").encode(), expected.encode())


def refuse_form(house: House, request: Request) -> Response | None:
    """Refuse a form that another site sent, and one that is longer than any of ours, before it is read."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site not in {None, "none", "same-origin"} or (
        origin is not None and origin.partition("://")[2] != request.headers["host"]
    ):
        return _not_ours(house, request)
    length = request.headers.get("content-length", "")
    if not length.isascii() or not length.isdecimal():
        return _told(house, request, NO_LENGTH, "The form does not say how long it is.")
    if int(length) > MOST_FORM_BYTES:
        return _told(house, request, TOO_LONG, f"The form is longer than {MOST_FORM_BYTES:,} bytes.")
    return None


async def read_form(request: Request) -> Mapping[str, str]:
    """Read the fields of a form; files are none of ours. Of a field that comes twice, all values, a line each."""
    found: dict[str, str] = {}
    for name, value in (await request.form(max_files=0, max_fields=100)).multi_items():
        text = value if isinstance(value, str) else ""
        found[name] = f"{found[name]}\n{text}" if name in found else text
    return found


def explained(error: errors.RollcallError) -> tuple[int, str]:
    """Status and title of the page that an error becomes."""
    return next((status, title) for kind, status, title in STATUS if isinstance(error, kind))


def problem_of(error: errors.RollcallError) -> str:
    """Say what went wrong, as the service said it; its own faults by the id that finds them in its log."""
    if isinstance(error, errors.ServiceError):
        return f"It is the service's fault ({error.code}). " + (
            f"Its log has more under {error.error_id}." if isinstance(error, errors.Internal) else ""
        )
    return error.message


def wrong(field: str, problem: str) -> errors.InvalidArgument:
    """Say of a form's field what is wrong with it, as the service would."""
    return errors.InvalidArgument(f"{field}: {problem}", code="INVALID_ARGUMENT", violations=((field, problem),))


def no_such(what: str) -> errors.NotFound:
    """Say that there is no such thing, as the service would."""
    return errors.NotFound(f"there is no such {what}", code="NOT_FOUND")


def local(path: str) -> str:
    """Give a path of this console, where somebody else wrote it: never a way to another site."""
    return (
        path if path.startswith("/") and not path.startswith("//") and path.isprintable() and "\\" not in path else "/"
    )


def address(path: str, **asked: str) -> str:
    """Write an address with what it asks for; empty values are left out."""
    given = {name: value for name, value in asked.items() if value}
    return quote(path) + (f"?{urlencode(given)}" if given else "")


def _sign_in_first(request: Request) -> Response:
    wanted = request.url.path if request.method == "GET" else "/"
    query = f"?{request.url.query}" if request.method == "GET" and request.url.query else ""
    return RedirectResponse(address(SIGN_IN, then=f"{wanted}{query}" if wanted != "/" else ""), status_code=303)


def _not_ours(house: House, request: Request) -> Response:
    return _told(
        house, request, DENIED, "This form is not from a page of this session. Go back, load it anew, try again."
    )


def _told(house: House, request: Request, status: int, problem: str) -> Response:
    return page(house, request, "refused.html", status=status, title="The form was refused", problem=problem)
