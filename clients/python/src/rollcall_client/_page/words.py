"""The words of a text with one map's weights: a picture if the map is FAITHFUL, and visibly none if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client import phrases
from rollcall_client._page.bars import signed_bar
from rollcall_client._page.markup import NOTHING, Markup, element, foreign, join
from rollcall_client.reading import gap, largest, map_notices, number, percent, share, signed, strongest_first, trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rollcall_client.explanation import Explanation, Word
    from rollcall_client.types import Attribution, Effect, Unit

_ROWS_IN_SIGHT = 12
_PAIR = element("span", class_="pair")


def picture(explanation: Explanation, attribution: Attribution) -> Markup:
    """The text under this map, a caption that says whether the map may be relied on, and the weights on demand."""
    words = explanation.words_of(attribution)
    flag = attribution.verdict.flag
    label = phrases.flag_label(flag)
    if trusted(attribution):
        caption = "The stronger a word's colour, the more weight it has."
        top = largest(attribution.scores)
        text = running_text(explanation.units, lambda index, _: _coloured(words[index], top))
        summary = "Weights as numbers"
    else:
        caption = "Its weights are not drawn. They stand below as numbers, for the record only."
        text = running_text(explanation.units, lambda _, unit: foreign(unit.text))
        summary = f"Weights for the record ({label})"
    headline = element("b", f"{flag.words.upper()}: {label}.")
    return join(
        element(
            "figure",
            element("figcaption", headline, f" {caption}"),
            text,
            class_="map trusted" if trusted(attribution) else "map untrusted",
        ),
        element("details", element("summary", summary), _weights(words)),
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
    return element(
        "mark",
        foreign(word.unit.text),
        style=f"--weight:{share(word.score, top):.3f}",
        title=f"weight {percent(word.score)}{effect}",
    )


def _weights(words: Sequence[Word]) -> Markup:
    header = element("tr", element("th", "Word", scope="col"), element("th", "Weight", scope="col", class_="number"))
    rows = [
        element("tr", element("th", foreign(word.unit.text), scope="row"), _number(number(word.score)))
        for word in words
    ]
    return element("table", element("thead", header), element("tbody", *rows), class_="plain narrow")


def _number(text: str) -> Markup:
    return element("td", text, class_="number")


def effects(explanation: Explanation) -> Markup:
    """What each word measurably does to the margin: signed bars, the largest first; beside it a trusted map."""
    words = strongest_first(explanation.words_of(explanation.shown))
    if not words:
        return element("p", "Not measured: the answer was not checked.")
    longest = largest(tuple(abs(effect.effect) + effect.standard_error for effect in explanation.effects))
    with_weights = trusted(explanation.shown)
    rows = [
        _effect_row(word.unit, word.effect, longest, word.score if with_weights else None)
        for word in words
        if word.effect
    ]
    titles = {"Word": "", "against | towards": "axis", "Effect": "number", "±": "number"}
    titles |= {"Map weight": "number"} if with_weights else {}
    header = element("tr", *(element("th", text, scope="col", class_=name or None) for text, name in titles.items()))
    sight, rest = (_effect_table(header, part) for part in (rows[:_ROWS_IN_SIGHT], rows[_ROWS_IN_SIGHT:]))
    weaker = element("summary", f"{len(rows) - _ROWS_IN_SIGHT} weaker words")
    return join(sight, element("details", weaker, rest)) if len(rows) > _ROWS_IN_SIGHT else sight


def _effect_table(header: Markup, rows: Sequence[Markup]) -> Markup:
    return element("table", element("thead", header), element("tbody", *rows), class_="effects")


def _effect_row(unit: Unit, effect: Effect, longest: float, score: float | None) -> Markup:
    return element(
        "tr",
        element("th", foreign(unit.text), scope="row"),
        element("td", signed_bar(effect.effect, effect.standard_error, longest), class_="axis"),
        _number(signed(effect.effect)),
        _number(number(effect.standard_error, 2)),
        NOTHING if score is None else _number(percent(score)),
    )
