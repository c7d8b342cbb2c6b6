"""A real server that knows who asks: each does what is theirs to do, and it takes two to close a review."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollcall.demo.server import ServerProcess, server_process
from rollcall.edge.access.callers import token_digest
from rollcall_client import (
    AccessDenied,
    AuditClient,
    Caller,
    Disposition,
    ErasureGround,
    FailedPrecondition,
    ReviewState,
)
from tests.waiting import wait_until

PEOPLE = {who: who for who in ("caller", "auditor", "reviewer", "approver", "officer")} | {"second": "reviewer"}
"""Roles by name."""
TEXT = "Zarathustra praised this gloomy masterpiece."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Know one person for each role, called after it, and a second reviewer."""
    folder = tmp_path_factory.mktemp("roles")
    people = [
        f'[{who}]\nroles = ["{role}"]\ntoken_sha256 = "{token_digest(f"token-of-{who}")}"\n'
        for who, role in PEOPLE.items()
    ]
    (folder / "callers.toml").write_text("".join(people))
    settings = {
        "ROLLCALL_AUDIT_DIRECTORY": str(folder / "log"),
        "ROLLCALL_AUTH_CALLERS": str(folder / "callers.toml"),
        "ROLLCALL_AUDIT_REVIEW_MISMATCH": "true",
        "ROLLCALL_AUDIT_REVIEW_SECOND_SHARE": "1",
    }
    with server_process("--demo", environment=settings) as process:
        yield process


def ask(server: ServerProcess, who: str) -> AuditClient:
    """Connect as somebody."""
    return AuditClient(server.target, timeout=120, token=f"token-of-{who}")


@pytest.fixture(scope="module")
def record(server: ServerProcess) -> str:
    """Have a decision explained; return its record."""
    with ask(server, "caller") as caller, ask(server, "auditor") as auditor:
        receipt = caller.explain(TEXT, decision_ref="d-1", subject_ref="s-1").audit
        assert receipt is not None
        wait_until(lambda: len(auditor.search().records) == 1)
    return receipt.record_id


def test_it_takes_two_to_close_a_review(server: ServerProcess, record: str) -> None:
    """A reviewer decides and may not approve, an approver approves, and the log has both by their names."""
    with ask(server, "reviewer") as reviewer, ask(server, "approver") as approver:
        reviewer.open_review(record, "the customer objects")
        reviewer.assign_review(record)
        decided = reviewer.decide_review(record, Disposition.OVERTURNED, "the words say otherwise")
        assert (decided.second_due, decided.disposition) == (True, Disposition.UNSPECIFIED)
        with pytest.raises(AccessDenied):
            reviewer.approve_review(record)
        with pytest.raises(FailedPrecondition, match="second opinion"):
            approver.approve_review(record)
        with ask(server, "second") as second:
            seconded = second.second_review(record, Disposition.UPHELD, "the words do not")
        assert (seconded.disposition, seconded.second_disposition) == (Disposition.OVERTURNED, Disposition.UPHELD)
        read = approver.record(record)
        assert (read.summary.record_id, len(read.events)) == (record, 4)
        with pytest.raises(AccessDenied, match="opening sealed parts needs the role auditor or reviewer"):
            approver.record(record, parts=["input"], reason="curious")
        closed = approver.approve_review(record)
        found = approver.review_statistics()
        assert (found.states[ReviewState.CLOSED], found.second_opinions, found.agreed) == (1, 1, 0)
    assert (closed.state, closed.decided_by, closed.approved_by) == (ReviewState.CLOSED, "reviewer", "approver")


def test_a_rule_opens_a_review(server: ServerProcess) -> None:
    """A caller who acted on something else than the model says is looked into without anybody asking."""
    with ask(server, "caller") as caller, ask(server, "auditor") as auditor:
        told = caller.predict(TEXT, decision_ref="d-2")
        other = next(label for label in told.prediction.labels if label != told.prediction.predicted)
        receipt = caller.predict(TEXT, decision_ref="d-3", reported_label=other).audit
        assert receipt is not None
        wait_until(lambda: len(auditor.search('decision = "d-3"').records) == 1)
        review = auditor.review(receipt.record_id)
        assert (review.rules, review.steps[0].actor, review.state) == (("mismatch",), "\u00a7 server", ReviewState.OPEN)
        assert review.due_at is not None
        assert [each.record_id for each in auditor.reviews(ReviewState.OPEN)] == [receipt.record_id]
        assert auditor.reviews(overdue_only=True) == ()


@pytest.mark.parametrize("who", PEOPLE)
def test_everybody_is_told_who_they_are(server: ServerProcess, who: str) -> None:
    """The name that the log will have for them, and their roles."""
    with ask(server, who) as client:
        assert client.caller() == Caller(name=who, roles=frozenset({PEOPLE[who]}))


def test_each_does_what_is_theirs_to_do(server: ServerProcess, record: str) -> None:
    """Callers read no records, auditors erase none, officers open no texts."""
    with ask(server, "caller") as caller, pytest.raises(AccessDenied):
        caller.search()
    with ask(server, "auditor") as auditor:
        assert auditor.record(record, parts=["input"], reason="an inquiry").events[0].what["actor"] == "auditor"
        with pytest.raises(AccessDenied):
            auditor.erase_record(record, ErasureGround.MISTAKE, "none of my business")
    with ask(server, "officer") as officer:
        with pytest.raises(AccessDenied):
            officer.record(record, parts=["input"], reason="curious")
        officer.place_hold("case 1", "a dispute", record_ids=[record])
        with pytest.raises(FailedPrecondition, match="case 1"):
            officer.erase_subject("s-1", ErasureGround.PERSON, "a letter")
        officer.release_hold("case 1", "settled")
        assert officer.erase_subject("s-1", ErasureGround.PERSON, "a letter").records == 1
    with ask(server, "auditor") as auditor:
        assert auditor.verify_log().holds
