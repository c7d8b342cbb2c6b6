"""A real server keeps a log: what was explained is proved, and what was written appears nowhere in the clear."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from rollcall.audit import queries
from rollcall.audit.canonical import canonical
from rollcall.audit.database import reading
from rollcall.audit.references import ReferenceKind, index_digest
from rollcall.audit.sealing import KeyEncryptionKey, Sealed, commitment, index_key, unseal
from rollcall.audit.verify import HOLDS, main
from rollcall.demo.server import server_process
from rollcall_client import AuditChoice, Client, Explanation, PredictResult, RecordMode, RecordState

TEXT = "Zarathustra praised this gloomy masterpiece, although nobody laughed."
DECISION, PERSON = "application-0815", "customer-4712"
CONTENT = ("Zarathustra", "gloomy", "masterpiece", "laughed", "praised")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A server that has stopped, what it answered, and what it left behind."""

    directory: Path
    explanation: Explanation
    again: Explanation
    unrecorded: Explanation
    decided: PredictResult
    undecided: PredictResult
    server_log: str
    metrics: str

    def rows(self, query: str) -> list[sqlite3.Row]:
        """Ask the log's database."""
        with closing(sqlite3.connect(self.directory / "log.db")) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Explain one text twice and once without a record; then stop the server."""
    directory = tmp_path_factory.mktemp("audit") / "log"
    settings = {"ROLLCALL_AUDIT_DIRECTORY": str(directory), "ROLLCALL_AUDIT_ORIGIN": "log.example/test"}
    with server_process("--demo", environment=settings) as server:
        with Client(server.target, timeout=120) as client:
            answers = [
                client.explain(TEXT, request_id="ticket-4711", subject_ref=PERSON),
                client.explain(TEXT, decision_ref=DECISION, subject_ref=PERSON),
                client.explain(TEXT, audit=AuditChoice.OFF),
            ]
            label = answers[0].prediction.predicted
            other = next(each for each in answers[0].prediction.labels if each != label)
            decided = client.predict(TEXT, decision_ref=DECISION, subject_ref=PERSON, reported_label=other)
            undecided = client.predict(TEXT, reported_label=label)
        metrics = server.metrics()
        assert server.stop() == 0
        log = server.log.read_text()
    return Kept(
        directory=directory,
        explanation=answers[0],
        again=answers[1],
        unrecorded=answers[2],
        decided=decided,
        undecided=undecided,
        server_log=log,
        metrics=metrics,
    )


def test_the_receipt_leads_to_the_record(kept: Kept) -> None:
    """A caller holds a receipt whose digest is that of the record's envelope; the log verifies."""
    receipt = kept.explanation.audit
    assert receipt is not None
    assert (receipt.state, receipt.mode) == (RecordState.SPOOLED, RecordMode.FULL)
    (row,) = kept.rows(f"SELECT * FROM record WHERE record_id = '{receipt.record_id}'")
    body = json.loads(row["envelope"])
    assert canonical(body) == row["envelope"]
    assert body["explanation_id"] == kept.explanation.explanation_id
    assert body["verdict"]["flag"] == kept.explanation.verdict.flag.name.lower()
    assert body["model"]["digest"] == kept.explanation.model.digest
    assert body["explanation"]["seed"] == str(kept.explanation.seed)
    entries = kept.rows("SELECT entry FROM leaf ORDER BY leaf_index")
    assert len(entries) == 4
    assert receipt.envelope_sha256 in entries[1]["entry"].decode()
    assert main([str(kept.directory), "--key", str(kept.directory / "log.vkey")]) == HOLDS


def test_a_request_without_a_record_leaves_none(kept: Kept) -> None:
    """Whoever asks for no record gets none, and a receipt that says so."""
    receipt = kept.unrecorded.audit
    assert receipt is not None
    assert (receipt.state, receipt.record_id) == (RecordState.NOT_RECORDED, "")
    assert 'rollcall_audit_records_total{outcome="not_recorded"} 1.0' in kept.metrics
    assert 'rollcall_audit_records_total{outcome="recorded"} 3.0' in kept.metrics


def test_nothing_that_was_written_is_in_the_clear(kept: Kept) -> None:
    """No file of the log, no line of the service's log and no metric holds a word of the text, in any usual coding."""
    found = {path: path.read_bytes() for path in kept.directory.rglob("*") if path.is_file()}
    found[Path("server.log")] = kept.server_log.encode()
    found[Path("metrics")] = kept.metrics.encode()
    codings = [word.encode(coding) for word in CONTENT for coding in ("utf-8", "utf-16-le")]
    codings += [base64.b64encode(TEXT.encode())[:20]]
    assert [(path, code) for path, data in found.items() for code in codings if code in data] == []
    files = (data for path, data in found.items() if path.is_absolute())
    assert not any(b"ticket-4711" in data for data in files)
    names = (DECISION, PERSON)
    assert [(path, name) for path, data in found.items() for name in names if name.encode() in data] == []


def test_the_operators_key_opens_the_record(kept: Kept) -> None:
    """With the encryption key the text comes back, and is what the envelope commits to."""
    assert kept.explanation.audit is not None
    record_id = kept.explanation.audit.record_id
    key = KeyEncryptionKey.parse((kept.directory / "encryption.key").read_text())
    (row,) = kept.rows(f"SELECT * FROM data_key WHERE record_id = '{record_id}'")
    (subject,) = kept.rows(f"SELECT * FROM subject_key WHERE key_id = '{row['key_id']}'")
    data_key = KeyEncryptionKey(key=key.unwrap(subject["wrapped"])).unwrap(row["wrapped"])
    opened = {
        row["kind"]: unseal(
            data_key, record_id, Sealed(kind=row["kind"], nonce=row["nonce"], ciphertext=row["ciphertext"])
        )
        for row in kept.rows(f"SELECT * FROM payload WHERE record_id = '{record_id}'")
    }
    assert json.loads(opened["input"]) == {"text": TEXT, "text_pair": None}
    assert json.loads(opened["request"])["request_id"] == "ticket-4711"
    (envelope,) = kept.rows(f"SELECT envelope FROM record WHERE record_id = '{record_id}'")
    for part in json.loads(envelope["envelope"])["integrity"]["parts"]:
        assert part["commitment"] == commitment(opened["salt"], part["kind"], opened[part["kind"]])


def test_the_same_text_again_is_another_record(kept: Kept) -> None:
    """Nobody sees from the log that two records are about the same text: commitments differ by their salts."""
    rows = kept.rows("SELECT envelope FROM record WHERE type = 'explanation'")
    bodies = [json.loads(row["envelope"]) for row in rows]
    first, second = ({part["commitment"] for part in body["integrity"]["parts"]} for body in bodies)
    assert not first & second
    assert kept.explanation.audit != kept.again.audit


def test_a_decision_is_recorded_where_it_is_named(kept: Kept) -> None:
    """Predict leaves a record if the caller names the decision, and says where the caller acted on something else."""
    receipt = kept.decided.audit
    assert receipt is not None
    assert (receipt.state, kept.decided.reported_mismatch) == (RecordState.SPOOLED, True)
    (row,) = kept.rows(f"SELECT * FROM record WHERE record_id = '{receipt.record_id}'")
    assert (row["type"], row["flag"], row["mismatch"]) == ("decision", None, 1)
    assert json.loads(row["envelope"])["prediction"]["predicted"] == kept.decided.prediction.predicted
    assert (kept.undecided.audit, kept.undecided.reported_mismatch) == (None, False)
    assert 'rollcall_prediction_mismatch_total{model="demo"} 1.0' in kept.metrics


def test_whoever_knows_the_name_finds_the_records(kept: Kept) -> None:
    """The index holds no name, and gives the records of one to who has it and the key; a person has one key."""
    index = index_key(KeyEncryptionKey.parse((kept.directory / "encryption.key").read_text()))
    with reading(kept.directory / "log.db") as connection:
        person = queries.named(connection, ReferenceKind.SUBJECT, index_digest(index, ReferenceKind.SUBJECT, PERSON))
        decision = queries.named(
            connection, ReferenceKind.DECISION, index_digest(index, ReferenceKind.DECISION, DECISION)
        )
    assert person == [
        answer.audit and answer.audit.record_id for answer in (kept.explanation, kept.again, kept.decided)
    ]
    assert decision == person[1:]
    assert len(kept.rows("SELECT * FROM subject_key")) == 1
