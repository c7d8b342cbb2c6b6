"""The text under one map: a picture if the map is FAITHFUL, and visibly none if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client import phrases
from rollcall_client._page import pictures
from rollcall_client._page.markup import Markup, element, foreign, join
from rollcall_client._page.tables import number_cell, on_demand, row, table
from rollcall_client.reading import gap, largest, map_notices, number, percent, share, signed, trusted, unit_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rollcall_client.enums import Flag
    from rollcall_client.explanation import Explanation, Word
    from rollcall_client.types import Attribution, Unit

_SHADES = 20
"""Strengths of a word's colour, by the classes heat-0 to heat-20."""
_PAIR = element("span", class_="pair")


def flag_badge(flag: Flag) -> Markup:
    """The flag as a word with a sign; colour only repeats what they say."""
    return element("span", flag.words.upper(), class_="badge", data_flag=flag.name)


def picture(explanation: Explanation, attribution: Attribution) -> Markup:
    """The text or image under this map, a caption that says whether it may be relied on, and the weights on demand."""
    words = explanation.words_of(attribution)

    def mark(index: int, word: Markup) -> Markup:
        return element("u", word, title="the word whose label is asked for") if index == explanation.asked else word

    flag = attribution.verdict.flag
    label = phrases.flag_label(flag)
    if trusted(attribution):
        class_ = "trusted"
        caption = f"The stronger a {unit_name(explanation)}'s colour, the more weight it has."
        top = largest(attribution.scores)
        text = (
            pictures.with_map(explanation, attribution)
            if explanation.image_size
            else running_text(explanation.units, lambda index, _: mark(index, _coloured(words[index], top)))
        )
        summary = "Weights as numbers"
    else:
        class_ = "untrusted"
        caption = "Its weights are not drawn. They stand below as numbers, for the record only."
        text = (
            pictures.alone(explanation)
            if explanation.image_size
            else running_text(explanation.units, lambda index, unit: mark(index, foreign(unit.text)))
        )
        summary = f"Weights for the record ({label})"
    headline = element("b", f"{flag.words.upper()}: {label}.")
    weights = [row(foreign(word.unit.text), number_cell(number(word.score))) for word in words]
    return join(
        element("figure", element("figcaption", headline, f" {caption}"), text, class_=class_, data_flag=flag.name),
        on_demand(
            summary,
            table({unit_name(explanation).capitalize(): "", "Weight": "number"}, weights, class_="plain narrow"),
        ),
        notes(map_notices(attribution)),
    )


def notes(texts: Sequence[str]) -> Markup:
    """What a reader must know before drawing conclusions."""
    return join(*(element("p", text, class_="notice") for text in texts))


def running_text(units: Sequence[Unit], draw: Callable[[int, Unit], Markup], class_: str = "text") -> Markup:
    """Units in reading order, spaced as they were written, the two texts of a pair apart; `draw` makes each one."""
    pieces, before = list[Markup | str](), None
    for index, unit in enumerate(units):
        space = gap(before, unit)
        pieces += [_PAIR if space == "\n" else space, draw(index, unit)]
        before = unit
    return element("p", *pieces, class_=class_, dir="auto")


def _coloured(word: Word, top: float) -> Markup:
    effect = f", effect {signed(word.effect.effect)} log-odds" if word.effect else ""
    title = f"weight {percent(word.score)}{effect}"
    shade = round(_SHADES * share(word.score, top))
    return element("mark", foreign(word.unit.text), class_=f"heat-{shade}", title=title)
