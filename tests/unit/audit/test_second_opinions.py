"""A second reviewer does not know what the first has said; afterwards everybody does, and agreement is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.audit.agreement import cohens_kappa, count_overdue, statistics
from rollcall.audit.archive import Archive
from rollcall.audit.database import Database
from rollcall.audit.erasing import Ground, erase_record
from rollcall.audit.records import happened
from rollcall.audit.reviewing import Doing, act, find_review, list_reviews
from rollcall.audit.reviews import Disposition, Review, ReviewAction, ReviewState
from rollcall.audit.triggers import ReviewRules
from rollcall.domain.errors import Blocked
from tests.unit.audit import samples
from tests.unit.audit.archives import check, open_archive

ANNA, BERT, CLEO = "reviewer Anna", "approver Bert", "reviewer Cleo"
WHY = "Anna thinks of it what nobody may read yet"
DAY = 86_400.0


@pytest.fixture
def archive(database: Database) -> Iterator[Archive]:
    """Keep three records; every review gets a second opinion."""
    with open_archive(database, *(samples.accepted(number) for number in range(3))) as opened:
        opened.rules = ReviewRules(second_share=1.0, key=b"key")
        yield opened


def do(archive: Archive, name: str, action: ReviewAction, actor: str, disposition: Disposition | None = None) -> Review:
    """Do a step."""
    doing = Doing(action=action, actor=actor, rationale=WHY, assignee=actor, disposition=disposition)
    return act(archive, name, doing, four_eyes=True)


def decide(archive: Archive, name: str, disposition: Disposition = Disposition.OVERTURNED) -> Review:
    """Bring a review to its first opinion."""
    for action in (ReviewAction.OPEN, ReviewAction.ASSIGN):
        do(archive, name, action, ANNA)
    return do(archive, name, ReviewAction.DECIDE, ANNA, disposition)


def test_the_first_opinion_is_told_to_nobody_before_the_second(archive: Archive) -> None:
    """Not in the review, and not in the log that everybody reads; then both are, and an approver may close it."""
    review = decide(archive, "e-0")
    assert (review.state, review.second_due, review.disposition) == (ReviewState.DECIDED, True, None)
    assert review.steps[-1].rationale is None
    with archive.reading() as connection:
        told = [event.body for event in happened(connection, record_id=review.record_id)]
    assert json.loads(told[0])["details"]["disposition"] is None
    assert not any(b"overturned" in body or b"Anna thinks" in body for body in told)
    for action in (ReviewAction.APPROVE, ReviewAction.RETURN):
        with pytest.raises(Blocked, match="a second opinion is asked for"):
            do(archive, "e-0", action, BERT)
    with pytest.raises(Blocked, match="cannot give the second opinion"):
        do(archive, "e-0", ReviewAction.SECOND, ANNA, Disposition.OVERTURNED)
    review = do(archive, "e-0", ReviewAction.SECOND, CLEO, Disposition.UPHELD)
    assert (review.disposition, review.second_disposition) == (Disposition.OVERTURNED, Disposition.UPHELD)
    assert (review.decided_by, review.second_by, review.second_due) == (ANNA, CLEO, False)
    assert review.steps[2].rationale == WHY
    with pytest.raises(Blocked, match="it is there already"):
        do(archive, "e-0", ReviewAction.SECOND, BERT, Disposition.UPHELD)
    assert do(archive, "e-0", ReviewAction.APPROVE, BERT).state is ReviewState.CLOSED
    assert check(archive).problems == []


def test_a_decision_that_comes_back_is_not_blind_again(archive: Archive) -> None:
    """Who knows both opinions decides in the open."""
    decide(archive, "e-0")
    do(archive, "e-0", ReviewAction.SECOND, CLEO, Disposition.UPHELD)
    do(archive, "e-0", ReviewAction.RETURN, BERT)
    review = do(archive, "e-0", ReviewAction.DECIDE, ANNA, Disposition.UPHELD)
    assert (review.disposition, review.second_due) == (Disposition.UPHELD, False)
    assert [step.rationale for step in review.steps] == [WHY] * len(review.steps)


def test_an_opinion_that_is_erased_is_not_counted(archive: Archive) -> None:
    """Erasing the record takes its notes along, and so the first opinion that only the note holds."""
    review = decide(archive, "e-0")
    erase_record(archive, "e-0", Ground.PERSON, "a letter", "officer")
    assert find_review(archive, "e-0").second_due
    review = do(archive, "e-0", ReviewAction.SECOND, CLEO, Disposition.UPHELD)
    assert (review.disposition, review.second_disposition) == (None, Disposition.UPHELD)
    assert (statistics(archive).pairs, statistics(archive).kappa) == (0, None)
    assert check(archive).problems == []


def test_agreement_is_counted(archive: Archive) -> None:
    """Pairs, how many agree, and reviews by their state."""
    opinions = [
        (Disposition.OVERTURNED, Disposition.OVERTURNED),
        (Disposition.UPHELD, Disposition.UPHELD),
        (Disposition.OVERTURNED, Disposition.UPHELD),
    ]
    for number, (first, second) in enumerate(opinions):
        decide(archive, f"e-{number}", first)
        do(archive, f"e-{number}", ReviewAction.SECOND, CLEO, second)
    do(archive, "e-0", ReviewAction.APPROVE, BERT)
    found = statistics(archive)
    assert (found.pairs, found.agreed) == (3, 2)
    assert found.kappa == pytest.approx(0.4)  # (2/3 - 4/9) / (1 - 4/9)
    assert found.states == {ReviewState.DECIDED: 2, ReviewState.CLOSED: 1}


def test_kappa_is_what_the_literature_says() -> None:
    """Fifty grants read by two people, 20 and 15 agreed, 5 and 10 not, have 0.4; one disposition alone has none."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([("y", "y")] * 3) is None
    assert cohens_kappa([]) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_kappa_is_that_of_the_table(pairs: list[tuple[str, str]]) -> None:
    """It is what the contingency table gives: the trace against the product of the margins."""
    table = np.zeros((3, 3))
    for first, second in pairs:
        table["abc".index(first), "abc".index(second)] += 1 / len(pairs)
    expected = table.sum(axis=1) @ table.sum(axis=0)
    found = cohens_kappa(pairs)
    if found is None:
        assert expected == pytest.approx(1)
    else:
        assert found == pytest.approx((np.trace(table) - expected) / (1 - expected))


def test_a_review_is_late_until_it_is_closed(archive: Archive) -> None:
    """Whatever is said meanwhile; reopened, it has its days again."""
    decide(archive, "e-0")
    archive.review_days = 10
    opened = archive.now()
    archive.now = lambda: opened + 9 * DAY
    decide(archive, "e-1")
    assert (count_overdue(archive), list_reviews(archive, None, late=True)) == (0, [])
    archive.now = lambda: opened + 11 * DAY
    do(archive, "e-0", ReviewAction.COMMENT, BERT)
    assert [found.record_id for found in list_reviews(archive, None, late=True)] == [samples.accepted(0).record_id]
    assert (count_overdue(archive), statistics(archive).overdue) == (1, 1)
    do(archive, "e-0", ReviewAction.SECOND, CLEO, Disposition.UPHELD)
    do(archive, "e-0", ReviewAction.APPROVE, BERT)
    assert count_overdue(archive) == 0
    do(archive, "e-0", ReviewAction.REOPEN, BERT)
    archive.now = lambda: opened + 20 * DAY
    assert count_overdue(archive) == 1  # e-1
    archive.now = lambda: opened + 22 * DAY
    assert count_overdue(archive) == 2
