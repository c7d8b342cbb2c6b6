"""Those who ask later do so from a terminal: what they get reads well, is JSON if they like, and fails in one line."""

from __future__ import annotations

import asyncio
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollcall.__main__ import main
from rollcall.audit.archive import Archive
from rollcall.audit.database import FILE
from rollcall.audit.redacting import MASK
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import Disposition, ReviewAction
from rollcall.audit.triggers import ReviewRules
from rollcall.audit.verify import verify
from rollcall.domain.inputs import TextInput
from rollcall.settings import AuthSettings
from tests.unit.audit import samples
from tests.unit.audit.archives import SIGNER, check, open_archive
from tests.unit.audit.test_replaying import House, replayer
from tests.unit.edge.fakes import FakeHouse, open_door
from tests.unit.edge.samples import MODEL

RECORD = samples.accepted(0, subject_ref=samples.SUBJECT)
DECIDED = samples.recorded(samples.decided(subject_ref=samples.SUBJECT), 1)
WHY = ("--reason", "a complaint")


async def ask(archive: Archive, *arguments: str) -> int:
    """Run a command against a server over the archive, as somebody who may do everything; return its exit code."""
    auth = AuthSettings(dangerously_trust_anyone=True)
    async with open_door(FakeHouse(), auth=auth, replayer=replayer(archive, House())) as door:
        return await asyncio.to_thread(main, ["audit", *arguments, "--target", f"127.0.0.1:{door.port}"])


async def told(archive: Archive, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must succeed; return what it prints."""
    assert await ask(archive, *arguments) == 0
    return capsys.readouterr().out


async def test_records_are_found_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each record; the text is shown for a reason, and who read it is in the list of events."""
    with open_archive(tmp_path / FILE, RECORD, DECIDED) as archive:
        found = (await told(archive, capsys, "search", f'subject = "{samples.SUBJECT}"')).splitlines()
        assert len(found) == 3
        assert DECIDED.record_id in found[0]
        assert "DECISION" in found[0]
        assert "INCONCLUSIVE" in found[1]
        rows: list[Any] = json.loads(await told(archive, capsys, "search", "type = decision", "--json"))
        assert [(row["record_id"], row["type"]) for row in rows] == [(DECIDED.record_id, "DECISION")]
        assert samples.TEXT in await told(archive, capsys, "read", "e-0", "--part", "input", *WHY)
        assert "access by anyone" in await told(archive, capsys, "events", "--type", "access")
        assert await ask(archive, "search", "password = x") == 1
        assert "filter: expected one of the fields" in capsys.readouterr().err
        assert await ask(archive, "read", "e-0", "--part", "input") == 1
        assert "reason: required" in capsys.readouterr().err


async def test_a_record_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it came to, and where the log says so."""
    with open_archive(tmp_path / FILE, RECORD) as archive:
        assert (await told(archive, capsys, "replay", "e-0", *WHY)).startswith("EXACT (entry 2 of the log)")


async def test_how_a_models_answers_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each month in which anything happened, as JSON every one, and a wrong question is one line."""
    by_month = ("trends", MODEL, "--since", "2025-10-01", "--until", "2025-12-31", "--by", "month")
    with open_archive(tmp_path / FILE, RECORD, DECIDED) as archive:
        head, row, last = (await told(archive, capsys, *by_month)).splitlines()
        assert head.split() == (
            ["from", "INCONCLUSIVE", "decisions", "mismatches", "opened", "closed", "replayed", "differed"]
        )
        assert row.split() == ["2025-11-01", "1", "1", "2", "0", "0", "0", "0"]
        assert last == "2 answers in a log of 3 entries"
        found: Any = json.loads(await told(archive, capsys, *by_month, "--json"))
        assert [(each["start"], each["flags"]) for each in found["periods"]] == [
            ("2025-10-01", {}), ("2025-11-01", {"INCONCLUSIVE": 1}), ("2025-12-01", {}),
        ]  # fmt: skip
        assert found["periods"][1]["reasons"] == {"LOW_POWER": 1}
        digest = json.loads(RECORD.envelope)["model"]["digest"]
        of_others = await told(archive, capsys, *by_month, "--digest", digest[:-1] + "x")
        assert of_others.splitlines()[-1].startswith("0 answers")
        assert await ask(archive, "trends", MODEL, "--since", "2020-01-01") == 1
        assert "since: must lie at most 800 days before until" in capsys.readouterr().err


async def test_what_is_held_is_erased_when_it_is_released(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hold is placed and ended, a person erased, and the certificate kept."""
    certificate = tmp_path / "certificate.json"
    erase = ("erase", "--subject", samples.SUBJECT, "--ground", "person", *WHY, "--out", str(certificate))
    with open_archive(tmp_path / FILE, RECORD, DECIDED) as archive:
        assert "1 record changed" in await told(archive, capsys, "hold", "case 7", "--record", "e-0", *WHY)
        assert await ask(archive, *erase) == 1
        assert "held for: case 7" in capsys.readouterr().err
        assert "1 record changed" in await told(archive, capsys, "release", "case 7", *WHY)
        assert "2 records erased, for good" in await told(archive, capsys, *erase)
        assert json.loads(certificate.read_text())["records"] == 2
        assert "erased" in await told(archive, capsys, "search", "erased = true")
        assert check(archive).problems == []


async def test_a_record_is_reviewed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps in their order; each says how far the review is, and showing it says why."""
    with open_archive(tmp_path / FILE, RECORD) as archive:
        archive.four_eyes = False
        assert "OPEN" in await told(archive, capsys, "review", "open", "e-0", "--case", "7", *WHY)
        assert "ASSIGNED anyone" in await told(archive, capsys, "review", "assign", "e-0")
        decide = ("review", "decide", "e-0", "--disposition", "explanation-unreliable", *WHY)
        assert "explanation unreliable by anyone" in await told(archive, capsys, *decide)
        assert "DECIDED" in await told(archive, capsys, "review", "list", "--state", "decided")
        assert "CLOSED" in await told(archive, capsys, "review", "approve", "e-0")
        assert "OPEN by anyone: a complaint" in await told(archive, capsys, "review", "show", "e-0")
        assert await ask(archive, "review", "show") == 2
        assert "needs the ID of a record" in capsys.readouterr().err


async def test_a_second_opinion_is_given_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first is withheld until then, and said to be; lateness and agreement are in the list and the statistics."""
    with open_archive(tmp_path / FILE, RECORD) as archive:
        archive.rules = ReviewRules(second_share=1.0)
        archive.four_eyes = False
        opened = Doing(action=ReviewAction.OPEN, actor="Anna", rationale="so")
        act(archive, "e-0", opened, four_eyes=True)
        act(archive, "e-0", Doing(action=ReviewAction.ASSIGN, actor="Anna", assignee="Anna"), four_eyes=True)
        decided = Doing(
            action=ReviewAction.DECIDE, actor="Anna", rationale="Anna says", disposition=Disposition.OVERTURNED
        )
        act(archive, "e-0", decided, four_eyes=True)
        shown = await told(archive, capsys, "review", "show", "e-0")
        assert "waits for a second opinion" in shown
        assert "DECIDE by Anna: (withheld until a second opinion is there)" in shown
        assert "Anna says" not in shown
        now = archive.now()
        archive.now = lambda: now + 31 * 86_400
        assert "DECIDED" in await told(archive, capsys, "review", "list", "--overdue")
        second = ("review", "second", "e-0", "--disposition", "upheld", *WHY)
        assert "DECIDE by Anna: Anna says" in await told(archive, capsys, *second)
        counted = await told(archive, capsys, "review", "statistics")
        assert "DECIDED 1  CLOSED 0  overdue 1" in counted
        assert "0 of 1 second opinions agree, Cohen's kappa 0.00" in counted
        rows: Any = json.loads(await told(archive, capsys, "review", "statistics", "--json"))
        assert (rows["states"]["DECIDED"], rows["kappa"]) == (1, 0.0)


async def test_texts_are_masked_and_records_bundled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What identifies people is hidden on the screen and in an export's pages."""
    found = samples.explained()
    request = replace(found.request, input=TextInput(text="Mail me@example.org"))
    mail = samples.recorded(replace(found, request=request))
    with open_archive(tmp_path / FILE, mail) as archive:
        shown = await told(archive, capsys, "read", "e-1", "--part", "input", "--masked", *WHY)
        assert f"Mail {MASK * 14}" in shown
        assert "example.org" not in shown
        bundled = ("bundle", "--texts", *WHY, "--out", str(tmp_path / "evidence.zip"))
        assert "1 record under the checkpoint" in await told(archive, capsys, *bundled)
        with zipfile.ZipFile(tmp_path / "evidence.zip") as archived:
            assert b"texts masked, in pages" in archived.read("manifest.note")


async def test_many_records_are_bundled_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every record that a filter asks for is in one zip, and in one only; each zip verifies by itself."""
    out = tmp_path / "parts"
    with open_archive(tmp_path / FILE, *(samples.accepted(number) for number in range(5))) as archive:
        bundles = ("bundles", "flag = inconclusive", "--size", "2", "--out", str(out), *WHY)
        lines = (await told(archive, capsys, *bundles)).splitlines()
        assert [line for line in lines if "under the checkpoint" in line] == [
            f"{count} under the checkpoint over {size} entries"
            for count, size in (("2 records", 6), ("2 records", 7), ("1 record", 8))
        ]
        assert await ask(archive, *bundles) == 1
        assert str(out) in capsys.readouterr().err
        empty = ("bundles", "flag = faithful", "--out", str(tmp_path / "empty"), *WHY)
        assert await told(archive, capsys, *empty) == "0 records in 0 zips\n"
        assert lines[-1] == "5 records in 3 zips"
    assert [path.name for path in sorted(out.iterdir())] == [f"part-000{number}.zip" for number in (1, 2, 3)]
    ids = []
    for path in sorted(out.iterdir()):
        unpacked = tmp_path / path.stem
        with zipfile.ZipFile(path) as archived:
            archived.extractall(unpacked)
        assert verify(unpacked, key=SIGNER.verifier).problems == []
        ids += [proof.stem for proof in (unpacked / "proofs").iterdir()]
    assert sorted(ids) == sorted(samples.accepted(number).record_id for number in range(5))


async def test_retention_says_what_is_due(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --apply nothing is erased; with it, what is due, for a reason."""
    with open_archive(tmp_path / FILE, RECORD, DECIDED) as archive:
        archive.retention = {("sentiment", "explanation"): 183}
        archive.now = lambda: samples.AT + 184 * 86_400
        assert "183 days" in (shown := await told(archive, capsys, "retention"))
        assert "1 due, 0 more held\n0 records erased" in shown
        assert await ask(archive, "retention", "--apply") == 1
        assert "reason: required" in capsys.readouterr().err
        assert "1 record erased" in await told(archive, capsys, "retention", "--apply", *WHY)


async def test_the_log_is_streamed_as_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of JSON for each entry, which a collector reads and goes on from."""
    with open_archive(tmp_path / FILE, RECORD, DECIDED) as archive:
        await told(archive, capsys, "hold", "case 1", "--record", "e-0", *WHY)
        lines: list[Any] = [json.loads(line) for line in (await told(archive, capsys, "stream")).splitlines()]
        assert [line["log_index"] for line in lines] == [0, 1, 2, 3]
        assert [sorted(line) for line in lines] == [
            ["entry", "log_index"],
            ["entry", "log_index", "record"],
            ["entry", "log_index", "record"],
            ["entry", "event", "log_index"],
        ]
        assert lines[2]["record"]["record_id"] == DECIDED.record_id
        rest = (await told(archive, capsys, "stream", "--from", "3")).splitlines()
        assert [json.loads(line)["event"]["about"] for line in rest] == ["case 1"]
