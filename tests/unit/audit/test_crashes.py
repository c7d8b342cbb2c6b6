"""kill -9 at random moments: what was acknowledged is in the log, once, without a gap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from rollcall.audit.database import reading
from rollcall.audit.schema import LEAF

ROUNDS = int(os.environ.get("ROLLCALL_TEST_CRASHES", "10"))


@pytest.mark.timeout(900)
def test_no_acknowledged_record_is_lost(tmp_path: Path) -> None:
    """However often the process dies, the log has every acknowledged record, each once, under indices without a gap."""
    command = [sys.executable, "-m", "tests.unit.audit.crashing", str(tmp_path), str(ROUNDS), "7"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | _here())
    acknowledged = told.stdout.split()
    with reading(tmp_path / "log.db") as connection:
        rows = connection.execute(select(LEAF.c.leaf_index, LEAF.c.record_id).order_by(LEAF.c.leaf_index)).all()
    logged = [row.record_id for row in rows if row.record_id]
    print(f"{ROUNDS} crashes, {len(acknowledged)} acknowledged, {len(logged)} in the log")  # noqa: T201 - shown on failure
    assert len(acknowledged) >= ROUNDS
    assert set(acknowledged) <= set(logged)
    assert len(set(logged)) == len(logged)
    assert [row.leaf_index for row in rows] == list(range(len(rows)))
    assert not list((tmp_path / "spool").glob("*.seg"))


def _here() -> dict[str, str]:
    """Let the program find what the tests find."""
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
