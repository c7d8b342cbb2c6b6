"""A review goes its way step by step, by two people, and every step can be read from the log."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from rollcall.audit.archive import Archive
from rollcall.audit.database import Database
from rollcall.audit.erasing import Ground, erase_subject
from rollcall.audit.reviewing import Doing, act, find_review, list_reviews
from rollcall.audit.reviews import TRANSITIONS, Disposition, Review, ReviewAction, ReviewState
from rollcall.audit.searching import search
from rollcall.audit.triggers import ReviewRules
from rollcall.domain.errors import Blocked, InvalidInput, RecordNotFound
from tests.unit.audit import samples
from tests.unit.audit.archives import check, open_archive

ANNA, BERT = "reviewer Anna", "approver Bert"
OPEN, ASSIGN, COMMENT, DECIDE, APPROVE, RETURN, REOPEN, SECOND = ReviewAction
PATHS = {
    None: [],
    ReviewState.OPEN: [OPEN],
    ReviewState.ASSIGNED: [OPEN, ASSIGN],
    ReviewState.DECIDED: [OPEN, ASSIGN, DECIDE],
    ReviewState.CLOSED: [OPEN, ASSIGN, DECIDE, APPROVE],
}
"""How a review gets to each state."""


@pytest.fixture
def archive(database: Database) -> Iterator[Archive]:
    """Keep a record about a person, and one about nobody."""
    with open_archive(database, samples.accepted(0, subject_ref=samples.SUBJECT), samples.accepted(1)) as opened:
        yield opened


def step(archive: Archive, action: ReviewAction, actor: str = ANNA, *, name: str = "e-0", why: str = "so") -> Review:
    """Do a step."""
    doing = Doing(
        action=action,
        actor=actor,
        rationale=why,
        assignee=ANNA if action is ASSIGN else "",
        disposition=Disposition.OVERTURNED if action in {DECIDE, SECOND} else None,
        case_number="2026/17" if action is OPEN else "",
    )
    return act(archive, name, doing, four_eyes=True)


def test_a_review_goes_its_way(archive: Archive) -> None:
    """Opened, assigned, decided by one and approved by another; reopened, it has no decision any more."""
    for action in (OPEN, COMMENT, ASSIGN, DECIDE):
        review = step(archive, action)
    assert (review.state, review.assignee, review.decided_by) == (ReviewState.DECIDED, ANNA, ANNA)
    assert (review.disposition, review.case_number) == (Disposition.OVERTURNED, "2026/17")
    review = step(archive, APPROVE, BERT, why="")
    assert (review.state, review.approved_by) == (ReviewState.CLOSED, BERT)
    assert [found.action for found in review.steps] == [OPEN, COMMENT, ASSIGN, DECIDE, APPROVE]
    assert [found.rationale for found in review.steps] == ["so"] * 4 + [""]
    review = step(archive, REOPEN, BERT)
    assert (review.state, review.disposition, review.decided_by, review.approved_by) == (ReviewState.OPEN, None, "", "")
    assert find_review(archive, "e-0") == review
    assert check(archive).problems == []


@pytest.mark.parametrize(("state", "action"), list(product(PATHS, ReviewAction)))
def test_only_what_the_table_allows_is_done(
    tmp_path_factory: pytest.TempPathFactory, state: ReviewState | None, action: ReviewAction
) -> None:
    """From every state every step either leads where the table says, or is refused and leaves no trace."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    with open_archive(path, samples.accepted(0)) as archive:
        archive.rules = ReviewRules(second_share=float((state, action) == (ReviewState.DECIDED, SECOND)))
        for before in PATHS[state]:
            step(archive, before, BERT if before is APPROVE else ANNA)
        actor = BERT if action in {APPROVE, SECOND} else ANNA
        if (state, action) in TRANSITIONS:
            assert step(archive, action, actor).state is TRANSITIONS[state, action]
            return
        with pytest.raises(Blocked, match="the review is"):
            step(archive, action, actor)
        steps = 0 if state is None else len(find_review(archive, "e-0").steps)
        assert steps == len(PATHS[state])


def test_one_person_does_not_decide_and_approve(archive: Archive) -> None:
    """Who is not assigned does not decide, who decided does not approve, unless the operator does without."""
    for action in (OPEN, ASSIGN):
        step(archive, action)
    with pytest.raises(Blocked, match="assigned to reviewer Anna"):
        step(archive, DECIDE, BERT)
    step(archive, DECIDE)
    with pytest.raises(Blocked, match="second pair of eyes"):
        step(archive, APPROVE)
    assert step(archive, RETURN, BERT).state is ReviewState.ASSIGNED
    step(archive, DECIDE)
    alone = Doing(action=APPROVE, actor=ANNA)
    assert act(archive, "e-0", alone, four_eyes=False).state is ReviewState.CLOSED


def test_steps_need_reasons_and_records(archive: Archive) -> None:
    """Without a reason nothing is opened; a record that is not there, or was never reviewed, is not found."""
    with pytest.raises(InvalidInput, match="rationale"):
        step(archive, OPEN, why="")
    for name in ("e-0", "e-9"):
        with pytest.raises(RecordNotFound):
            find_review(archive, name)


def test_reviews_are_listed_and_found_by_their_state(archive: Archive) -> None:
    """Newest records first; the search knows the state, too."""
    step(archive, OPEN)
    step(archive, OPEN, name="e-1")
    step(archive, ASSIGN, name="e-1")
    assert [found.state for found in list_reviews(archive, None)] == [ReviewState.ASSIGNED, ReviewState.OPEN]
    assert [found.state for found in list_reviews(archive, ReviewState.OPEN)] == [ReviewState.OPEN]
    assert [found.review for found in search(archive, "review = assigned", 9, "").records] == ["assigned"]


def test_reasons_are_erased_with_the_record(archive: Archive) -> None:
    """That somebody decided stays; what was said about the person goes."""
    for action in (OPEN, ASSIGN, DECIDE):
        step(archive, action, why="Xanthippe was right")
    erase_subject(archive, samples.SUBJECT, Ground.PERSON, "a letter", ANNA)
    review = find_review(archive, "e-0")
    assert review.disposition is Disposition.OVERTURNED
    assert [found.rationale for found in review.steps] == [None, None, None]
    assert step(archive, APPROVE, BERT, why="closed after erasure").steps[-1].rationale == "closed after erasure"
    assert check(archive).problems == []
