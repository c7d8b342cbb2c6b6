"""An envelope says everything about an answer but what a person wrote, in bytes that every language makes alike."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from rollcall.audit.canonical import canonical, new_id, timestamp
from rollcall.audit.parts import ATTENTION, INPUT, KEPT, REQUEST, SALT, SCORES, TOKENS, input_part, parts, read_input
from rollcall.audit.record import envelope
from rollcall.audit.sealing import KeyEncryptionKey, SealError, commitment, unseal
from rollcall.domain.explanation import Explanation
from rollcall.domain.inputs import TextInput, TokensInput, Unit, WordRef
from rollcall.domain.maps import MapKind
from rollcall.domain.recording import RecordMode
from rollcall.domain.verdicts import Flag
from tests.unit.audit import samples
from tests.unit.edge import samples as answers

FORBIDDEN = ("Xanthippe", "zucchini", "neighbour", "good", "film", "mail@example.org", "4711")
"""What the caller wrote, and the words that the answer quotes."""
GOLDEN = "9b59f17e1112c9b9ecfae424d0cd87b6bf5b4011f4aeec286d3e8e50a8471b7b"
"""SHA-256 of the sample's envelope without what is random: a change of it is a change of the schema."""


def test_the_envelope_holds_nothing_that_a_person_wrote() -> None:
    """Neither text nor words, ids or labels of the caller's are in the clear, in any mode."""
    for mode in KEPT:
        for told in (
            samples.explained(decision_ref=samples.DECISION, subject_ref=samples.SUBJECT),
            samples.decided(subject_ref=samples.SUBJECT),
        ):
            record = samples.recorded(told, mode=mode)
            clear = record.envelope + record.encode()
            assert [word for word in FORBIDDEN if word.encode() in clear] == []


def test_a_decision_is_recorded_without_a_verdict() -> None:
    """What was decided, on which weights, and whether the caller acted on it, and nothing like an explanation."""
    body = json.loads(samples.recorded(samples.decided()).envelope)
    assert (body["type"], body["verdict"]) == ("decision", None)
    assert body["request"]["reported"] == {"label": "negative", "label_is_known": True, "score": None, "mismatch": True}
    assert body["prediction"]["predicted"] == "positive"
    assert not body.keys() & {"explanation_id", "explanation", "policy"}


def test_names_are_committed_to_under_nonces_that_are_not_signed() -> None:
    """Two records about one person say so nowhere in what is signed; the index says it, to whoever has its key."""
    first, second = (samples.accepted(number, subject_ref=samples.SUBJECT) for number in range(2))
    signed = [json.loads(record.envelope)["integrity"]["references"] for record in (first, second)]
    assert [each["kind"] for each in signed[0]] == ["subject"]
    assert signed[0] != signed[1]
    assert signed[0][0]["commitment"] == first.references[0].commitment
    assert first.references[0].digest == second.references[0].digest
    other = samples.accepted(2, subject_ref="somebody else")
    assert other.references[0].digest != first.references[0].digest


def test_a_subjects_key_opens_all_of_the_subjects_records_and_no_other() -> None:
    """The operator's key opens the subject's, that one the record's, and the envelope names both."""
    record = samples.accepted(subject_ref=samples.SUBJECT)
    integrity = json.loads(record.envelope)["integrity"]
    assert record.subject_key is not None
    subject = KeyEncryptionKey(key=samples.KEY.unwrap(record.subject_key.wrapped))
    assert subject.id == integrity["encryption_key"] == integrity["subject_key"]["id"]
    assert subject.unwrap(record.wrapped_key) == samples.DATA_KEY
    with pytest.raises(SealError):
        samples.KEY.unwrap(record.wrapped_key)


def test_the_envelope_is_canonical() -> None:
    """Writing what was read gives the same bytes, and no number is a float."""
    record = samples.accepted()
    body = json.loads(record.envelope, parse_float=lambda text: pytest.fail(f"{text} is a float"))
    assert canonical(body) == record.envelope
    assert hashlib.sha256(record.envelope).hexdigest() == record.envelope_sha256


def test_the_schema_is_frozen() -> None:
    """The same answer gives the same envelope in every version, but for what is random."""
    body = json.loads(samples.accepted().envelope)
    integrity = body.pop("integrity")
    assert hashlib.sha256(canonical(body)).hexdigest() == GOLDEN
    assert [part["kind"] for part in integrity["parts"]] == [INPUT, REQUEST, TOKENS, SCORES, ATTENTION]


def test_the_verdict_and_what_it_may_be_used_for_are_signed() -> None:
    """Only a FAITHFUL primary map of the very prediction that the caller acted on is usable for a notice."""
    told = samples.explained()
    assert _verdict(told.explanation)["blocked_by"] == ["flag", "mismatch"]
    faithful = replace(told.explanation, primary_map=MapKind.GRADIENT_ROLLOUT)
    assert _verdict(faithful)["blocked_by"] == ["mismatch"]
    usable = _verdict(replace(faithful, reported_mismatch=False))
    assert (usable["usable_for_notice"], usable["flag"], usable["rule"]) == (True, "faithful", "notice@1")
    unchecked = replace(answers.bare_explanation(), reported_mismatch=False)
    assert unchecked.primary.verdict.flag is Flag.NOT_CHECKED
    assert _verdict(unchecked)["usable_for_notice"] is False


def test_numbers_that_are_none_are_words() -> None:
    """A model that answered with NaN leaves a record all the same, and names no heaviest units."""
    told = samples.explained()
    broken = replace(
        told.explanation.attributions[0],
        map=replace(told.explanation.attributions[0].map, scores=np.array([np.nan, np.inf])),
    )
    body = _body(replace(told.explanation, attributions=(broken,), recommended_map=None))
    assert body["explanation"]["maps"][0]["top"] == []


@pytest.mark.parametrize("mode", list(KEPT))
def test_each_mode_keeps_its_parts(mode: RecordMode) -> None:
    """What is kept opens and matches its commitment; what is not kept is committed to, and the salt is always kept."""
    record = samples.accepted(mode=mode, decision_ref=samples.DECISION)
    body = json.loads(record.envelope)
    data_key = samples.KEY.unwrap(record.wrapped_key)
    opened = {sealed.kind: unseal(data_key, record.record_id, sealed) for sealed in record.payloads}
    salt = opened.pop(SALT)
    contents = parts(samples.explained(decision_ref=samples.DECISION))
    assert salt == samples.SALT
    assert opened.keys() == KEPT[mode]
    for part in body["integrity"]["parts"]:
        kind = part["kind"]
        assert part["commitment"] == commitment(salt, kind, contents[kind])
        assert (part["sealed_sha256"] is not None) == (kind in KEPT[mode])
        assert opened.get(kind, contents[kind]) == contents[kind]


def test_an_input_can_be_shown_to_be_the_one() -> None:
    """Whoever brings the input makes the same bytes, and another input makes others."""
    given = TextInput(text=samples.TEXT, text_pair="and her neighbour")
    assert input_part(given) == parts(samples.explained())[INPUT]
    assert input_part(TextInput(text=samples.TEXT)) != input_part(given)
    assert json.loads(input_part(TokensInput(input_ids=(1, 2)))) == {"input_ids": [1, 2]}


@pytest.mark.parametrize("word", [None, WordRef(index=0), WordRef(character=0)])
@pytest.mark.parametrize("given", [TextInput(text="a b"), TokensInput(input_ids=(1, 2))])
def test_the_word_that_is_asked_about_is_part_of_the_input(
    given: TextInput | TokensInput, word: WordRef | None
) -> None:
    """An input is read back with its word; one without is written as it was before there were any."""
    asked = replace(given, word=word)
    assert read_input(input_part(asked)) == asked
    assert (input_part(asked) == input_part(given)) == (word is None)


def test_a_record_says_where_the_word_is() -> None:
    """Its unit and its place, and nothing of what it says; other records have no such entry."""
    told = samples.explained()
    assert "word" not in envelope(told, samples.WHERE, {})["input"]
    word = Unit(text="hated", token_start=2, token_end=4, char_start=10, char_end=15, segment=0)
    body = envelope(replace(told, encoding=replace(told.encoding, word=word)), samples.WHERE, {})
    assert body["input"]["word"] == {"unit": 1, "tokens": [2, 4], "characters": [10, 15]}
    asked = replace(told.request, input=TextInput(text=samples.TEXT, word=WordRef(character=10)))
    assert envelope(replace(told, request=asked), samples.WHERE, {})["request"]["word"] == {"character": 10}
    assert "word" not in body["request"]


def test_odd_characters_are_written() -> None:
    """Half of a surrogate pair is none of ours to lose."""
    assert b"\xed\xa0\x80" in input_part(TextInput(text="\ud800"))


def test_record_ids_sort_by_time() -> None:
    """Ids are UUIDs of version 7, and later ones are larger."""
    ids = [new_id(at, bytes([255] * 10)) for at in (1.0, 1.001, 1_764_000_000.0, 4_000_000_000.0)]
    assert ids == sorted(ids)
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(7, "specified in RFC 4122")}


def test_times_have_three_decimals() -> None:
    """RFC 3339 in UTC, milliseconds always there."""
    assert (timestamp(0.0), timestamp(1_764_000_000.1239)) == ("1970-01-01T00:00:00.000Z", "2025-11-24T16:00:00.123Z")


def _body(explanation: Explanation) -> dict[str, Any]:
    told = replace(samples.explained(), explanation=explanation)
    body: dict[str, Any] = json.loads(canonical(envelope(told, samples.WHERE, {})))
    return body


def _verdict(explanation: Explanation) -> dict[str, Any]:
    verdict: dict[str, Any] = _body(explanation)["verdict"]
    return verdict
