"""Reading a record is open to who may; reading what is sealed leaves an entry that says who did, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rollcall.audit import merkle, queries, records
from rollcall.audit.archive import Archive
from rollcall.audit.database import Database
from rollcall.audit.events import Note, open_note
from rollcall.audit.notes import Proof, open_checkpoint
from rollcall.audit.schema import NOTE
from rollcall.audit.sealing import KeyEncryptionKey, Sealed
from rollcall.audit.subjects import SubjectKeys
from rollcall.audit.verifying_here import verify_here
from rollcall.domain.errors import Blocked, InvalidInput, LogUnavailable, RecordNotFound
from rollcall.domain.recording import RecordMode
from tests.unit.audit import samples
from tests.unit.audit.archives import ANNA, SIGNER, check, open_archive
from tests.unit.audit.postgres import PostgresServer

RECORD = samples.accepted(0, subject_ref=samples.SUBJECT)


@pytest.fixture
def archive(database: Database) -> Iterator[Archive]:
    """Keep a record about a person, and one with scores only."""
    with open_archive(database, RECORD, samples.accepted(1, RecordMode.SCORES_ONLY)) as opened:
        yield opened


def test_a_record_is_read_as_it_was_logged(archive: Archive) -> None:
    """By its id or its explanation's: the envelope and the entry, byte for byte, and nothing is opened or logged."""
    for name in (RECORD.record_id, "e-0"):
        read = records.read_record(archive, name, (), "", ANNA)
        assert (read.kept.envelope, read.parts, read.access, read.events) == (RECORD.envelope, {}, None, ())
    with pytest.raises(RecordNotFound):
        records.read_record(archive, "e-9", (), "", ANNA)


def test_opening_what_is_sealed_is_logged_with_its_reason(archive: Archive) -> None:
    """Text and names come back; the log says who read which parts, and only the operator's key says why."""
    read = records.read_record(archive, RECORD.record_id, ["input", "references"], "complaint of Xanthippe", ANNA)
    assert json.loads(read.parts["input"])["text"] == samples.TEXT
    assert json.loads(read.parts["references"])["subject_ref"] == samples.SUBJECT
    (event,) = read.events
    body = json.loads(event.body)
    assert (body["type"], body["actor"], body["details"]) == ("access", ANNA, {"parts": ["input", "references"]})
    assert event.leaf_index == read.access == 3
    assert b"Xanthippe" not in event.body
    assert check(archive).problems == []
    with archive.reading() as connection:
        row = connection.execute(NOTE.select()).one()
        key = archive.key_of(connection, RECORD.record_id)
        note = Note(
            key_id=row.key_id,
            wrapped=row.wrapped,
            sealed=Sealed(kind="note", nonce=row.nonce, ciphertext=row.ciphertext),
        )
    assert RECORD.subject_key is not None
    assert row.key_id == key.id == RECORD.subject_key.key_id
    assert open_note(body["event_id"], note, key) == "complaint of Xanthippe"


def test_nothing_is_opened_without_a_reason_or_where_it_is_not(archive: Archive) -> None:
    """No reason, no such part, or another key: nothing is opened, and nothing is logged."""
    with pytest.raises(InvalidInput, match="reason"):
        records.read_record(archive, "e-0", ["input"], "", ANNA)
    with pytest.raises(Blocked, match="does not hold input; it holds scores"):
        records.read_record(archive, "e-1", ["input"], "curious", ANNA)
    archive.subjects = SubjectKeys(operator=KeyEncryptionKey.generate(), find=archive.store.subject_key)
    with pytest.raises(Blocked, match="another encryption key"):
        records.read_record(archive, "e-1", ["scores"], "curious", ANNA)
    with archive.reading() as connection:
        assert records.happened(connection) == ()


def test_an_entry_is_proved_once_it_is_signed(archive: Archive) -> None:
    """The proof leads to a checkpoint that the log's key has signed; older states are shown to be its beginning."""
    index = records.index_of(archive, "e-1")
    with pytest.raises(Blocked, match="not under a checkpoint yet"):
        records.prove(archive, index)
    signed = archive.sign()
    assert archive.sign() == signed
    entry, proof = records.prove(archive, index)
    assert Proof.parse(proof).check(merkle.leaf_hash(entry), [SIGNER.verifier]).size == 3
    with archive.reading() as connection:
        old = merkle.root(queries.node(connection), 2)
    newest, path = records.checkpoint(archive, 2)
    root = open_checkpoint(newest.note, [SIGNER.verifier]).root
    assert merkle.verify_consistency(old=2, new=3, old_root=old, new_root=root, path=path)
    with pytest.raises(InvalidInput, match="between 1 and 3"):
        records.checkpoint(archive, 4)


def test_the_log_verifies_itself(archive: Archive) -> None:
    """The server finds what an auditor would."""
    signed = archive.sign()
    assert verify_here(archive, [signed.note]).problems == []
    with archive.store.opened.begin() as connection:
        connection.exec_driver_sql("DELETE FROM payload WHERE kind = 'scores'")
    problems = {place for place, _ in verify_here(archive, []).problems}
    assert problems == {RECORD.record_id, samples.accepted(1).record_id}


def test_a_database_that_is_away_is_said_to_be(postgres: PostgresServer) -> None:
    """Callers hear that they may come back, and nothing else."""
    with open_archive(postgres.make(), RECORD) as archive:
        postgres.stop()
        try:
            with pytest.raises(LogUnavailable, match="try again later"):
                records.index_of(archive, "e-0")
        finally:
            postgres.start()
        assert records.index_of(archive, "e-0") == 1
