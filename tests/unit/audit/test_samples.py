"""What earlier versions wrote verifies: their logs as they are and once they are upgraded, and their exports."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from rollcall.audit import queries
from rollcall.audit.database import FILE
from rollcall.audit.notes import Verifier
from rollcall.audit.records import read_record
from rollcall.audit.reviewing import find_review
from rollcall.audit.reviews import ReviewState
from rollcall.audit.searching import search
from rollcall.audit.verify import verify
from tests.unit.audit import samples
from tests.unit.audit.archives import check, open_archive

SAMPLES = sorted((Path(__file__).parent / "sample").iterdir())
NAMES = [folder.name for folder in SAMPLES]
EXPORTS = [folder for folder in SAMPLES if (folder / "export.zip").is_file()]


@pytest.fixture(params=SAMPLES, ids=NAMES)
def sample(request: pytest.FixtureRequest) -> Path:
    """One version's sample."""
    found: Path = request.param
    return found


def restored(sample: Path, tmp_path: Path) -> Path:
    """Bring a sample's database back."""
    path = tmp_path / FILE
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((sample / "log.sql").read_text(encoding="utf-8"))
    return path


def key_of(sample: Path) -> Verifier:
    """Read a sample's key."""
    return Verifier.parse((sample / "log.vkey").read_text())


def test_there_is_a_sample_of_every_schema_since_there_are_samples() -> None:
    """A version that changes the schema leaves one of its own (`sample_log`)."""
    migrations = Path(__file__).parents[3] / "service" / "rollcall" / "audit" / "migrations" / "versions"
    newest = max(int(path.name[1:5]) for path in migrations.glob("v*.py"))
    assert f"schema-{newest}" in NAMES


def test_an_old_log_verifies_as_it_is_and_upgraded(sample: Path, tmp_path: Path) -> None:
    """Nobody has to change it to verify it, and changing it to today's tables takes nothing away."""
    path, kept = restored(sample, tmp_path), (sample / "kept.note").read_text(encoding="utf-8")
    before = verify(path, key=key_of(sample), checkpoints=[kept])
    assert before.problems == []
    with open_archive(path) as archive:
        after = check(archive, kept)
        assert (after.problems, after.entries) == ([], before.entries)
        assert before.entries > 10
        assert (
            json.loads(read_record(archive, "e-0", ["input"], "a check", "Anna").parts["input"])["text"] == samples.TEXT
        )
        review = find_review(archive, "e-0")
        assert (review.state, review.steps[-1].rationale) == (ReviewState.CLOSED, "a sample")
        assert len(search(archive, "erased = true", 50, "").records) == 2
        assert len(search(archive, "held = true", 50, "").records) == 1
        with archive.reading() as connection:
            assert queries.size(connection) == before.entries + 1
        assert check(archive, kept).problems == []


def test_an_old_log_that_was_altered_does_not_verify(sample: Path, tmp_path: Path) -> None:
    """What is verified is the log, and not that there is one."""
    path = restored(sample, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER record_no_update")
        connection.execute("UPDATE record SET flag = 'faithful' WHERE explanation_id = 'e-0'")
        connection.commit()
    (problem,) = verify(path, key=key_of(sample)).problems
    assert problem == (samples.accepted(0).record_id, "the column flag is not what the envelope says")


@pytest.mark.parametrize("sample", EXPORTS, ids=lambda folder: folder.name)
def test_an_old_export_verifies(sample: Path, tmp_path: Path) -> None:
    """By this version's verifier, whatever came with it."""
    with zipfile.ZipFile(io.BytesIO((sample / "export.zip").read_bytes())) as archive:
        archive.extractall(tmp_path)
    report = verify(tmp_path, key=key_of(sample))
    assert (report.problems, report.entries) == ([], 6)
