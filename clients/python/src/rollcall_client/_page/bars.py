"""Bars, drawn as SVG: lengths are attributes, so that no content security policy has to allow styles in elements.

A number always stands beside a bar: the bar is hidden from those who cannot see it.
"""

from __future__ import annotations

from rollcall_client._page.markup import Markup, element
from rollcall_client.reading import share


def bar_cell(value: float, longest: float, label: str) -> Markup:
    """A table cell with a bar from the left, as long as the value's share of the longest, and its label."""
    bar = _rect(0, 100 * share(value, longest))
    return element("td", element("svg", bar, class_="weight", aria_hidden="true"), element("span", label))


def signed_bar(value: float, error: float, longest: float) -> Markup:
    """A bar from the middle, to the right if positive, and a line for one standard error to either side of its end."""
    towards = value > 0
    length, spread = 50 * share(abs(value), longest), 50 * share(error, longest)
    end = 50 + length if towards else 50 - length
    bar = _rect(min(end, 50), length, "towards" if towards else "against")
    ends = (_line(end - spread, end + spread), *(_line(x, x, "whisker end") for x in (end - spread, end + spread)))
    return element("svg", _line(50, 50, "middle"), bar, *ends, class_="bar", aria_hidden="true")


def _rect(start: float, length: float, class_: str | None = None) -> Markup:
    return element("rect", class_=class_, x=f"{start:.2f}%", width=f"{length:.2f}%")


def _line(start: float, end: float, class_: str = "whisker") -> Markup:
    top, bottom = {"middle": (0, 100), "whisker end": (32, 68), "whisker": (50, 50)}[class_]
    return element("line", class_=class_, x1=f"{start:.2f}%", x2=f"{end:.2f}%", y1=f"{top}%", y2=f"{bottom}%")
