"""A real server and the real client for those who ask later."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from rollcall.__main__ import main
from rollcall.audit.merkle import leaf_hash
from rollcall.audit.notes import Proof, Verifier
from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import (
    AuditClient,
    Disposition,
    ErasureGround,
    EventType,
    FailedPrecondition,
    Flag,
    InvalidArgument,
    LogProof,
    MapKind,
    NotFound,
    RecordType,
    ReplayOutcome,
    ReviewState,
    recorded,
)
from rollcall_client.html import render_article
from tests.waiting import wait_until

TEXT = "Zarathustra praised this gloomy masterpiece, although nobody laughed."
PERSON, DECISION = "customer-4712", "application-0815"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A server with three records, and who asks of them."""

    server: ServerProcess
    client: AuditClient
    directory: Path
    explained: str
    decided: str
    other: str


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Record an explanation and a decision about a person, and an explanation about nobody."""
    directory = tmp_path_factory.mktemp("audit") / "log"
    settings = {"ROLLCALL_AUDIT_DIRECTORY": str(directory), "ROLLCALL_AUDIT_CHECKPOINT_SECONDS": "0.2"}
    settings |= {"ROLLCALL_AUDIT_EXPLANATION_DAYS": "200", "ROLLCALL_AUTH_DANGEROUSLY_TRUST_ANYONE": "true"}
    with server_process("--demo", environment=settings) as server, AuditClient(server.target, timeout=120) as client:
        explained = client.explain(TEXT, subject_ref=PERSON)
        decided = client.predict(TEXT, subject_ref=PERSON, decision_ref=DECISION)
        other = client.explain("A dull film.")
        receipts = [answer.audit.record_id if answer.audit else "" for answer in (explained, decided, other)]
        wait_until(lambda: len(client.search().records) == 3)
        yield Desk(
            server=server,
            client=client,
            directory=directory,
            explained=receipts[0],
            decided=receipts[1],
            other=receipts[2],
        )


def test_who_asks_is_told_who_they_are(desk: Desk) -> None:
    """Where nobody has to say who they are, everybody is called the same and may do everything."""
    caller = desk.client.caller()
    assert caller.name == "anyone"
    assert {"auditor", "reviewer", "approver", "officer", "caller"} <= caller.roles


def test_records_are_searched_and_read(desk: Desk) -> None:
    """By a person's name, by what was flagged; a record comes with envelope and entry as they were logged."""
    person = desk.client.search(f'subject = "{PERSON}"')
    assert [found.record_id for found in person.records] == [desk.decided, desk.explained]
    assert [found.type for found in person.records] == [RecordType.DECISION, RecordType.EXPLANATION]
    assert [found.record_id for found in desk.client.records("", page_size=1)] == [
        desk.other,
        desk.decided,
        desk.explained,
    ]
    record = desk.client.record(desk.explained)
    envelope = json.loads(record.envelope)
    assert envelope["verdict"]["flag"].upper() == record.summary.flag.name != Flag.UNSPECIFIED.name
    assert (record.parts, record.access_log_index) == ({}, None)
    with pytest.raises(InvalidArgument, match="filter: expected one of the fields"):
        desk.client.search("text = secret")
    with pytest.raises(NotFound):
        desk.client.record("nothing")


def test_what_is_sealed_is_opened_for_a_reason_only_and_that_is_logged(desk: Desk) -> None:
    """The text comes back to who says why; the log says who it was."""
    with pytest.raises(InvalidArgument, match="reason"):
        desk.client.record(desk.explained, parts=["input"])
    record = desk.client.record(desk.explained, parts=["input", "references"], reason="a complaint")
    assert json.loads(record.parts["input"])["text"] == TEXT
    assert json.loads(record.parts["references"])["subject_ref"] == PERSON
    (event,) = desk.client.events(kind=EventType.ACCESS, record_id=desk.explained)
    assert event.log_index == record.access_log_index
    assert (event.what["actor"], event.what["details"]["parts"]) == ("anyone", ["input", "references"])
    assert record.events == (event,)


def test_a_record_gives_the_answer_back(desk: Desk) -> None:
    """From opened parts the whole answer, but for what only one request knew; from the envelope how it was judged."""
    answer = desk.client.explain(TEXT + " Twice.", maps=[MapKind.RAW_ATTENTION, MapKind.GRADIENT_ROLLOUT])
    assert answer.audit is not None
    name = answer.audit.record_id
    wait_until(lambda: len(desk.client.search(f'record = "{name}"').records) == 1)
    record = desk.client.record(name, parts=["input", "scores"], reason="to compare")
    found = recorded.explanation(record)
    assert found.units == answer.units
    for ours, theirs in zip(found.attributions, answer.attributions, strict=True):
        assert (ours.map, ours.verdict.flag, ours.verdict.reason) == (
            theirs.map,
            theirs.verdict.flag,
            theirs.verdict.reason,
        )
        assert ours.scores == pytest.approx(theirs.scores)
        assert [w.map for w in ours.verdict.witnesses] == [pytest.approx(w.map) for w in theirs.verdict.witnesses]
    assert [e.effect for e in found.effects] == pytest.approx([e.effect for e in answer.effects])
    assert same_words(render_article(found, title="")) == same_words(render_article(answer, title=""))
    judged = recorded.judged(record)
    assert judged.primary is not None
    assert (judged.primary.map, judged.recommended_map) == (answer.primary_map, answer.recommended_map)
    unopened = replace(record, parts={"scores": record.parts["scores"]})
    assert [unit.text for unit in recorded.explanation(unopened).units][:2] == ["[1]", "[2]"]
    with pytest.raises(ValueError, match="without its part scores"):
        recorded.explanation(replace(record, parts={}))
    decided = recorded.judged(desk.client.record(desk.decided))
    assert (decided.primary, decided.maps) == (None, ())
    with pytest.raises(ValueError, match="does not say what it should"):
        recorded.judged(replace(record, envelope="{}"))


def same_words(article: str) -> str:
    """Leave out what is of the request alone, and the time, which the record has with nine digits."""
    return article.partition("<h3>Time</h3>")[0]


def test_entries_are_proved_and_the_log_verified(desk: Desk) -> None:
    """The proof holds without the server; the server finds its own log in order."""
    proof = proved(desk, desk.other)
    key = Verifier.parse((desk.directory / "log.vkey").read_text())
    assert proof.verifier_key == key.line()
    assert Proof.parse(proof.proof).check(leaf_hash(proof.entry.encode()), [key]).size >= 2
    checkpoint = desk.client.checkpoint(1)
    assert checkpoint.size >= 4
    report = desk.client.verify_log([checkpoint.note])
    assert (report.holds, report.problems) == (True, ())
    assert report.entries >= 4


def proved(desk: Desk, record_id: str) -> LogProof:
    """Ask for a proof until the entry is signed."""
    found: list[LogProof] = []

    def signed() -> bool:
        try:
            found.append(desk.client.proof(record_id))
        except FailedPrecondition as error:
            assert error.violations[0][0] == "checkpoint"  # noqa: PT017 - or it is signed
        return bool(found)

    wait_until(signed)
    return found[0]


def test_a_record_comes_to_the_same_again(desk: Desk) -> None:
    """On the same server an explanation and a decision are the same to nine digits, and the log says so."""
    for record_id in (desk.explained, desk.decided):
        replay = desk.client.replay(record_id, "a spot check")
        assert (replay.outcome, replay.differences) == (ReplayOutcome.EXACT, ())
        (event,) = desk.client.events(record_id=record_id, kind=EventType.REPLAY)
        assert (event.log_index, event.what["code"]) == (replay.log_index, "exact")
    assert desk.client.replay(desk.explained, "a check", text=TEXT).outcome is ReplayOutcome.EXACT
    with pytest.raises(InvalidArgument, match="input: is not the one"):
        desk.client.replay(desk.explained, "a check", text=TEXT + " ")


def test_a_decision_is_explained_afterwards(desk: Desk) -> None:
    """On the weights that decided, recorded under the same names, and marked for what it is."""
    explanation = desk.client.explain_record(desk.decided, "an objection")
    assert explanation.retrospective_of == desk.decided
    assert explanation.audit is not None
    record_id = explanation.audit.record_id
    wait_until(lambda: len(desk.client.search(f'record = "{record_id}"').records) == 1)
    assert json.loads(desk.client.record(record_id).envelope)["retrospective_of"] == desk.decided
    found = desk.client.search(f'decision = "{DECISION}" AND subject = "{PERSON}"')
    assert [each.record_id for each in found.records] == [record_id, desk.decided]
    with pytest.raises(FailedPrecondition, match="ReplayRecord"):
        desk.client.explain_record(desk.explained, "an objection")


def test_a_record_is_reviewed_by_two(desk: Desk) -> None:
    """Steps in their order, each with its reason; one person alone does not get to the end."""
    with pytest.raises(NotFound):
        desk.client.review(desk.other)
    desk.client.open_review(desk.other, "the customer objects", case_number="2026/17")
    with pytest.raises(FailedPrecondition, match="the review is open: what can be done is to assign or comment it"):
        desk.client.decide_review(desk.other, Disposition.UPHELD, "fine")
    desk.client.assign_review(desk.other)
    with pytest.raises(InvalidArgument, match="rationale"):
        desk.client.decide_review(desk.other, Disposition.UPHELD, "")
    decided = desk.client.decide_review(desk.other, Disposition.UPHELD, "the words say so")
    assert (decided.state, decided.decided_by, decided.case_number) == (ReviewState.DECIDED, "anyone", "2026/17")
    with pytest.raises(FailedPrecondition, match="second pair of eyes"):
        desk.client.approve_review(desk.other)
    returned = desk.client.return_review(desk.other, "look again")
    assert (returned.state, returned.disposition) == (ReviewState.ASSIGNED, Disposition.UNSPECIFIED)
    assert [step.rationale for step in returned.steps][::2] == ["the customer objects", "the words say so"]
    assert [found.record_id for found in desk.client.reviews(ReviewState.ASSIGNED)] == [desk.other]
    assert desk.client.reviews(ReviewState.CLOSED) == ()
    assert [found.record_id for found in desk.client.search("review = assigned").records] == [desk.other]


def test_a_person_is_erased_unless_held(desk: Desk) -> None:
    """A hold stands in the way; afterwards nothing of the person is left in any file, and the certificate proves it."""
    held = desk.client.place_hold("case 12", "a dispute", record_ids=[desk.explained])
    assert held.records == 1
    with pytest.raises(FailedPrecondition, match="held for: case 12"):
        desk.client.erase_subject(PERSON, ErasureGround.PERSON, "a letter")
    assert desk.client.release_hold("case 12", "settled").records == 1
    with pytest.raises(InvalidArgument, match="reason"):
        desk.client.erase_subject(PERSON, ErasureGround.PERSON, "")
    certificate = desk.client.erase_subject(PERSON, ErasureGround.PERSON, "a letter", idempotency_key="letter 17")
    again = desk.client.erase_subject(PERSON, ErasureGround.PERSON, "the same letter", idempotency_key="letter 17")
    assert (again.erasure_id, again.records, again.event) == (certificate.erasure_id, 3, certificate.event)
    with pytest.raises(FailedPrecondition, match="used for another request"):
        desk.client.erase_subject(PERSON, ErasureGround.MISTAKE, "another", idempotency_key="letter 17")
    with pytest.raises(NotFound):
        desk.client.erase_subject(PERSON, ErasureGround.PERSON, "a letter")
    assert certificate.records == 3
    key = Verifier.parse(certificate.verifier_key)
    assert json.loads(certificate.entry)["event_sha256"] == sha256(certificate.event.encode()).hexdigest()
    Proof.parse(certificate.proof).check(leaf_hash(certificate.entry.encode()), [key])
    assert desk.client.search(f'subject = "{PERSON}"').records == ()
    with pytest.raises(FailedPrecondition, match="erased"):
        desk.client.record(desk.explained, parts=["input"], reason="curious")
    assert desk.client.record(desk.other, parts=["input"], reason="a check").parts
    replay = desk.client.replay(desk.explained, "a check")
    assert (replay.outcome, replay.differences[0].what) == (ReplayOutcome.NOT_REPLAYABLE, "input")
    assert desk.client.verify_log().problems == ()
    wait_until(lambda: [each.stat().st_size for each in desk.directory.glob("spool/*/*.seg")] == [0])


def test_what_was_kept_long_enough_is_named(desk: Desk) -> None:
    """Nothing is so old yet, and without days in the settings everything is kept."""
    found = desk.client.apply_retention(dry_run=True)
    assert (found.erased, found.log_index) == (0, None)
    assert {(row.type, row.days, row.due) for row in found.rows} == {(RecordType.EXPLANATION, 200, 0)}


def test_the_servers_log_tells_calls_and_no_names(desk: Desk) -> None:
    """Calls of auditors are logged like any other; what they search for is not."""
    lines = [json.loads(line) for line in desk.server.log.read_text().splitlines() if line.startswith("{")]
    assert "SearchRecords" in {line.get("method") for line in lines}
    assert PERSON not in desk.server.log.read_text()
    assert "a complaint" not in desk.server.log.read_text()


def test_records_are_taken_away_and_verified_elsewhere(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One zip, whose manifest the log names; it verifies where only cryptography is installed, and quotes nobody."""
    exported = desk.client.export("an inquiry", record_ids=[desk.explained, desk.decided])
    (event,) = desk.client.events(kind=EventType.EXPORT)
    assert (event.log_index, event.what["details"]["manifest_sha256"]) == (
        exported.header.log_index,
        exported.header.manifest_sha256,
    )
    with zipfile.ZipFile(io.BytesIO(exported.zip)) as archive:
        archive.extractall(tmp_path / "evidence")
    files = [path.read_bytes() for path in (tmp_path / "evidence").rglob("*") if path.is_file()]
    assert sha256((tmp_path / "evidence" / "manifest.note").read_bytes()).hexdigest() == exported.header.manifest_sha256
    assert not any(word in data for data in files for word in (b"Zarathustra", PERSON.encode(), DECISION.encode()))
    key = (desk.directory / "log.vkey").read_text().strip()
    assert main(["audit", "verify", str(tmp_path / "evidence"), "--key", key]) == 0
    assert "2 records" in capsys.readouterr().out
    asked = ["audit", "bundle", "--record", desk.other, "--reason", "a check", "--out", str(tmp_path / "one.zip")]
    assert main([*asked, "--target", desk.server.target]) == 0
    assert "1 record under the checkpoint" in capsys.readouterr().out
    assert zipfile.is_zipfile(tmp_path / "one.zip")
    with pytest.raises(InvalidArgument, match="reason"):
        desk.client.export("")
