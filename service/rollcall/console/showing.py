"""From values to pages: the templates, and what every text goes through on its way into one.

All texts are hostile. Whatever a template writes is made visible (controls, and characters that reorder or hide) and
then escaped; only what was made here, or by the client's own renderer, is markup.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rollcall_client import phrases, reading
from rollcall_client.enums import WireEnum
from rollcall_client.html import style_sheet
from rollcall_client.visible import visible

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer: nothing is loaded but our own style, nothing runs, nothing is kept or framed."""
STYLE = style_sheet() + resources.files("rollcall.console").joinpath("console.css").read_text(encoding="utf-8")
STYLE_PATH = f"/style-{hashlib.sha256(STYLE.encode()).hexdigest()[:16]}.css"
"""Named by its content, so that browsers may keep it."""


def environment() -> Environment:
    """Make the templates' world."""
    made = Environment(
        loader=PackageLoader("rollcall.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters.update(
        foreign=_foreign,
        when=datetime.fromisoformat, kept=_kept, lines=_lines, words=_words, pretty=_pretty, signed=reading.signed,
        percent=reading.percent, number=reading.number, measurement=reading.measurement,
    )  # fmt: skip
    made.globals.update(phrases=phrases, reading=reading, style_path=STYLE_PATH)
    return made


def _shown(value: Any) -> Any:  # noqa: ANN401 - whatever a template writes
    """Make any value readable, and any text harmless."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return reading.ABSENT
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, WireEnum):
        return value.words
    return visible(value) if isinstance(value, str) else value


def _foreign(text: str) -> Markup:
    """Keep somebody else's text from reordering its neighbours."""
    return Markup("<bdi>{}</bdi>").format(visible(text))


def _kept(text: str) -> Markup:
    """Give a form what was typed into it, unchanged."""
    return escape(text)


def _lines(text: str) -> Markup:
    """Keep the lines of a text, for an element that shows them."""
    return Markup("\n").join(visible(line) for line in text.split("\n"))


def _words(value: Any) -> str:  # noqa: ANN401 - a member of an enum of the client, or its name
    return value.words if isinstance(value, WireEnum) else str(value).lower().replace("_", " ")


def _pretty(value: Mapping[str, Any]) -> Markup:
    """Write an object as JSON with indents."""
    return _lines(json.dumps(value, ensure_ascii=False, indent=2))
