"""Answers whose every text and number is out to do harm, within what the wire can carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

import canned
from rollcall_client._v1 import explanation_pb2

if TYPE_CHECKING:
    from rollcall_client import Explanation

_ATTACKS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "javascript:alert(1)",
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[31m",
    "\x9b2J",
    "\u202egnp.exe\u202c",
    "\u2066\u2069",
    "a\x00b\nc\rd",
    "\u2028\u2029",
    "漢字" * 40,
    "e\u0301" * 50,
    "شالوم",
    "",
    " ",
)
TEXTS = st.sampled_from(_ATTACKS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
_ENUM_NUMBERS = st.integers(0, 12)


@st.composite
def explanations(draw: st.DrawFn) -> Explanation:
    """Answers that keep the contract's shape and nothing else."""
    words = tuple(draw(st.lists(TEXTS, min_size=1, max_size=30)))
    count = len(words)
    weights = st.lists(NUMBERS, min_size=count, max_size=count)
    units = st.lists(st.integers(0, count - 1), max_size=4)
    reply = canned.explain_reply(words=canned.WORDS)
    del reply.units[:]
    reply.units.extend(canned.units(words))
    for position, word in enumerate(reply.units):
        word.segment = int(2 * position >= count)
        word.char_start, word.char_end = draw(st.integers(-5, 50)), draw(st.integers(-5, 50))
    for attribution in reply.attributions:
        del attribution.scores[:]
        attribution.scores.extend(draw(weights))
        verdict = attribution.verdict
        verdict.reason = explanation_pb2.Reason.ValueType(draw(_ENUM_NUMBERS))
        verdict.alignment.value = draw(NUMBERS)
        verdict.calibration.statement = draw(TEXTS)
        verdict.policy_id = draw(TEXTS)
        verdict.thresholds[draw(TEXTS)] = draw(NUMBERS)
        for check in verdict.checks:
            check.statistic, check.detail, check.value = draw(TEXTS), draw(TEXTS), draw(NUMBERS)
            check.outcome = explanation_pb2.CheckOutcome.ValueType(draw(_ENUM_NUMBERS))
        del verdict.witnesses[:]
        verdict.witnesses.add(
            kind=explanation_pb2.CheckKind.ValueType(draw(_ENUM_NUMBERS)),
            map=draw(weights),
            jsd=draw(NUMBERS),
            removed_units=draw(units),
            detail=draw(TEXTS),
        )
    faithful = draw(st.booleans())
    flag = explanation_pb2.FLAG_FAITHFUL if faithful else explanation_pb2.Flag.ValueType(draw(st.integers(2, 9)))
    reply.attributions[0].verdict.flag = flag
    reply.verdict.CopyFrom(reply.attributions[0].verdict)
    reply.recommended_map = explanation_pb2.MapKind.ValueType(
        explanation_pb2.MAP_KIND_GRADIENT_ROLLOUT if faithful else 0
    )
    del reply.effects[:]
    for unit in draw(units):
        reply.effects.add(unit=unit, effect=draw(NUMBERS), standard_error=draw(NUMBERS))
    reply.decision_flip.CopyFrom(
        explanation_pb2.DecisionFlip(found=True, units=draw(units), margins=draw(st.lists(NUMBERS, max_size=3)))
    )
    prediction = reply.prediction
    prediction.predicted = prediction.labels[1] = draw(TEXTS)
    prediction.probabilities[1] = prediction.margin = draw(NUMBERS)
    prediction.target = reply.model.name = reply.model.digest = draw(TEXTS)
    prediction.target_negated = reply.truncated = reply.units_grouped = reply.reported_mismatch = draw(st.booleans())
    reply.timing.stages[0].stage, reply.timing.stages[0].seconds = draw(TEXTS), draw(NUMBERS)
    reply.explanation_id = reply.request_id = draw(TEXTS)
    if draw(st.booleans()):
        reply.attention.CopyFrom(canned.attention(keys=count + 2))
    return canned.explanation(reply)
