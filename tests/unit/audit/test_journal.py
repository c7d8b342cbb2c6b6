"""From an answer to its receipt, and what a server says when its log cannot be gone on with."""

from __future__ import annotations

import asyncio
import shutil
import stat
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollcall.audit import queries
from rollcall.audit.database import reading
from rollcall.audit.journal import Journal, LogUnusable
from rollcall.audit.notes import Signer
from rollcall.audit.recorder import FAILED, NOT_RECORDED, RECORDED, Recorder
from rollcall.audit.sealing import KeyEncryptionKey
from rollcall.audit.spool import SpoolFailed
from rollcall.audit.verify import verify
from rollcall.domain.errors import FileRejected, InvalidInput, RecordingFailed
from rollcall.domain.recording import AuditChoice, Durability, RecordMode, RecordState, WhenFull
from rollcall.settings import AuditSettings, ModelSpec
from tests.unit.audit import samples
from tests.unit.audit.test_sequencer import Told
from tests.unit.edge.samples import MODEL

NO_ROOM = 1 << 20


def journal(directory: Path, told: Told | None = None, worker: int = 0, **settings: Any) -> Journal:  # noqa: ANN401
    """Put a journal together; `settings` are those of AuditSettings."""
    made = Journal(
        directory=directory,
        settings=AuditSettings(directory=directory, origin="log.example", checkpoint_seconds=3600.0, **settings),
        worker=worker,
        software={"rollcall": "0.1.0"},
        telemetry=told or Told(),
    )
    made.serves(ModelSpec(name=MODEL, path=directory))
    return made


@asynccontextmanager
async def recording(made: Journal) -> AsyncIterator[Recorder]:
    """Record for the length of a block."""
    recorder = made.open()
    try:
        yield recorder
    finally:
        await asyncio.to_thread(made.close)


@pytest.mark.parametrize(
    ("durability", "state"),
    [
        (Durability.BEST_EFFORT, RecordState.ACCEPTED),
        (Durability.DURABLE, RecordState.SPOOLED),
        (Durability.STRICT, RecordState.SEQUENCED),
    ],
)
async def test_a_receipt_says_how_far_the_record_is(tmp_path: Path, durability: Durability, state: RecordState) -> None:
    """Who holds a receipt finds the record, whose envelope has the digest that the receipt says."""
    told = Told()
    async with recording(journal(tmp_path, told, durability=durability)) as recorder:
        receipt = await recorder.record(samples.explained())
    assert (receipt.state, receipt.mode) == (state, RecordMode.SCORES_ONLY)
    assert receipt.log_index == (1 if durability is Durability.STRICT else None)
    with reading(tmp_path / "log.db") as connection:
        kept = queries.kept(connection, receipt.record_id)
    assert kept.leaf_index == 1
    assert receipt.envelope_sha256.encode() in kept.entry
    assert told.outcomes == [RECORDED]
    assert verify(tmp_path, key=None).problems == []


@pytest.mark.parametrize("durability", list(Durability))
async def test_only_durable_answers_wait_for_a_log_that_is_behind(tmp_path: Path, durability: Durability) -> None:
    """Strict ones wait for their own record anyway, and best-effort ones for nothing."""
    asked = []

    async def pace() -> None:
        asked.append(durability)

    async with recording(journal(tmp_path, durability=durability)) as recorder:
        recorder.pace = pace
        await recorder.record(samples.explained())
    assert asked == ([Durability.DURABLE] if durability is Durability.DURABLE else [])


async def test_many_answers_at_once_have_a_record_each(tmp_path: Path) -> None:
    """Concurrent answers share flushes and transactions, and nothing else."""
    answers = [
        replace(told, explanation=replace(told.explanation, explanation_id=f"e-{number}"))
        for number, told in enumerate([samples.explained()] * 40)
    ]
    async with recording(journal(tmp_path)) as recorder:
        receipts = await asyncio.gather(*(recorder.record(told) for told in answers))
    with reading(tmp_path / "log.db") as connection:
        assert sorted(queries.record_ids(connection)) == sorted(receipt.record_id for receipt in receipts)


async def test_records_are_made_whatever_else_takes_threads(tmp_path: Path) -> None:
    """Recording waits for no work that something else has given to the event loop's own threads."""
    begun, let = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        let.wait(30.0)

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    made = journal(tmp_path)
    recorder = made.open()
    long = asyncio.create_task(asyncio.to_thread(work))
    try:
        await asyncio.sleep(0)
        assert begun.wait(15.0)
        async with asyncio.timeout(15.0):
            assert (await recorder.record(samples.explained())).state is RecordState.SPOOLED
    finally:
        let.set()
        await long
        await asyncio.to_thread(made.close)


async def test_no_record_where_none_is_wanted(tmp_path: Path) -> None:
    """A request or a model without records says so in its receipt."""
    told = Told()
    async with recording(journal(tmp_path, told)) as recorder:
        recorder.check(AuditChoice.OFF)
        receipt = await recorder.record(samples.explained(AuditChoice.OFF))
    async with recording(journal(tmp_path, told, mode=RecordMode.OFF)) as recorder:
        other = await recorder.record(samples.explained())
    assert {receipt.state, other.state} == {RecordState.NOT_RECORDED}
    assert (receipt.note, other.note) == ("records are off for this request", "records are off for this model")
    assert told.outcomes == [NOT_RECORDED, NOT_RECORDED]


async def test_a_server_may_require_records(tmp_path: Path) -> None:
    """Where every answer must be recorded, a request that wants no record is refused."""
    async with recording(journal(tmp_path, required=True)) as recorder:
        recorder.check(AuditChoice.DEFAULT)
        with pytest.raises(InvalidInput, match="audit: must not be"):
            recorder.check(AuditChoice.OFF)


async def test_an_answer_that_cannot_be_recorded_is_held_back(tmp_path: Path) -> None:
    """By default no answer leaves that should have a record and has none."""
    told = Told()
    async with recording(journal(tmp_path, told, max_spool_bytes=NO_ROOM)) as recorder:
        recorder.spool.most_bytes = 1
        with pytest.raises(RecordingFailed):
            await recorder.record(samples.explained())
    assert told.outcomes == [FAILED]


async def test_an_operator_may_prefer_answers_to_records(tmp_path: Path) -> None:
    """With when_full = degrade the answer leaves, and its receipt says that there is no record."""
    async with recording(journal(tmp_path, when_full=WhenFull.DEGRADE)) as recorder:

        def broken(_: int) -> None:
            raise OSError(5, "Input/output error")

        recorder.spool.flush = broken
        receipt = await recorder.record(samples.explained())
    assert (receipt.state, receipt.note) == (RecordState.NOT_RECORDED, "the record could not be written")


async def test_a_caller_who_leaves_does_not_lose_the_record(tmp_path: Path) -> None:
    """A cancelled call neither stops the log nor the records of others."""
    async with recording(journal(tmp_path, durability=Durability.STRICT)) as recorder:
        leaving = asyncio.ensure_future(recorder.record(samples.explained()))
        await asyncio.sleep(0)
        leaving.cancel()
        told = samples.explained()
        other = replace(told, explanation=replace(told.explanation, explanation_id="e-2"))
        assert (await recorder.record(other)).state is RecordState.SEQUENCED
    assert verify(tmp_path, key=None).problems == []


async def test_a_log_is_gone_on_with(tmp_path: Path) -> None:
    """A server that starts again has the same keys and the same log, which its last checkpoint is the beginning of."""
    ids = []
    for number in range(3):
        told = samples.explained()
        async with recording(journal(tmp_path)) as recorder:
            answer = replace(told, explanation=replace(told.explanation, explanation_id=f"e-{number}"))
            ids.append((await recorder.record(answer)).record_id)
    with reading(tmp_path / "log.db") as connection:
        assert list(queries.record_ids(connection)) == ids
    notes = [path.read_text() for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert len(notes) == 3
    assert verify(tmp_path, key=None, checkpoints=notes).problems == []


async def test_two_workers_share_a_log(tmp_path: Path) -> None:
    """Workers spool apart and are sequenced together."""
    told = samples.explained()
    other = replace(told, explanation=replace(told.explanation, explanation_id="e-2"))
    async with recording(journal(tmp_path)) as first, recording(journal(tmp_path, worker=1)) as second:
        receipts = [await first.record(told), await second.record(other)]
    with reading(tmp_path / "log.db") as connection:
        assert set(queries.record_ids(connection)) == {receipt.record_id for receipt in receipts}
    assert verify(tmp_path, key=None).problems == []


async def test_keys_are_secrets(tmp_path: Path) -> None:
    """Keys that are made are readable by their owner alone, and are not made again."""
    async with recording(journal(tmp_path)):
        pass
    for name in ("signing.key", "encryption.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    before = (tmp_path / "signing.key").read_text()
    async with recording(journal(tmp_path)):
        assert (tmp_path / "signing.key").read_text() == before


async def test_keys_come_from_where_the_operator_says(tmp_path: Path) -> None:
    """A key that was named is used, and must be there."""
    signing, encryption = tmp_path / "s", tmp_path / "e"
    with pytest.raises(OSError, match="No such file"):
        journal(tmp_path / "log", signing_key=signing, encryption_key=encryption).open()
    signing.write_text(Signer.generate("mine.example").line())
    encryption.write_text("rubbish")
    with pytest.raises(LogUnusable, match="32 bytes"):
        journal(tmp_path / "log", signing_key=signing, encryption_key=encryption).open()
    encryption.write_text(KeyEncryptionKey.generate().line())
    async with recording(journal(tmp_path / "log2", signing_key=signing, encryption_key=encryption)):
        pass
    with reading(tmp_path / "log2" / "log.db") as connection:
        assert queries.origin(connection) == "mine.example"
    assert not (tmp_path / "log2" / "signing.key").exists()


async def test_a_second_server_is_refused(tmp_path: Path) -> None:
    """Two processes do not write one spool."""
    async with recording(journal(tmp_path)):
        with pytest.raises(LogUnusable, match="another server"):
            journal(tmp_path).open()


async def test_an_old_copy_of_the_database_is_refused(tmp_path: Path) -> None:
    """A database that holds less than was signed is not gone on with, or its end would be written twice."""
    async with recording(journal(tmp_path)):
        pass
    shutil.copy(tmp_path / "log.db", tmp_path / "old.db")
    async with recording(journal(tmp_path)) as recorder:
        await recorder.record(samples.explained())
    shutil.copy(tmp_path / "old.db", tmp_path / "log.db")
    with pytest.raises(LogUnusable, match="an old copy"):
        journal(tmp_path).open()


def test_a_failure_of_the_disk_has_its_own_name() -> None:
    """Whoever reads the log of the service learns what the disk said."""
    assert str(SpoolFailed("Input/output error")) == "Input/output error"


async def test_what_the_settings_say_of_reviews_and_masks_is_in_force(tmp_path: Path) -> None:
    """Rules open a review of what is recorded, and the operator's patterns are read; one that is wrong is named."""
    patterns = tmp_path / "patterns.toml"
    patterns.write_text("customer = 'C-\\d+'")
    made = journal(tmp_path / "log", review_share=1.0, review_days=3, patterns=patterns, unmasked=False)
    async with recording(made) as recorder:
        await recorder.record(samples.explained())
        archive = made.archive
        assert archive is not None
        assert (archive.review_days, archive.unmasked) == (3, False)
        assert [span.what for span in archive.recognisers.spans("C-12")] == ["customer"]
    with reading(tmp_path / "log" / "log.db") as connection:
        assert queries.size(connection) == 3
    patterns.write_text("customer = '('")
    with pytest.raises(FileRejected, match=r"audit.patterns: .*customer: expected a regular expression"):
        journal(tmp_path / "log", patterns=patterns).open()
