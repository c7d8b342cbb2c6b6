"""What one map's flag rests on: every check with its numbers, the counterexamples, the thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client import phrases
from rollcall_client._page.markup import NOTHING, Markup, element, join
from rollcall_client._page.tables import number_cell, on_demand, row, table
from rollcall_client._page.words import flag_badge
from rollcall_client.reading import check_sentence, measurement, witness_sentence

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
        table(titles, [_row(check) for check in verdict.checks], class_="plain checks"),
        _counterexamples(explanation, verdict.witnesses),
        _thresholds(verdict),
    )


def _row(check: CheckResult) -> Markup:
    found = phrases.OUTCOMES.get(check.outcome, check.outcome.words)
    return row(
        join(check.kind.words, element("small", check_sentence(check))),
        element("td", found, class_="outcome", data_outcome=check.outcome.name),
        element("td", measurement(check)),
        number_cell(str(check.rows)),
    )


def _counterexamples(explanation: Explanation, witnesses: tuple[Witness, ...]) -> Markup:
    if not witnesses:
        return NOTHING
    items = [
        element("li", element("b", f"{witness.kind.words}: "), witness_sentence(witness, explanation.units))
        for witness in witnesses
    ]
    return join(element("h5", "Counterexamples that can be replayed"), element("ul", *items))


def _thresholds(verdict: Verdict) -> Markup:
    if not verdict.thresholds:
        return NOTHING
    items = [join(element("dt", name), element("dd", f"{value:.4g}")) for name, value in verdict.thresholds.items()]
    digest = element("p", f"Digest {verdict.policy_digest}", class_="remark digest")
    return on_demand(f"Thresholds of policy {verdict.policy_id}", element("dl", *items), digest)
