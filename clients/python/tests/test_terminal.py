"""What a person reads at a terminal."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import canned
from hostile import explanations
from rollcall_client._screen import width_of
from rollcall_client._v1 import explanation_pb2
from rollcall_client.terminal import render

if TYPE_CHECKING:
    from rollcall_client import Explanation

OWN_COLOURS = re.compile(r"\x1b\[[0-9;]+m")
HEAT = re.compile(r"\x1b\[38;5;16;48;5;\d+m")
UNTRUSTED = [
    canned.verdict(explanation_pb2.FLAG_UNFAITHFUL, value=-0.4),
    canned.verdict(explanation_pb2.FLAG_INCONCLUSIVE, explanation_pb2.REASON_LOW_POWER, value=0.3),
    canned.unchecked(),
    canned.verdict(explanation_pb2.Flag.ValueType(99)),
]


def test_the_verdict_comes_first() -> None:
    """Flag, sentence, policy and promise stand before everything else, in this order."""
    text = render(canned.explanation(), color=False, width=100)
    headings = [
        "FAITHFUL",
        "This map may be relied on",
        "Policy standard@1. Calibration reviews-3",
        "Prediction: positive, 87.3",
        "Map shown",
        "Measured effects",
        "Smallest change of the decision",
        "All maps",
        "Checks of gradient rollout",
        "Time",
    ]
    positions = [text.index(heading) for heading in headings]
    assert positions == sorted(positions)
    assert text.lstrip().startswith("FAITHFUL")


def test_a_faithful_map_is_coloured_and_marked() -> None:
    """Its words carry colour, and the heavy ones their share, so that it can be read without colour."""
    explanation = canned.explanation()
    assert HEAT.search(render(explanation, color=True, width=100))
    plain = render(explanation, color=False, width=100)
    assert "laughed⟨46\N{NO-BREAK SPACE}%⟩ all evening." in plain
    assert "[FAITHFUL: may be relied on]" in plain
    assert "do not rely on this map" not in plain.lower().split("all maps")[0]


@pytest.mark.parametrize("verdict", UNTRUSTED, ids=["unfaithful", "inconclusive", "not checked", "from the future"])
def test_any_other_map_is_no_picture(verdict: explanation_pb2.Verdict) -> None:
    """No colour on any word, no mark in the text, a plain warning, and weights as numbers for the record."""
    explanation = canned.explanation(canned.explain_reply(verdict))
    assert not HEAT.search(render(explanation, color=True, width=100))
    plain = render(explanation, color=False, width=100)
    warning = "nobody measured" if verdict.flag == explanation_pb2.FLAG_NOT_CHECKED else "do not rely on this map]"
    assert warning in plain
    assert "⟨" not in plain
    assert "for the record only" in plain


def test_a_recommended_map_is_shown_in_place_of_an_unfaithful_one() -> None:
    """The answer is UNFAITHFUL in its first line, and the picture is the faithful map's."""
    text = render(canned.explanation(canned.recommended_instead()), color=False, width=200)
    assert text.lstrip().startswith("UNFAITHFUL  raw attention")
    assert "Shown below in its place is gradient rollout, which may be relied on." in text
    assert "gradient rollout, the recommended map: it is faithful, in place of raw attention" in text
    assert "Checks of raw attention" in text
    assert "Counterexample (rewiring)" in text


def test_thorough_checks_stand_apart() -> None:
    """They have a section that says they do not decide; the adversary's map says what it proves and what not."""
    text = render(canned.explanation(canned.thorough()), color=False, width=200)
    decisive, apart = text.split("Thorough checks")
    assert "knock out" not in decisive
    assert "Numbers and witnesses beside the flag; none of them decides." in apart
    assert re.search(r"knock out +supports the map +drop renormalised against equal size 2.48 +0.050 +51", apart)
    assert re.search(r"erasure +measured +normalised sufficiency aopc 0.031 +— +0", apart)
    assert "Heads: layer 1 head 2, layer 0 head 3." in text
    assert "proof that such maps exist, not that this one is wrong" in apart
    assert "Counterexample (adversary)" not in text
    assert "Thorough checks" not in render(canned.explanation(), color=False, width=200)


def test_long_texts_end_somewhere() -> None:
    """Tables stop after twenty words and say how many are left."""
    words = tuple(f"word{number}" for number in range(30))
    reply = canned.explain_reply(canned.unchecked())
    del reply.units[:], reply.effects[:]
    reply.ClearField("decision_flip")
    reply.units.extend(canned.units(words))
    for attribution in reply.attributions:
        del attribution.scores[:], attribution.verdict.witnesses[:]
        attribution.scores.extend([1 / 30] * 30)
    for unit in range(30):
        reply.effects.add(unit=unit, effect=unit, standard_error=1)
    text = render(canned.explanation(reply), color=False, width=80)
    assert "and 10 lighter words" in text
    assert "and 10 weaker words" in text


@pytest.mark.parametrize("width", [10, 64, 79, 200])
def test_lines_fit(width: int) -> None:
    """No line is wider than asked for, apart from single words that are."""
    for line in render(canned.explanation(canned.recommended_instead()), color=False, width=width).splitlines():
        assert width_of(line) <= max(width, 64) or canned.DIGEST in line


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(explanations(), st.booleans(), st.integers(20, 120))
def test_nothing_hostile_reaches_the_terminal(explanation: Explanation, color: bool, width: int) -> None:  # noqa: FBT001 - drawn
    """Whatever the texts and numbers are, only our own colours command the terminal."""
    text = OWN_COLOURS.sub("", render(explanation, color=color, width=width)) if color else ""
    text += render(explanation, color=False, width=width)
    dangerous = {character for character in text if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}}
    assert dangerous <= {"\n"}
    assert not {character for character in text if unicodedata.bidirectional(character) in {"RLO", "LRO", "RLI", "PDI"}}
