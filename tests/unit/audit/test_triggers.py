"""Reviews that nobody has to ask for: by rules over what was recorded, and by chance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from rollcall.audit import queries
from rollcall.audit.database import Database
from rollcall.audit.events import SERVER
from rollcall.audit.records import happened
from rollcall.audit.reviewing import Doing, act, find_review, list_reviews
from rollcall.audit.reviews import ReviewAction, ReviewState
from rollcall.audit.store import Store
from rollcall.audit.triggers import ReviewRules, opening
from rollcall.domain.errors import Blocked
from tests.unit.audit import samples
from tests.unit.audit.archives import SIGNER, check, open_archive

KEY = b"the operator's"


def body(number: int = 0, *, flag: str | None = "faithful", margin: float = 2.0, mismatch: bool = False) -> Any:  # noqa: ANN401 - an envelope
    """Write as much of an envelope as rules read."""
    return {
        "record_id": f"r-{number}",
        "verdict": None if flag is None else {"flag": flag},
        "prediction": {"margin": str(margin)},
        "request": {"reported": {"mismatch": mismatch}},
    }


ALL = ReviewRules(unfaithful=True, mismatch=True, margin=0.5, key=KEY)


@pytest.mark.parametrize(
    ("told", "names"),
    [
        (body(), ()),
        (body(flag="inconclusive"), ()),
        (body(flag=None), ()),
        (body(flag="unfaithful"), ("unfaithful",)),
        (body(mismatch=True), ("mismatch",)),
        (body(flag=None, mismatch=True), ("mismatch",)),
        (body(margin=0.49), ("low_margin",)),
        (body(margin=-0.49), ("low_margin",)),
        (body(margin=0.5), ()),
        (body(flag="unfaithful", margin=0.1, mismatch=True), ("unfaithful", "mismatch", "low_margin")),
    ],
)
def test_a_rule_opens_what_it_is_about(told: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Each of its own; without a rule in the settings nothing is opened."""
    assert ALL.opened_by(told) == names
    assert ReviewRules(key=KEY).opened_by(told) == ()
    event = opening(told, ALL, 1.0)
    assert (event is None) == (not names)


def test_a_share_is_drawn_whatever_the_flag_and_always_alike() -> None:
    """About as many as were asked for; another key draws others, so that callers cannot tell which."""
    rules, other = ReviewRules(share=0.2, key=KEY), ReviewRules(share=0.2, key=b"another")
    drawn = {number for number in range(5_000) if rules.opened_by(body(number))}
    assert len(drawn) == pytest.approx(1_000, abs=120)  # over four standard deviations
    assert drawn == {number for number in range(5_000) if rules.opened_by(body(number, flag="unfaithful"))}
    both = drawn & {number for number in range(5_000) if other.opened_by(body(number))}
    assert len(both) == pytest.approx(200, abs=70)
    assert ReviewRules(share=1.0, key=KEY).opened_by(body()) == ("sample",)
    assert {rules.second(f"r-{number}") for number in range(9)} == {False}


def test_a_record_and_its_review_come_in_one_transaction(database: Database) -> None:
    """The log has the review right behind the record, once, also where the record is taken twice; people go on."""
    rules = ReviewRules(mismatch=True, second_share=1.0, key=KEY)
    store = Store(database=database, signer=SIGNER, follow=lambda told: opening(told, rules, samples.AT))
    store.open(1.0)
    records = [samples.accepted(0), samples.accepted(1)]
    assert list(store.append(records).values()) == list(store.append(records).values()) == [1, 2]
    assert list(store.append([samples.accepted(2)]).values()) == [5]
    store.close()
    with open_archive(database) as archive:
        assert [review.state for review in list_reviews(archive, None)] == [ReviewState.OPEN] * 3
        review = find_review(archive, "e-1")
        assert (review.rules, review.second_wanted, review.steps[0].rationale) == (("mismatch",), True, "")
        with archive.reading() as connection:
            assert queries.size(connection) == 7
            (event,) = happened(connection, record_id=review.record_id)
        told = json.loads(event.body)
        assert (event.leaf_index, told["actor"], told["created_at"]) == (4, SERVER, "2025-11-24T16:00:00.123Z")
        with pytest.raises(Blocked, match="the review is open"):
            act(archive, "e-1", Doing(action=ReviewAction.OPEN, actor="Anna", rationale="so"), four_eyes=True)
        assert act(archive, "e-1", Doing(action=ReviewAction.ASSIGN, actor="Anna", assignee="Anna"), four_eyes=True)
        archive.sign()
        assert check(archive).problems == []
