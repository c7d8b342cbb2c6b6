"""Makes a small log with one of everything, to be kept: what this version wrote, every later one must verify.

    python -m tests.unit.audit.sample_log DIRECTORY

writes the database as SQL, a checkpoint from its middle, its verifier key, and an export. A version that writes logs
differently gets a sample of its own beside those of the versions before.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.comparing import Outcome
from rollcall.audit.database import FILE
from rollcall.audit.erasing import Ground, erase_record, erase_subject
from rollcall.audit.events import EventKind, Once
from rollcall.audit.exporting import export_records
from rollcall.audit.holding import place, release
from rollcall.audit.records import read_record
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import Disposition, ReviewAction
from rollcall.audit.triggers import ReviewRules, opening
from rollcall.domain.identity import Identity
from rollcall.domain.recording import RecordMode
from tests.unit.audit import samples
from tests.unit.audit.archives import SIGNER, open_archive

ANNA, BERT, CLEO = "Anna", "Bert", "Cleo"
WHY = "a sample"
RULES = ReviewRules(mismatch=True, second_share=1.0, key=b"sample")


def main(out: Path) -> None:
    """Write the sample."""
    out.mkdir(parents=True, exist_ok=True)
    told = samples.explained(decision_ref=samples.DECISION, subject_ref=samples.SUBJECT)
    caller = Identity(name="backend", tenant="reviews", roles=frozenset())
    of_a_tenant = replace(told, request=replace(told.request, caller=caller))
    with tempfile.TemporaryDirectory() as folder, open_archive(Path(folder) / FILE) as archive:
        archive.store.follow = lambda body: opening(body, RULES, archive.now())
        archive.store.append(
            [
                samples.accepted(0),
                samples.recorded(samples.decided(subject_ref=samples.SUBJECT), 1),
                samples.accepted(2, RecordMode.SCORES_ONLY),
            ]
        )
        kept = archive.sign()
        archive.store.append([samples.accepted(3, RecordMode.DIGEST_ONLY), samples.accepted(4)])
        archive.store.append([samples.recorded(of_a_tenant, 5)])
        _work_on(archive)
        archive.sign()
        (out / "export.zip").write_bytes(export_records(archive, [], "", WHY, ANNA).bundle.zipped())
        archive.sign()
        with closing(sqlite3.connect(Path(folder) / FILE)) as connection:
            (out / "log.sql").write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
    (out / "kept.note").write_text(kept.note, encoding="utf-8")
    (out / "log.vkey").write_text(SIGNER.verifier.line() + "\n", encoding="utf-8")


def _work_on(archive: Archive) -> None:
    """Do one of everything."""
    read_record(archive, "e-0", ["input"], WHY, ANNA)
    read_record(archive, "e-0", ["input"], WHY, ANNA, hide=True)
    place(archive, "case 1", ("e-0", "e-2"), "", WHY, CLEO, Once(key="1" * 64, request="2" * 64))
    release(archive, "case 1", ("e-2",), WHY, CLEO)
    archive.rules = RULES
    for action, actor, disposition in (
        (ReviewAction.ASSIGN, ANNA, None),
        (ReviewAction.DECIDE, ANNA, Disposition.OVERTURNED),
        (ReviewAction.SECOND, CLEO, Disposition.UPHELD),
        (ReviewAction.APPROVE, BERT, None),
    ):
        doing = Doing(action=action, actor=actor, rationale=WHY, assignee=ANNA, disposition=disposition)
        act(archive, "e-0", doing, four_eyes=True)
    erase_record(archive, "e-4", Ground.MISTAKE, WHY, CLEO)
    erase_subject(archive, samples.SUBJECT, Ground.PERSON, WHY, CLEO, tenant="")
    with archive.acting() as acting:
        record_id = queries.find(acting.connection, "e-0")
        event = archive.event(
            acting.connection, EventKind.REPLAY, ANNA, record_id=record_id, code=Outcome.EXACT.value, note=WHY
        )
        acting.log(event)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
