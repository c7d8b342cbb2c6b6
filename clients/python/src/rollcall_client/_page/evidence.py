"""What the flags rest on: the decision flip, the twin with the same answer, all maps, every check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client import phrases
from rollcall_client._page.bars import bar_cell
from rollcall_client._page.markup import NOTHING, Markup, element, foreign, join
from rollcall_client._page.words import picture, running_text
from rollcall_client.enums import CheckKind
from rollcall_client.reading import (
    ABSENT,
    comparison,
    flip_sentence,
    largest,
    number,
    percent,
    signed,
    witness_sentence,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollcall_client.enums import Flag
    from rollcall_client.explanation import Explanation
    from rollcall_client.types import Attribution, CheckResult, Verdict, Witness

_TWIN_ROWS_IN_SIGHT = 24


def flag_badge(flag: Flag) -> Markup:
    """The flag as a word with a sign; colour only repeats what they say."""
    return element("span", flag.words.upper(), class_="badge", data_flag=flag.name)


def decision_flip(explanation: Explanation) -> Markup:
    """The smallest change of the decision, as a sentence and as the text without its words."""
    sentence = element("p", flip_sentence(explanation))
    flip = explanation.decision_flip
    if flip is None or not flip.found:
        return sentence
    text = running_text(
        explanation.units,
        lambda index, unit: element("del", foreign(unit.text)) if index in flip.units else foreign(unit.text),
        class_="text removed",
    )
    return join(sentence, text)


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
    explained = (
        "One such twin proves little, as every long text has one. The rewiring check measures how probable they are."
    )
    return element(
        "section",
        element("h3", "Different attention, same answer"),
        element("p", explained, class_="remark"),
        *found,
    )


def _twin(explanation: Explanation, attribution: Attribution, witness: Witness) -> Markup:
    top = largest((*attribution.scores, *witness.map))
    triples = zip(explanation.units, attribution.scores, witness.map, strict=True)
    rows = [
        element(
            "tr",
            element("th", foreign(unit.text), scope="row"),
            bar_cell(score, top, percent(score)),
            bar_cell(other, top, percent(other)),
        )
        for unit, score, other in triples
    ]
    header = element(
        "tr",
        element("th", "Word", scope="col"),
        element("th", f"Original {attribution.map.words}", scope="col"),
        element("th", "Alternative, same prediction", scope="col"),
    )
    sight, rest = rows[:_TWIN_ROWS_IN_SIGHT], rows[_TWIN_ROWS_IN_SIGHT:]
    table = element("table", element("thead", header), element("tbody", *sight), class_="twins")
    more = element(
        "details",
        element("summary", f"{len(rest)} more words"),
        element("table", element("thead", header), element("tbody", *rest), class_="twins"),
    )
    title = element("h4", attribution.map.words.capitalize(), " ", flag_badge(attribution.verdict.flag))
    return join(title, element("p", witness_sentence(witness, explanation.units)), table, more if rest else NOTHING)


def maps(explanation: Explanation) -> Markup:
    """A row for each map, and each map's own page on demand."""
    titles = (
        ("Map", False),
        ("Flag", False),
        ("Reason", False),
        ("A", True),
        ("±", True),
        ("Known", True),
        ("Removals", True),
    )
    header = element(
        "tr", *(element("th", title, scope="col", class_="number" if right else None) for title, right in titles)
    )
    rows = [_map_row(attribution) for attribution in explanation.attributions]
    return join(
        element("table", element("thead", header), element("tbody", *rows), class_="plain"),
        element("p", phrases.ALIGNMENT, class_="remark"),
        *(_map_details(explanation, attribution) for attribution in explanation.attributions),
    )


def _map_row(attribution: Attribution) -> Markup:
    verdict, alignment = attribution.verdict, attribution.verdict.alignment
    numbers = (
        (signed(alignment.value), number(alignment.width, 2), number(alignment.reliability, 2), str(alignment.removals))
        if alignment
        else (ABSENT,) * 4
    )
    return element(
        "tr",
        element("th", attribution.map.words, scope="row"),
        element("td", flag_badge(verdict.flag)),
        element("td", verdict.reason.words if verdict.reason.value else ABSENT),
        *(element("td", text, class_="number") for text in numbers),
    )


def _map_details(explanation: Explanation, attribution: Attribution) -> Markup:
    verdict = attribution.verdict
    return element(
        "details",
        element("summary", f"{attribution.map.words.capitalize()}: {phrases.flag_label(verdict.flag)}"),
        element("p", phrases.MAPS.get(attribution.map, phrases.UNKNOWN_MAP)),
        element("p", phrases.flag_sentence(verdict.flag, verdict.reason)),
        picture(explanation, attribution),
        _operators(verdict),
    )


def _operators(verdict: Verdict) -> Markup:
    if verdict.alignment is None or not verdict.alignment.per_operator:
        return NOTHING
    parts = [
        f"{signed(part.value)} with words {phrases.OPERATORS.get(part.operator, part.operator.words)}"
        for part in verdict.alignment.per_operator
    ]
    chance = f"{percent(verdict.alignment.p_up)} of random relabellings do at least as well."
    return element("p", f"A by way of removal: {', '.join(parts)}. {chance}", class_="remark")


def checks(explanation: Explanation, attribution: Attribution) -> Markup:
    """Every check of one map: the question, what was found, the number and what it is compared with, the rows."""
    verdict = attribution.verdict
    title = element("h4", f"Checks of {attribution.map.words} ", flag_badge(verdict.flag))
    if not verdict.checks:
        return join(title, element("p", "None ran."))
    titles = ("Check", "Found", "Measured", "Rows")
    header = element(
        "tr", *(element("th", text, scope="col", class_="number" if text == "Rows" else None) for text in titles)
    )
    table = element(
        "table",
        element("thead", header),
        element("tbody", *(_check_row(check) for check in verdict.checks)),
        class_="plain checks",
    )
    witnesses = [
        element("li", element("b", f"{witness.kind.words}: "), witness_sentence(witness, explanation.units))
        for witness in verdict.witnesses
    ]
    counterexamples = join(element("h5", "Counterexamples that can be replayed"), element("ul", *witnesses))
    return join(title, table, counterexamples if witnesses else NOTHING, _thresholds(verdict))


def _check_row(check: CheckResult) -> Markup:
    return element(
        "tr",
        element(
            "th",
            check.kind.words,
            element("small", f"{phrases.CHECKS.get(check.kind, phrases.UNKNOWN_CHECK)} {check.detail}"),
            scope="row",
        ),
        element(
            "td",
            phrases.OUTCOMES.get(check.outcome, check.outcome.words),
            class_="outcome",
            data_outcome=check.outcome.name,
        ),
        element("td", comparison(check)),
        element("td", str(check.rows), class_="number"),
    )


def _thresholds(verdict: Verdict) -> Markup:
    if not verdict.thresholds:
        return NOTHING
    items: Sequence[Markup] = [
        join(element("dt", name), element("dd", f"{value:.4g}")) for name, value in verdict.thresholds.items()
    ]
    return element(
        "details",
        element("summary", f"Thresholds of policy {verdict.policy_id}"),
        element("dl", *items),
        element("p", f"Digest {verdict.policy_digest}", class_="remark digest"),
    )
