"""Records outlive the process, and no fault of the disk reaches a caller."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from rollcall.monitor.record import ModelRecord
from rollcall.monitor.store import FILE, REFUSED, Store
from tests.unit.edge import samples

RECORDS = {samples.MODEL: samples.record()}


def store(directory: Path, records: dict[str, ModelRecord] | None = None) -> Store:
    """A store of these records."""
    return Store(directory=directory, records=lambda: RECORDS if records is None else records)


def test_records_come_back(tmp_path: Path) -> None:
    """What one process wrote the next one reads; nothing else is left in the directory, which is made if missing."""
    directory = tmp_path / "deep" / "state"
    assert store(directory).read() == {}
    assert store(directory).write(RECORDS)
    assert store(directory).read() == RECORDS
    assert [path.name for path in directory.iterdir()] == [FILE]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"format": "other", "models": {}}'])
def test_a_file_that_cannot_be_used_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """A corrupted or foreign file is said in the log and kept for whoever looks into it; the records start anew."""
    (tmp_path / FILE).write_bytes(content)
    assert store(tmp_path).read() == {}
    assert [record.message for record in caplog.records] == ["records_refused"]
    assert (tmp_path / REFUSED).read_bytes() == content
    assert store(tmp_path).write(RECORDS)
    assert store(tmp_path).read() == RECORDS


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the temporary file cannot be written the last state stays whole, and the service goes on."""
    assert store(tmp_path, {}).write({})
    before = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).with_suffix(".tmp").mkdir()  # nobody, not even root, can write a file over it
    assert not store(tmp_path).write(RECORDS)
    assert [record.message for record in caplog.records] == ["records_not_written"]
    assert (tmp_path / FILE).read_bytes() == before


def test_a_directory_that_is_a_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An operator's mistake costs the records, not the answers."""
    (tmp_path / "state").write_text("")
    assert store(tmp_path / "state").read() == {}
    assert not store(tmp_path / "state").write(RECORDS)
    assert [record.message for record in caplog.records] == ["records_not_read", "records_not_written"]


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    """An idle service leaves the disk alone."""
    kept = store(tmp_path)
    assert kept.write(RECORDS)
    (tmp_path / FILE).unlink()
    assert kept.write(RECORDS)
    assert not (tmp_path / FILE).exists()


async def test_records_are_kept_while_the_service_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At each turn what there is now is written, until the service stops; no text of an input is among it."""
    caplog.set_level(logging.ERROR)
    turns: asyncio.Queue[None] = asyncio.Queue()
    current: dict[str, ModelRecord] = {}
    asked = asyncio.Event()

    async def pause() -> None:
        asked.set()
        await turns.get()

    keeping = asyncio.create_task(Store(directory=tmp_path, records=lambda: current, pause=pause).keep())
    await asked.wait()
    for records in ({}, RECORDS):
        current.update(records)
        asked.clear()
        turns.put_nowait(None)
        await asked.wait()  # back at the pause: written
        assert set(json.loads((tmp_path / FILE).read_text())["models"]) == set(current)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert caplog.records == []
