"""Records of tenants whom somebody does not see are not there for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollcall.audit.accepted import Accepted
from rollcall.audit.agreement import statistics
from rollcall.audit.database import Database
from rollcall.audit.erasing import Ground, erase_subject
from rollcall.audit.following import entries
from rollcall.audit.holding import place, release
from rollcall.audit.records import prove, read_record
from rollcall.audit.retaining import apply, plan
from rollcall.audit.reviewing import Doing, act, list_reviews
from rollcall.audit.reviews import ReviewAction
from rollcall.audit.searching import search
from rollcall.audit.verifying_here import verify_here
from rollcall.domain.errors import Blocked, NotPermitted, RecordNotFound
from rollcall.domain.identity import Identity
from tests.unit.audit import samples
from tests.unit.audit.archives import ANNA, check, open_archive

OURS, THEIRS = "ours", "theirs"


def of(tenant: str, number: int) -> Accepted:
    """Record a decision about a person whom both tenants call alike."""
    told = samples.explained(decision_ref=samples.DECISION, subject_ref=samples.SUBJECT)
    caller = Identity(name="backend", tenant=tenant, roles=frozenset())
    request = replace(told.request, caller=caller)
    return samples.recorded(
        replace(told, request=request, explanation=replace(told.explanation, explanation_id=f"e-{number}")), number
    )


OUR_RECORD, THEIR_RECORD = of(OURS, 0), of(THEIRS, 1)


def test_the_same_name_is_another_persons_with_another_tenant(database: Database) -> None:
    """Searching finds those of whom one sees; erasing one tenant's person leaves the other's, key and all."""
    asked_for = f'subject = "{samples.SUBJECT}"'
    with open_archive(database, OUR_RECORD, THEIR_RECORD) as archive:
        ours = archive.seen_by(frozenset({OURS}))
        nobodys = archive.seen_by(frozenset())
        assert [len(search(seen, asked_for, 9, "").records) for seen in (archive, ours, nobodys)] == [2, 1, 0]
        assert [len(search(archive, f"tenant = {tenant}", 9, "").records) for tenant in (OURS, "none")] == [1, 0]
        with pytest.raises(Blocked, match="several tenants have records about this subject: ours, theirs"):
            erase_subject(archive, samples.SUBJECT, Ground.PERSON, "why", ANNA)
        with pytest.raises(RecordNotFound):
            erase_subject(nobodys, samples.SUBJECT, Ground.PERSON, "why", ANNA)
        with pytest.raises(RecordNotFound):
            erase_subject(ours, samples.SUBJECT, Ground.PERSON, "why", ANNA, tenant=THEIRS)
        assert erase_subject(ours, samples.SUBJECT, Ground.PERSON, "why", ANNA).records == (OUR_RECORD.record_id,)
        assert [found.erased for found in search(archive, "", 9, "").records] == [False, True]
        assert check(archive).problems == []


def test_what_one_does_not_see_is_not_read_listed_or_proved(database: Database) -> None:
    """By any of the ways in which the log is asked."""
    with open_archive(database, OUR_RECORD, THEIR_RECORD) as archive:
        for name in ("e-0", "e-1"):
            act(archive, name, Doing(action=ReviewAction.OPEN, actor=ANNA, rationale="so"), four_eyes=True)
        archive.sign()
        ours = archive.seen_by(frozenset({OURS}))
        with pytest.raises(RecordNotFound):
            read_record(ours, "e-1", (), "", ANNA)
        assert [review.record_id for review in list_reviews(ours, None)] == [OUR_RECORD.record_id]
        assert sum(statistics(ours).states.values()) == 1
        assert [entry.leaf_index for entry in entries(ours, 0)] == [1, 3]
        assert [entry.leaf_index for entry in entries(archive, 0)] == [0, 1, 2, 3, 4]
        assert prove(ours, 3)
        with pytest.raises(RecordNotFound):
            prove(ours, 4)
        assert place(ours, "case", (), 'type = "explanation"', "so", ANNA).records == (OUR_RECORD.record_id,)
        assert place(archive, "case", ("e-1",), "", "so", ANNA).records == (THEIR_RECORD.record_id,)
        assert release(ours, "case", (), "so", ANNA).records == (OUR_RECORD.record_id,)
        for ask in (lambda: verify_here(ours, ()), lambda: plan(ours), lambda: apply(ours, "so", ANNA)):
            with pytest.raises(NotPermitted):
                ask()
