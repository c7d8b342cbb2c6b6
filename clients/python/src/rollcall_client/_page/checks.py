"""What one map's flag rests on: every check with its numbers, the counterexamples, the thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client import phrases
from rollcall_client._page.markup import NOTHING, Markup, element, join
from rollcall_client._page.tables import number_cell, on_demand, row, table
from rollcall_client._page.words import flag_badge
from rollcall_client.enums import CheckKind
from rollcall_client.reading import chance, check_sentence, decisive, measurement, thorough, witness_sentence

if TYPE_CHECKING:
    from rollcall_client.explanation import Explanation
    from rollcall_client.types import Attribution, CheckResult, Verdict, Witness


def checks(explanation: Explanation, attribution: Attribution) -> Markup:
    """Each check's question, what was found, the number and what it is compared with, the rows that it used."""
    verdict = attribution.verdict
    title = element("h4", f"Checks of {attribution.map.words} ", flag_badge(verdict.flag))
    if not verdict.checks:
        return join(title, element("p", "None ran."))
    titles = {"Check": "", "Found": "", "Measured": "", "Rows": "number"}
    return join(
        title,
        table(titles, [_row(check) for check in decisive(verdict)], class_="plain checks"),
        _thorough(verdict),
        _counterexamples(explanation, verdict.witnesses),
        _thresholds(verdict),
    )


def _thorough(verdict: Verdict) -> Markup:
    """Checks that never decide, apart from those that do."""
    checks = thorough(verdict)
    if not checks:
        return NOTHING
    titles = {"Check": "", "Found": "", "Measured": "", "By chance": "number", "Rows": "number"}
    rows = [
        row(
            join(check.kind.words, element("small", check_sentence(check))),
            element("td", phrases.OUTCOMES.get(check.outcome, check.outcome.words), class_="outcome"),
            element("td", measurement(check)),
            number_cell(chance(check)),
            number_cell(str(check.rows)),
        )
        for check in checks
    ]
    remark = element("p", phrases.THOROUGH, class_="remark")
    return join(element("h5", "Thorough checks"), remark, table(titles, rows, class_="plain checks"))


def _row(check: CheckResult) -> Markup:
    found = phrases.OUTCOMES.get(check.outcome, check.outcome.words)
    return row(
        join(check.kind.words, element("small", check_sentence(check))),
        element("td", found, class_="outcome", data_outcome=check.outcome.name),
        element("td", measurement(check)),
        number_cell(str(check.rows)),
    )


def _counterexamples(explanation: Explanation, witnesses: tuple[Witness, ...]) -> Markup:
    items = [
        element("li", element("b", f"{witness.kind.words}: "), witness_sentence(witness, explanation.units))
        for witness in witnesses
        if witness.kind is not CheckKind.ADVERSARY  # it is no counterexample, and has a section of its own
    ]
    if not items:
        return NOTHING
    return join(element("h5", "Counterexamples that can be replayed"), element("ul", *items))


def _thresholds(verdict: Verdict) -> Markup:
    if not verdict.thresholds:
        return NOTHING
    items = [join(element("dt", name), element("dd", f"{value:.4g}")) for name, value in verdict.thresholds.items()]
    digest = element("p", f"Digest {verdict.policy_digest}", class_="remark digest")
    return on_demand(f"Thresholds of policy {verdict.policy_id}", element("dl", *items), digest)
