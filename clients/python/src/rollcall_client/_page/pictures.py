"""An image with a map laid over it, or with the blocks taken out whose removal changes the decision."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from rollcall_client._page.markup import NOTHING, Markup, element, join, void
from rollcall_client.overlay import draw, render_overlay

if TYPE_CHECKING:
    from collections.abc import Collection

    from rollcall_client.explanation import Explanation
    from rollcall_client.types import Attribution

_FORMATS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
_NO_IMAGE = "The picture itself is not part of the answer."


def with_map(explanation: Explanation, attribution: Attribution) -> Markup:
    """The image under a map, which is FAITHFUL."""
    return _layers(explanation, render_overlay(explanation, attribution), "The image under this map")


def alone(explanation: Explanation) -> Markup:
    """The image as it was sent."""
    return _layers(explanation, None, "The image")


def without(explanation: Explanation, units: Collection[int]) -> Markup:
    """The image with some units covered."""
    covered = draw(explanation, [1.0 if index in units else 0.0 for index in range(len(explanation.units))])
    return _layers(explanation, covered, "The image with these blocks covered")


def _layers(explanation: Explanation, overlay: bytes | None, description: str) -> Markup:
    kind = next((name for mark, name in _FORMATS.items() if explanation.image.startswith(mark)), None)
    return join(
        element(
            "div",
            void("img", src=_data(kind, explanation.image), alt=description) if kind else NOTHING,
            void("img", src=_data("png", overlay), alt="", class_="overlay" if kind else "alone")
            if overlay
            else NOTHING,
            class_="image",
        ),
        NOTHING if kind else element("p", _NO_IMAGE, class_="remark"),
    )


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
