"""The facts that both views tell."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

import canned
from rollcall_client import Unit
from rollcall_client._v1 import explanation_pb2
from rollcall_client.reading import (
    flip_sentence,
    gap,
    instead_sentence,
    largest,
    looked_at,
    map_notices,
    measurement,
    notices,
    percent,
    prediction_sentence,
    share,
    shown_sentence,
    side_sentence,
    strongest_first,
)


def test_percentages_never_round_up_to_certainty() -> None:
    """Only what is certain is 100 %."""
    shown = [percent(value).replace("\N{NO-BREAK SPACE}", " ") for value in (0.5, 0.99949, 0.99996, 1.0)]
    assert shown == ["50.0 %", "99.9 %", "> 99.9 %", "100.0 %"]


@pytest.mark.parametrize(
    ("value", "of", "expected"), [(1, 2, 0.5), (3, 2, 1), (-1, 2, 0), (1, 0, 0), (math.nan, 1, 0), (math.inf, 1, 0)]
)
def test_shares_are_between_none_and_all(value: float, of: float, expected: float) -> None:
    """No number, however odd, draws outside of its box."""
    assert share(value, of) == expected


def test_the_largest_ignores_what_is_no_number() -> None:
    """One broken value does not flatten all bars."""
    assert largest((1.0, -3.0, math.nan, math.inf)) == 3.0
    assert largest(()) == 0.0


def _unit(start: int, end: int, segment: int = 0) -> Unit:
    return Unit(text="x", token_start=1, token_end=2, char_start=start, char_end=end, segment=segment)


def test_units_are_spaced_as_written() -> None:
    """Punctuation sticks to its word, texts of a pair stand apart, and unknown positions mean words."""
    assert gap(None, _unit(0, 1)) == ""
    assert gap(_unit(0, 3), _unit(3, 4)) == ""
    assert gap(_unit(0, 3), _unit(4, 6)) == " "
    assert gap(_unit(0, 3), _unit(0, 3, segment=1)) == "\n"
    assert gap(_unit(0, 0), _unit(0, 0)) == " "


def test_the_strongest_effect_of_either_sign_is_first() -> None:
    """What pushes hardest is read first."""
    texts = [word.unit.text for word in strongest_first(canned.explanation().words)]
    assert texts[:3] == ["laughed", "thin", "but"]


def test_a_decision_rule_is_answered() -> None:
    """With a threshold the reader learns whether it was met, and for which side the margin speaks."""
    reply = canned.explain_reply()
    reply.prediction.threshold_met = False
    reply.prediction.target_negated = True
    sentence = prediction_sentence(canned.explanation(reply).prediction)
    assert "for not positive; decision rule not met" in sentence


def test_a_map_is_shown_for_a_reason() -> None:
    """The reader learns why this map and not another."""
    assert "the answer's map and the recommended one" in shown_sentence(canned.explanation())
    assert "it is faithful, in place of raw attention" in shown_sentence(
        canned.explanation(canned.recommended_instead())
    )
    assert "no map of this answer is known" in shown_sentence(canned.explanation(canned.not_checked()))


def test_a_stronger_map_is_shown_although_the_answers_own_is_faithful() -> None:
    """Two faithful maps are no contradiction: the better supported one is shown, and the words say so."""
    reply = canned.explain_reply()
    reply.attributions[2].verdict.CopyFrom(canned.verdict(explanation_pb2.FLAG_FAITHFUL, value=0.97))
    reply.recommended_map = explanation_pb2.MAP_KIND_ATTENTION_ROLLOUT
    explanation = canned.explanation(reply)
    assert instead_sentence(explanation) == "Shown below is attention rollout, whose evidence is stronger still."
    assert shown_sentence(explanation).endswith("its evidence is stronger than that of gradient rollout")
    assert instead_sentence(canned.explanation()) == ""


def test_measurements_are_short() -> None:
    """A reader gets three digits, and nothing where nothing was measured."""
    check = canned.explanation().verdict.checks[0]
    assert measurement(check) == "identity difference 0 against 0.0001"
    assert measurement(replace(check, statistic="margin_share", value=80123.4, threshold=None)) == "margin share 80,123"
    assert measurement(replace(check, value=None)) == "—"


def test_the_evidence_of_both_maps_is_looked_at() -> None:
    """Where another map is shown, the answer's own evidence is not forgotten."""
    explanation = canned.explanation(canned.recommended_instead())
    assert [attribution.map for attribution in looked_at(explanation)] == [
        explanation.primary_map,
        explanation.recommended_map,
    ]
    assert len(looked_at(canned.explanation())) == 1


def test_what_limits_an_answer_is_said() -> None:
    """Truncation, grouping and a mismatch with what was acted on are never silent."""
    reply = canned.explain_reply()
    assert notices(canned.explanation(reply)) == ()
    reply.truncated = reply.units_grouped = reply.reported_mismatch = True
    reply.tokens_total, reply.tokens_used = 900, 512
    assert len(notices(canned.explanation(reply))) == 3
    assert "512 of 900 tokens" in notices(canned.explanation(reply))[1]


def test_decision_flips_are_told_apart() -> None:
    """Found, not found, and not searched are three answers."""
    reply = canned.explain_reply()
    assert flip_sentence(canned.explanation(reply)).startswith("Without “laughed” the decision changes")
    reply.decision_flip.CopyFrom(explanation_pb2.DecisionFlip(found=False, sets_tried=8))
    assert flip_sentence(canned.explanation(reply)).startswith("None within budget")
    assert flip_sentence(canned.explanation(canned.not_checked())).startswith("Not searched")


def test_what_is_missing_is_said() -> None:
    """A map that was asked for and could not be made is named with its reason, and so is what is to say of one."""
    reply = canned.explain_reply()
    reply.missing_maps.add(map=explanation_pb2.MAP_KIND_ATTENTION_FLOW, reason="it took too long.")
    reply.attributions[0].note = "Rather flat."
    answer = canned.explanation(reply)
    assert "There is no attention flow: it took too long." in notices(answer)
    assert "Rather flat." in map_notices(answer.attributions[0])


def test_a_pairs_texts_are_judged_each_for_itself() -> None:
    """Both sides are told in one sentence, with alignment and share; of a text alone there is nothing to say."""
    reply = canned.explain_reply()
    verdict = reply.attributions[0].verdict
    verdict.sides.add(segment=0, flag=explanation_pb2.FLAG_FAITHFUL, share=0.75, alignment=0.9, reliability=0.8)
    verdict.sides.add(
        segment=1, flag=explanation_pb2.FLAG_INCONCLUSIVE, reason=explanation_pb2.REASON_FLAT_MAP, share=0.25
    )
    paired, alone, *_ = canned.explanation(reply).attributions
    sentence = side_sentence(paired)
    assert sentence == (
        "Each text for itself: first text: faithful, A +0.90, 75.0\N{NO-BREAK SPACE}% of the map; "
        "second text: inconclusive (flat map), 25.0\N{NO-BREAK SPACE}% of the map."
    )
    assert sentence in map_notices(paired)
    assert side_sentence(alone) == ""
