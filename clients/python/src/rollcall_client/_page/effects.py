"""What the words do to the decision, measured: the effect of each, and the smallest set that changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client._page import pictures
from rollcall_client._page.bars import signed_bar
from rollcall_client._page.markup import NOTHING, Markup, element, foreign, join
from rollcall_client._page.tables import number_cell, row, table
from rollcall_client._page.words import running_text
from rollcall_client.reading import flip_sentence, largest, number, percent, signed, strongest_first, trusted, unit_name

if TYPE_CHECKING:
    from rollcall_client.explanation import Explanation
    from rollcall_client.types import Effect, Unit

_ROWS_IN_SIGHT = 12


def effects(explanation: Explanation) -> Markup:
    """Signed bars, the largest effect first; beside them the weights of the map shown, if that may be relied on."""
    words = strongest_first(explanation.words_of(explanation.shown))
    if not words:
        return element("p", "Not measured: the answer was not checked.")
    longest = largest(tuple(abs(effect.effect) + effect.standard_error for effect in explanation.effects))
    with_weights = trusted(explanation.shown)
    rows = [
        _row(word.unit, word.effect, longest, word.score if with_weights else None) for word in words if word.effect
    ]
    titles = {unit_name(explanation).capitalize(): "", "against | towards": "axis", "Effect": "number", "±": "number"}
    titles |= {"Map weight": "number"} if with_weights else {}
    return table(titles, rows, class_="effects", in_sight=_ROWS_IN_SIGHT)


def _row(unit: Unit, effect: Effect, longest: float, score: float | None) -> Markup:
    return row(
        foreign(unit.text),
        element("td", signed_bar(effect.effect, effect.standard_error, longest), class_="axis"),
        number_cell(signed(effect.effect)),
        number_cell(number(effect.standard_error, 2)),
        NOTHING if score is None else number_cell(percent(score)),
    )


def decision_flip(explanation: Explanation) -> Markup:
    """The smallest change of the decision, as a sentence and as the text with its words struck out."""
    sentence = element("p", flip_sentence(explanation))
    flip = explanation.decision_flip
    if flip is None or not flip.found:
        return sentence
    if explanation.image_size:
        return join(sentence, pictures.without(explanation, flip.units))
    text = running_text(
        explanation.units,
        lambda index, unit: element("del", foreign(unit.text)) if index in flip.units else foreign(unit.text),
        class_="text removed",
    )
    return join(sentence, text)
