"""Whoever need not know who a person is sees a record's text with masks in it, at the places where they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.database import FILE
from rollcall.audit.events import EventKind
from rollcall.audit.exporting import export_records
from rollcall.audit.parts import parts
from rollcall.audit.record import Explained
from rollcall.audit.records import happened, read_record
from rollcall.audit.redacting import MASK, Recognisers
from rollcall.domain.errors import Blocked
from rollcall.domain.inputs import TextInput, TokensInput, Unit
from rollcall.domain.recording import RecordMode
from tests.unit.audit import samples
from tests.unit.audit.archives import ANNA, check, open_archive

TEXT, PAIR = "Write to xanthippe@example.org today", "or C-123456"
WHY = "a complaint"


def told(given: TextInput | TokensInput) -> Explained:
    """Explain an input, whose units are its words."""
    found = samples.explained()
    request = replace(found.request, input=given, request_id="xanthippe@example.org")
    units = [
        Unit(text=word, token_start=i, token_end=i + 1, char_start=at, char_end=at + len(word), segment=segment)
        for segment, text in enumerate((TEXT, PAIR))
        for i, (word, at) in enumerate((word, text.index(word)) for word in text.split())
    ]
    return replace(
        found, request=request, explanation=replace(found.explanation, units=tuple(units), explanation_id="e")
    )


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Keep a record with a person's address and customer number, one of token ids, and one without its text."""
    ids = told(TokensInput(input_ids=(101, 7, 102)))
    records = (
        samples.recorded(told(TextInput(text=TEXT, text_pair=PAIR))),
        samples.recorded(replace(ids, explanation=replace(ids.explanation, explanation_id="ids")), 1),
        samples.accepted(2, RecordMode.SCORES_ONLY),
    )
    with open_archive(tmp_path / FILE, *records) as opened:
        opened.recognisers = Recognisers.parse("customer = 'C-\\d{6}'")
        yield opened


def test_texts_are_shown_masked_and_their_units_stay(archive: Archive) -> None:
    """As long as they were, so that each unit is where it was; what was hidden is said, and who read it is logged."""
    read = read_record(archive, "e", ["input", "request", "scores"], WHY, ANNA, hide=True)
    shown, open_text = (
        json.loads(read.parts["input"]),
        json.loads(parts(told(TextInput(text=TEXT, text_pair=PAIR)))["input"]),
    )
    assert shown == {"text": f"Write to {MASK * 21} today", "text_pair": f"or {MASK * 8}"}
    assert [len(shown[name]) for name in shown] == [len(open_text[name]) for name in shown]
    assert json.loads(read.parts["request"])["request_id"] == MASK * 21
    assert [(each.part, each.name, each.span.what) for each in read.redactions] == [
        ("input", "text", "mail"), ("input", "text_pair", "customer"), ("request", "request_id", "mail"),
    ]  # fmt: skip
    units = json.loads(read.parts["scores"])["units"]
    assert [shown["text"][start:end] for _, _, start, end, segment in units if segment == 0][-1] == "today"
    body = json.loads(read.events[0].body)
    assert (body["code"], body["details"]) == ("masked", {"parts": ["input", "request", "scores"]})


@pytest.mark.parametrize(("name", "kind"), [("e", "tokens"), ("e", "salt"), ("ids", "input")])
def test_what_tells_the_text_otherwise_is_not_shown_masked(archive: Archive, name: str, kind: str) -> None:
    """Token ids are the text, and the salt lets one test guesses; nothing is opened or logged."""
    with pytest.raises(Blocked, match="cannot be masked"):
        read_record(archive, name, [kind], WHY, ANNA, hide=True)
    with archive.reading() as connection:
        assert happened(connection) == ()


def test_an_operator_may_have_nothing_shown_without_masks(archive: Archive) -> None:
    """Then only what is masked is opened."""
    archive.unmasked = False
    with pytest.raises(Blocked, match="masked only"):
        read_record(archive, "e", ["input"], WHY, ANNA)
    assert read_record(archive, "e", ["input"], WHY, ANNA, hide=True).redactions
    assert read_record(archive, "e", (), "", ANNA).parts == {}


def test_pages_of_an_export_show_masked_words(archive: Archive) -> None:
    """Where the text is held and was asked for; each opening has an entry beside that of the export."""
    plain = export_records(archive, [], "", WHY, ANNA).bundle
    assert not any(b"today" in data for data in plain.files.values())
    exported = export_records(archive, [], "", WHY, ANNA, texts=True)
    pages = {name: data.decode() for name, data in exported.bundle.files.items() if name.startswith("pages/")}
    with archive.reading() as connection:
        record_id = queries.find(connection, "e")
        opened = happened(connection, kind=EventKind.ACCESS)
    assert f"Write to {MASK * 21} today or {MASK * 8}" in pages[f"pages/{record_id}.html"]
    assert [name for name, page in pages.items() if "today" in page] == [f"pages/{record_id}.html"]
    assert not any(b"xanthippe" in data or b"C-123456" in data for data in exported.bundle.files.values())
    assert b"texts masked, in pages" in exported.bundle.files["manifest.note"]
    (event,) = opened
    assert json.loads(event.body)["record_id"] == record_id
    assert json.loads(event.body)["code"] == "export"
    assert event.leaf_index < exported.log_index
    assert check(archive).problems == []
