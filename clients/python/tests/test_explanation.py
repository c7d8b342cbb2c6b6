"""The questions that one asks an answer."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING

import pytest

import canned
from rollcall_client import Flag, MapKind, Reason
from rollcall_client._v1 import explanation_pb2

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_flag_is_the_primary_maps() -> None:
    """The answer's flag and reason speak of the primary map."""
    verdict = canned.verdict(explanation_pb2.FLAG_INCONCLUSIVE, explanation_pb2.REASON_BUDGET)
    explanation = canned.explanation(canned.explain_reply(verdict))
    assert (explanation.flag, explanation.reason) == (Flag.INCONCLUSIVE, Reason.BUDGET)
    assert explanation.primary.map is MapKind.GRADIENT_ROLLOUT


def test_the_recommended_map_is_shown() -> None:
    """An unfaithful primary map gives way to a faithful one."""
    explanation = canned.explanation(canned.recommended_instead())
    assert explanation.flag is Flag.UNFAITHFUL
    assert explanation.shown.map is MapKind.GRADIENT_ROLLOUT
    assert explanation.shown.verdict.flag is Flag.FAITHFUL


def test_without_a_recommended_map_the_primary_is_shown() -> None:
    """There is always a map to show, and its flag says what it is worth."""
    explanation = canned.explanation(canned.explain_reply(canned.verdict(explanation_pb2.FLAG_UNFAITHFUL)))
    assert explanation.shown is explanation.primary


def test_words_carry_weight_and_effect() -> None:
    """Each word has its weight in the map and its measured effect."""
    explanation = canned.explanation()
    word = explanation.words[7]
    assert (word.unit.text, word.score) == ("laughed", 0.46)
    assert word.effect is not None
    assert word.effect.effect == 2.87
    raw = explanation.attribution(MapKind.RAW_ATTENTION)
    assert raw is not None
    assert explanation.words_of(raw)[7].score == 0.02


def test_an_absent_map_is_none() -> None:
    """Asking for a map that is not there is no error."""
    assert canned.explanation().attribution(MapKind.NORM_ROLLOUT) is None


def test_an_unchecked_answer_has_no_effects() -> None:
    """Nothing measured is None, not zero."""
    explanation = canned.explanation(canned.not_checked())
    assert explanation.flag is Flag.NOT_CHECKED
    assert {word.effect for word in explanation.words} == {None}
    assert explanation.decision_flip is None
    assert explanation.verdict.alignment is None
    assert explanation.verdict.calibration is None


def test_a_newer_service_does_not_break_an_older_client() -> None:
    """Unknown kinds of maps, checks and reasons are kept; an unknown flag is not FAITHFUL."""
    reply = canned.explain_reply()
    reply.attributions[1].map = explanation_pb2.MapKind.ValueType(41)
    reply.attributions[1].verdict.flag = explanation_pb2.Flag.ValueType(42)
    reply.attributions[1].verdict.checks[0].kind = explanation_pb2.CheckKind.ValueType(43)
    attribution = canned.explanation(reply).attribution(MapKind(41))
    assert attribution is not None
    assert (attribution.verdict.flag.value, attribution.verdict.checks[0].kind.name) == (42, "UNKNOWN_43")


def _drop_primary(reply: explanation_pb2.ExplainResponse) -> None:
    del reply.attributions[0]


def _praise(reply: explanation_pb2.ExplainResponse) -> None:
    reply.attributions[0].verdict.flag = explanation_pb2.FLAG_UNFAITHFUL


def _recommend_unfaithful(reply: explanation_pb2.ExplainResponse) -> None:
    reply.recommended_map = explanation_pb2.MAP_KIND_RAW_ATTENTION


def _recommend_absent(reply: explanation_pb2.ExplainResponse) -> None:
    reply.recommended_map = explanation_pb2.MAP_KIND_NORM_ROLLOUT


def _point_nowhere(reply: explanation_pb2.ExplainResponse) -> None:
    reply.effects[0].unit = 99


def _flip_nowhere(reply: explanation_pb2.ExplainResponse) -> None:
    reply.decision_flip.units.append(-1)


def _shorten_twin(reply: explanation_pb2.ExplainResponse) -> None:
    del reply.attributions[1].verdict.witnesses[0].map[0]


def _mangle_tensor(reply: explanation_pb2.ExplainResponse) -> None:
    reply.attention.CopyFrom(canned.attention())
    reply.attention.tensor.data = b"\x00"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_drop_primary, "not among the maps"),
        (_praise, "the answer is FAITHFUL, its primary map UNFAITHFUL"),
        (_recommend_unfaithful, "not a faithful one"),
        (_recommend_absent, "not a faithful one"),
        (_point_nowhere, "none of 11 units"),
        (_flip_nowhere, "none of 11 units"),
        (_shorten_twin, "one weight for each"),
        (_mangle_tensor, "cannot have 1 bytes"),
    ],
)
def test_contradictions_are_refused(spoil: Callable[[explanation_pb2.ExplainResponse], None], says: str) -> None:
    """An answer whose pieces contradict each other reaches nobody."""
    reply = canned.explain_reply()
    spoil(reply)
    with pytest.raises(ValueError, match=says):
        canned.explanation(reply)


def test_becomes_json() -> None:
    """The whole answer survives strict JSON: names for enums, strings for seeds and for what is no number."""
    reply = canned.recommended_instead()
    reply.attributions[0].verdict.alignment.p_up = float("nan")
    reply.attributions[0].verdict.alignment.p_low = float("-inf")
    reply.attributions[0].verdict.alignment.width = float("inf")
    written = canned.explanation(reply).to_dict()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert written["seed"] == "11400714819323198485"
    assert written["recommended_map"] == "GRADIENT_ROLLOUT"
    alignment = written["attributions"][0]["verdict"]["alignment"]  # type: ignore[index, call-overload]  # of JSON
    assert [alignment[name] for name in ("p_up", "p_low", "width")] == ["NaN", "-Infinity", "Infinity"]  # type: ignore[index, call-overload]  # of JSON


def test_can_be_copied_and_pickled() -> None:
    """Answers travel between processes, also with flags that are not known here."""
    reply = canned.recommended_instead()
    reply.attributions[2].verdict.flag = explanation_pb2.Flag.ValueType(42)
    explanation = canned.explanation(reply)
    assert pickle.loads(pickle.dumps(explanation)) == copy.deepcopy(explanation) == explanation  # noqa: S301 - its own
