"""Pairs of texts through the real client."""

from __future__ import annotations

import pytest

from rollcall_client import CheckKind, CheckLevel, CheckOutcome, Client
from rollcall_client.terminal import render

PREMISE, HYPOTHESIS = "the film is a quiet triumph and I loved it", "nobody expected such a funny little comedy"


def test_each_text_of_a_pair_has_a_verdict_of_its_own(client: Client) -> None:
    """Every map comes with both sides, whose shares make up the whole; a text alone has none."""
    answer = client.explain(PREMISE, text_pair=HYPOTHESIS, model="roberta")
    assert {unit.segment for unit in answer.units} == {0, 1}
    for attribution in answer.attributions:
        first, second = attribution.verdict.sides
        assert (first.segment, second.segment) == (0, 1)
        assert first.share + second.share == pytest.approx(1)
        on_first = [score for unit, score in zip(answer.units, attribution.scores, strict=True) if unit.segment == 0]
        assert first.share == pytest.approx(sum(on_first))
    assert "Each text for itself: first text: " in render(answer, color=False, width=400)
    assert not client.explain(PREMISE, model="roberta").verdict.sides


def test_a_pair_is_also_rewired_within_its_texts(client: Client) -> None:
    """Looked at closely, a pair has one scope more than a text alone."""
    answer = client.explain(PREMISE, text_pair=HYPOTHESIS, model="roberta", level=CheckLevel.THOROUGH)
    scopes = {
        check.statistic: check.outcome
        for each in answer.attributions
        for check in each.verdict.checks
        if check.kind is CheckKind.REWIRING_SCOPES
    }
    assert scopes["same_answer_lower_bound_all_rows_within_texts"] in {CheckOutcome.MEASURED, CheckOutcome.SKIPPED}
    assert "same_answer_lower_bound_all_rows" in scopes
