"""A real server keeps its log in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from rollcall.__main__ import main
from rollcall.audit.verify import HOLDS
from rollcall.demo.server import server_process
from rollcall_client import Client, RecordState
from tests.unit.audit.postgres import postgres_server

TEXT = "Zarathustra praised this gloomy masterpiece."


def test_records_outlive_a_database_that_is_stopped(tmp_path: Path) -> None:
    """Answers leave while the database is away, and every one of them is in the log when it is back."""
    directory = tmp_path / "log"
    with postgres_server() as postgres:
        url = tmp_path / "url"
        url.write_text(postgres.make())
        settings = {"ROLLCALL_AUDIT_DIRECTORY": str(directory), "ROLLCALL_AUDIT_DATABASE": str(url)}
        with server_process("--demo", environment=settings) as server:
            with Client(server.target, timeout=120) as client:
                receipts = [client.explain(TEXT).audit]
                postgres.stop()
                receipts.append(client.predict(TEXT, decision_ref="d-1", subject_ref="s-1").audit)
                postgres.start()
                receipts.append(client.explain(TEXT, subject_ref="s-1").audit)
            assert server.stop() == 0
        assert [receipt and receipt.state for receipt in receipts] == [RecordState.SPOOLED] * 3
        key = ["--key", str(directory / "log.vkey")]
        assert main(["audit", "verify", str(directory), "--database", str(url), *key]) == HOLDS
        for receipt in receipts:
            assert receipt is not None
            assert main(["audit", "show", str(directory), receipt.record_id, "--database", str(url)]) == 0
    assert not (directory / "log.db").exists()
