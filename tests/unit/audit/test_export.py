"""What people read of an export: pages that lead with the verdict, a table that runs nothing, one zip of it all."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rollcall.audit.accepted import Accepted
from rollcall.audit.database import Database
from rollcall.audit.events import EventKind
from rollcall.audit.export import Bundle, export
from rollcall.audit.exporting import export_records
from rollcall.audit.pages import page, shown
from rollcall.audit.queries import Kept
from rollcall.audit.records import happened
from rollcall.audit.spreadsheet import COLUMNS, table
from rollcall.audit.verify import verify
from rollcall.audit.verify_export import Manifest
from rollcall.domain.errors import InvalidInput, RecordNotFound
from tests.unit.audit import samples
from tests.unit.audit.archives import ANNA, SIGNER, check, open_archive


def kept(record: Accepted, **changes: object) -> tuple[Kept, dict[str, Any]]:
    """Keep a record, its envelope changed in places."""
    body = json.loads(record.envelope)
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = body
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    found = Kept(
        record_id=record.record_id, leaf_index=1, entry=b"", envelope=record.envelope, wrapped_key=b"", payloads=()
    )
    return found, body


def words(written: str) -> str:
    """Read a page as a person does: without marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", written.partition("<body>")[2]))


def bundle(tmp_path: Path) -> Bundle:
    """Export two records."""
    with open_archive(tmp_path / "log.db", samples.accepted(), samples.recorded(samples.decided(), 1)) as archive:
        archive.sign()
        with archive.reading() as connection:
            return export(connection, SIGNER)


def test_a_page_leads_with_the_verdict() -> None:
    """First whether the map may be relied on, in words and hatched where not, and only then what was decided."""
    told = page(*kept(samples.accepted()), 2)
    assert words(told).startswith(" INCONCLUSIVE (low_power) Record ")
    assert told.index("Do not give it as a reason") < told.index("Usable for a notice") < told.index("Decision")
    assert 'class="verdict doubtful"' in told
    faithful = page(*kept(samples.accepted(), verdict__flag="faithful", verdict__reason="none"), 2)
    assert words(faithful).startswith(" FAITHFUL Record ")
    assert 'class="verdict"' in faithful
    assert words(page(*kept(samples.recorded(samples.decided(), 1)), 2)).startswith(" NOT EXPLAINED ")


def test_a_page_has_every_check_and_no_word_of_the_input() -> None:
    """Numbers and positions are there; what the person wrote is not, unless whoever asks may show it."""
    record = samples.accepted()
    told = page(*kept(record), 2)
    body = json.loads(record.envelope)
    for one in body["explanation"]["maps"][0]["verdict"]["checks"]:
        assert f"<td>{one['check']}</td><td>{one['outcome']}</td>" in told
    assert record.envelope_sha256 in told
    assert "Xanthippe" not in told
    assert "another decision than this one" in told
    assert "good &lt;film&gt;" in page(*kept(record), 2, ["good", "<film>"])


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=a>', "&lt;b&gt;", "a\u202eb\u200b"]
)
def test_nothing_in_a_record_is_run_or_hidden(hostile: str) -> None:
    """A label or word that is HTML, or turns the direction of text, is shown as what it is."""
    record, body = kept(samples.accepted(), prediction__labels=[hostile, hostile], prediction__predicted=hostile)
    told = page(record, body, 2, [hostile, hostile])
    assert hostile not in told
    assert re.findall(r"<(script|img|b)\b", told) == []
    assert "\u202e" not in told
    assert shown("a\u202eb") == "a\\u202eb"


@pytest.mark.parametrize("hostile", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"])
def test_a_table_has_no_formula(hostile: str) -> None:
    """What a spreadsheet would compute begins with an apostrophe; every other reader gets the cell in one piece."""
    written = table([kept(samples.accepted(), prediction__predicted=hostile, model__name=f'{hostile},"x"')])
    heads, row = csv.reader(io.StringIO(written, newline=""))
    cells: Mapping[str, str] = dict(zip(heads, row, strict=True))
    assert (cells["predicted"], cells["model"]) == (f"'{hostile}", f'\'{hostile},"x"')
    assert list(cells) == list(COLUMNS)
    assert (cells["flag"], cells["usable_for_notice"], cells["blocked_by"]) == (
        "inconclusive",
        "false",
        "flag mismatch",
    )


def test_the_same_export_is_the_same_zip_and_verifies_unpacked(tmp_path: Path) -> None:
    """What is sent as one file has the same bytes each time, and holds once it is unpacked."""
    made = bundle(tmp_path)
    assert made.zipped() == bundle(tmp_path).zipped()
    with zipfile.ZipFile(io.BytesIO(made.zipped())) as archive:
        archive.extractall(tmp_path / "unpacked")
    report = verify(tmp_path / "unpacked", key=SIGNER.verifier)
    assert (report.problems, report.entries) == ([], 2)
    assert "asked for: all; left out as unsigned then: 0" in report.remarks


def test_what_leaves_a_log_is_an_entry_of_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who took which export away, by the digest of its manifest, and why; what is asked for is all there, signed."""
    records = samples.accepted(), samples.recorded(samples.decided(), 1)
    with open_archive(database, *records) as archive:
        made = export_records(archive, [], 'type = "decision"', "case 17 of Xanthippe", ANNA)
        manifest = Manifest.read(made.bundle.files["manifest.note"].decode(), SIGNER.verifier)
        assert (manifest.facts["records"], manifest.facts["unsigned"]) == ("1", "0")
        assert export_records(archive, ["e-0"], "", "again", ANNA).bundle.records == 1
        assert export_records(archive, [], "", "all of it", ANNA).bundle.records == 2
        with archive.reading() as connection:
            *_, event = happened(connection, kind=EventKind.EXPORT)
        body = json.loads(event.body)
        assert (event.leaf_index, body["actor"], body["code"]) == (made.log_index, ANNA, "records")
        assert body["details"] == {"records": 1, "manifest_sha256": made.bundle.digest}
        assert b"Xanthippe" not in event.body
        with pytest.raises(RecordNotFound):
            export_records(archive, [], 'predicted = "nothing"', "why", ANNA)
        monkeypatch.setattr("rollcall.audit.exporting.MOST", 1)
        with pytest.raises(InvalidInput, match="at most 1 records"):
            export_records(archive, [], "", "too many", ANNA)
        assert check(archive).problems == []
