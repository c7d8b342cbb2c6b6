"""HTML that is escaped unless it was made here: the texts on a page are hostile until proven otherwise.

`element` and `void` are the only ways to make markup. Children are markup, or plain text that is made visible and
escaped.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

from rollcall_client.visible import visible


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML source that is safe to put on a page."""

    source: str


NOTHING = Markup("")


def element(tag: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """An element. `class_` and `for_` lose their underscore, other underscores become hyphens; None leaves one out."""
    return Markup(f"{void(tag, **attributes).source}{join(*children).source}</{tag}>")


def void(tag: str, **attributes: str | float | None) -> Markup:
    """An element that has neither children nor an end, such as an image."""
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    written = "".join(f' {name}="{_escape(str(value))}"' for name, value in given.items())
    return Markup(f"<{tag}{written}>")


def join(*children: Markup | str) -> Markup:
    """Several pieces as one."""
    return Markup("".join(child.source if isinstance(child, Markup) else _escape(child) for child in children))


def foreign(text: str) -> Markup:
    """Somebody else's text, kept from reordering its neighbours where it is written right to left."""
    return element("bdi", text)


def _escape(text: str) -> str:
    return html.escape(visible(text), quote=True)
