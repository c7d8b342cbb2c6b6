"""Bars made of styled boxes. A number always stands beside a bar: the bar is hidden from those who cannot see it."""

from __future__ import annotations

from rollcall_client._page.markup import Markup, element
from rollcall_client.reading import share


def bar_cell(value: float, longest: float, label: str) -> Markup:
    """A table cell with a bar from the left, as long as the value's share of the longest, and its label."""
    bar = element("i", style=f"width:{100 * share(value, longest):.2f}%")
    return element("td", element("span", bar, class_="weight", aria_hidden="true"), element("span", label))


def signed_bar(value: float, error: float, longest: float) -> Markup:
    """A bar from the middle, to the right if positive, and a line for one standard error to either side of its end."""
    towards = value > 0
    length, spread = 50 * share(abs(value), longest), 50 * share(error, longest)
    end = 50 + length if towards else 50 - length
    name = "towards" if towards else "against"
    bar = element("i", class_=name, style=f"left:{min(end, 50):.2f}%;width:{length:.2f}%")
    whisker = element("i", class_="whisker", style=f"left:{end - spread:.2f}%;width:{2 * spread:.2f}%")
    return element("span", bar, whisker, class_="bar", aria_hidden="true")
