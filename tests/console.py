"""Somebody at the console: loads pages, reads them strictly, fills in their forms, and sends them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

from starlette.testclient import TestClient
from starlette.types import ASGIApp

BASE = "http://localhost:8003"
HIDING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]")
"""Characters that a page must never show: they command, reorder or hide."""
_NAMES = re.compile(r"[a-z0-9-]+")
TAGS = set(
    _NAMES.findall("""
    html head meta title link body a header p nav ul li form input span b button main div footer h1 h2 h3 h4 h5 section
    article label small textarea select option table thead tbody tr th td bdi br code pre dl dt dd details summary svg
    rect line defs pattern ol i blockquote fieldset legend figure figcaption mark del u
    """)
)
ATTRIBUTES = set(
    _NAMES.findall("""
    lang charset name content rel href class data-flag data-holds data-outcome aria-current aria-label aria-hidden role
    method action type value id tabindex required maxlength rows placeholder spellcheck autocomplete autofocus selected
    checked open scope dir x x1 x2 y y1 y2 width height fill data-kind patternunits title
    """)
)
VOID = frozenset({"meta", "link", "input", "br"})


@dataclass(kw_only=True)
class Form:
    """A form of a page, with what its fields hold."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """Reads a page; AssertionError where it has tags, attributes or characters that none of ours has."""

    def __init__(self, source: str, status: int, address: str) -> None:
        super().__init__()
        self.source, self.status, self.address = source, status, address
        self.text, self.links, self.forms = "", list[str](), list[Form]()
        self._open, self._area, self._select = list[str](), "", ""
        self.feed(source)
        self.close()
        assert self._open == [], address

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Only tags and attributes of ours."""
        given = {name: value or "" for name, value in attrs}
        assert tag in TAGS, f"{self.address}: <{tag}>"
        assert given.keys() <= ATTRIBUTES, f"{self.address}: {given}"
        # What somebody typed stays in their own field as they typed it.
        self._check("".join(value for name, value in given.items() if name != "value"))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "a":
            self.links.append(given["href"])
        if tag == "form":
            self.forms.append(Form(action=given["action"], method=given.get("method", "get")))
        self._field(tag, given)

    def _field(self, tag: str, given: Mapping[str, str]) -> None:
        ticked = given.get("type") not in {"checkbox", "radio"} or "checked" in given
        if tag == "input" and given.get("name") and ticked:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        if tag == "textarea":
            self._area = given["name"]
            self.forms[-1].fields[self._area] = ""
        if tag == "select":
            self._select = given["name"]
        if tag == "option" and (self._select not in self.forms[-1].fields or "selected" in given):
            self.forms[-1].fields[self._select] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """Every end closes the last start."""
        assert self._open.pop() == tag, f"{self.address}: </{tag}>"
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        """Keep texts as people read them."""
        if self._area:
            self.forms[-1].fields[self._area] += data
        else:
            self._check(data)
            self.text += data

    def _check(self, shown: str) -> None:
        found = HIDING.search(shown)
        assert found is None, f"{self.address} shows {found!r}"

    def form(self, action: str) -> Form:
        """Give the form that is posted to an action that ends so."""
        found = [form for form in self.forms if form.action.endswith(action) and form.method == "post"]
        assert found, f"{self.address} has no form for {action}"
        return found[0]

    def offers(self, action: str) -> bool:
        """Whether it has a form whose action ends so."""
        return any(form.action.endswith(action) for form in self.forms)


class Somebody:
    """A browser at the console."""

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self.http = TestClient(app, base_url=BASE)
        if token is not None:
            signed_in = self.send(self.look("/sign-in"), "/sign-in", token=token)
            assert signed_in.status == 200, signed_in.text

    def look(self, address: str) -> Page:
        """Load a page."""
        reply = self.http.get(address)
        return Page(reply.text, reply.status_code, address)

    def send(self, page: Page, action: str, **typed: str) -> Page:
        """Fill in a form of a page, and send it."""
        form = page.form(action)
        reply = self.http.post(form.action, data={**form.fields, **typed})
        return Page(reply.text, reply.status_code, str(reply.url))
