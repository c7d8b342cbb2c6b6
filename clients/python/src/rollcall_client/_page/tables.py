"""Tables with named columns: on a narrow screen they scroll instead of being cut, and too many rows are folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client._page.markup import NOTHING, Markup, element, join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def table(titles: Mapping[str, str], rows: Sequence[Markup], *, class_: str, in_sight: int | None = None) -> Markup:
    """A table; `titles` gives each column's heading and class ("" for none), none at all leaves the headings out.

    Rows beyond the first `in_sight` are shown on demand.
    """
    first = _table(titles, rows[:in_sight], class_)
    folded = rows[in_sight:] if in_sight is not None else ()
    return join(first, on_demand(f"{len(folded)} more", _table(titles, folded, class_))) if folded else first


def _table(titles: Mapping[str, str], rows: Sequence[Markup], class_: str) -> Markup:
    headings = [element("th", text, scope="col", class_=name or None) for text, name in titles.items()]
    head = element("thead", element("tr", *headings)) if headings else NOTHING
    return element("div", element("table", head, element("tbody", *rows), class_=class_), class_="scroll")


def row(name: Markup | str, *cells: Markup) -> Markup:
    """A row; its first cell names it."""
    return element("tr", element("th", name, scope="row"), *cells)


def number_cell(text: str) -> Markup:
    """A cell with a number, flush right."""
    return element("td", text, class_="number")


def on_demand(summary: str, *content: Markup, class_: str | None = None) -> Markup:
    """Content that opens when its summary is clicked."""
    return element("details", element("summary", summary), *content, class_=class_)
