"""All maps with their flags, and the twins of those that attention alone does not fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client import phrases
from rollcall_client._page.bars import bar_cell
from rollcall_client._page.markup import NOTHING, Markup, element, foreign, join
from rollcall_client._page.tables import number_cell, on_demand, row, table
from rollcall_client._page.words import flag_badge, picture
from rollcall_client.enums import CheckKind
from rollcall_client.reading import ABSENT, largest, number, percent, rivals, signed, unit_name, witness_sentence

if TYPE_CHECKING:
    from rollcall_client.explanation import Explanation
    from rollcall_client.types import Attribution, Verdict, Witness

_TWIN_ROWS_IN_SIGHT = 24
_TWINS = "One such twin proves little, as every long text has one. The rewiring check measures how probable they are."


def twins(explanation: Explanation) -> Markup:
    """For every map with a rewiring witness: the original beside the alternative with the same prediction."""
    found = [
        _twin(explanation, attribution, witness)
        for attribution in explanation.attributions
        for witness in attribution.verdict.witnesses
        if witness.kind is CheckKind.REWIRING and witness.map
    ]
    if not found:
        return NOTHING
    title = element("h3", "Different attention, same answer")
    return element("section", title, element("p", _TWINS, class_="remark"), *found)


def adversaries(explanation: Explanation) -> Markup:
    """For every map that was searched for: itself beside the most different one with the same prediction."""
    found = [_twin(explanation, attribution, witness) for attribution, witness in rivals(explanation)]
    if not found:
        return NOTHING
    title = element("h3", "The most different map with the same prediction that the search found")
    return element("section", title, element("p", phrases.ADVERSARY, class_="remark"), *found)


def _twin(explanation: Explanation, attribution: Attribution, witness: Witness) -> Markup:
    longest = largest((*attribution.scores, *witness.map))
    rows = [
        row(
            foreign(unit.text),
            bar_cell(score, longest, percent(score)),
            bar_cell(other, longest, percent(other)),
        )
        for unit, score, other in zip(explanation.units, attribution.scores, witness.map, strict=True)
    ]
    titles = {
        unit_name(explanation).capitalize(): "",
        f"Original {attribution.map.words}": "",
        "Alternative, same prediction": "",
    }
    return join(
        element("h4", attribution.map.words.capitalize(), " ", flag_badge(attribution.verdict.flag)),
        element("p", witness_sentence(witness, explanation.units)),
        table(titles, rows, class_="twins", in_sight=_TWIN_ROWS_IN_SIGHT),
    )


def maps(explanation: Explanation) -> Markup:
    """A row for each map, and each map's own text on demand."""
    titles = {
        "Map": "",
        "Flag": "",
        "Reason": "",
        "A": "number",
        "±": "number",
        "Known": "number",
        "Removals": "number",
    }
    return join(
        table(titles, [_row(attribution) for attribution in explanation.attributions], class_="plain"),
        element("p", phrases.ALIGNMENT, class_="remark"),
        *(_details(explanation, attribution) for attribution in explanation.attributions),
    )


def _row(attribution: Attribution) -> Markup:
    verdict, alignment = attribution.verdict, attribution.verdict.alignment
    numbers = (
        (signed(alignment.value), number(alignment.width, 2), number(alignment.reliability, 2), str(alignment.removals))
        if alignment
        else (ABSENT,) * 4
    )
    return row(
        attribution.map.words,
        element("td", flag_badge(verdict.flag)),
        element("td", verdict.reason.words if verdict.reason.value else ABSENT),
        *(number_cell(text) for text in numbers),
    )


def _details(explanation: Explanation, attribution: Attribution) -> Markup:
    verdict = attribution.verdict
    return on_demand(
        f"{attribution.map.words.capitalize()}: {phrases.flag_label(verdict.flag)}",
        element("p", phrases.MAPS.get(attribution.map, phrases.UNKNOWN_MAP)),
        element("p", phrases.flag_sentence(verdict.flag, verdict.reason)),
        picture(explanation, attribution),
        _operators(verdict),
    )


def _operators(verdict: Verdict) -> Markup:
    if verdict.alignment is None or not verdict.alignment.per_operator:
        return NOTHING
    parts = [
        f"{signed(part.value)} with units {phrases.OPERATORS.get(part.operator, part.operator.words)}"
        for part in verdict.alignment.per_operator
    ]
    chance = f"{percent(verdict.alignment.p_up)} of random relabellings do at least as well."
    return element("p", f"A by way of removal: {', '.join(parts)}. {chance}", class_="remark")
