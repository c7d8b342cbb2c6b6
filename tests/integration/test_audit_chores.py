"""A real server that looks after its records by itself, as its settings say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import AuditClient, EventType
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Replay records all the time, and keep to retention; the demo holds its records in full."""
    settings = {
        "ROLLCALL_AUDIT_DIRECTORY": str(tmp_path_factory.mktemp("chores") / "log"),
        "ROLLCALL_AUDIT_REPLAYS_PER_HOUR": "18000",
        "ROLLCALL_AUDIT_RETENTION_HOURS": "0.001",
        "ROLLCALL_AUDIT_EXPLANATION_DAYS": "200",
        "ROLLCALL_AUDIT_REVIEW_SHARE": "1",
        "ROLLCALL_AUTH_DANGEROUSLY_TRUST_ANYONE": "true",
    }
    with server_process("--demo", environment=settings) as process:
        yield process


def replayed(server: ServerProcess) -> dict[str, int]:
    """Read how many replays came to what."""
    found = re.findall(r'^rollcall_audit_replays_total{outcome="(\w+)"} (\d+)', server.metrics(), flags=re.MULTILINE)
    return {outcome: int(float(count)) for outcome, count in found}


def test_records_are_replayed_and_come_to_the_same(server: ServerProcess) -> None:
    """Without anybody asking; every replay is an entry of the log, and none of them is recorded as an answer."""
    with AuditClient(server.target, timeout=120) as client:
        receipt = client.explain("Zarathustra praised this gloomy masterpiece.").audit
        assert receipt is not None
        wait_until(lambda: replayed(server)["exact"] >= 3)
        counts = replayed(server)
        assert {outcome for outcome, count in counts.items() if count} == {"exact"}
        told = client.events(record_id=receipt.record_id, kind=EventType.REPLAY)
        assert len(told) >= 3
        assert {(event.what["actor"], event.what["code"]) for event in told} == {("\u00a7 server", "exact")}
        assert [each.record_id for each in client.records()] == [receipt.record_id]
        assert client.review(receipt.record_id).rules == ("sample",)
        assert client.verify_log().holds
    assert "audit_chore_failed" not in Path(server.log).read_text()
