"""A second opinion at the console, of somebody who is not told the first."""

from __future__ import annotations

from pathlib import Path

from rollcall.console.app import console
from rollcall.console.commands import connecting
from rollcall.console.demo import PEOPLE, demonstration
from rollcall.console.options import ConsoleOptions
from tests.console import Somebody


def test_a_second_opinion_is_given_without_knowing_the_first(tmp_path: Path) -> None:
    """Nobody approves before it is there, whoever decided cannot give it, and afterwards both are told."""
    people = PEOPLE | {"eve": ("auditor", "reviewer", "approver")}
    with demonstration(tmp_path, people, {"ROLLCALL_AUDIT_REVIEW_SECOND_SHARE": "1"}) as made:
        app = console(ConsoleOptions(target=made.server.target), connecting(made.server.target))
        ada, ben, eve = (Somebody(app, made.tokens[name]) for name in ("ada", "ben", "eve"))
        with made.ask("ada") as client:
            record_id = client.search("review = decided").records[0].record_id
        address = f"/records/{record_id}"
        first = ben.look(address)
        assert "waits for a second opinion" in ben.look("/reviews?state=decided").text
        assert "The negation carries the decision" not in first.source
        assert "upheld by ada" not in first.text
        assert not first.offers("/review/approve")
        assert not ada.look(address).offers("/review/second")
        both = ben.send(first, "/review/second", disposition="OVERTURNED", rationale="I read it otherwise.")
        assert "The negation carries the decision" in both.text
        assert "overturned by ben" in both.text
        assert "Second opinions: 1, of which 0 agree" in ben.look("/reviews").text
        closed = eve.send(eve.look(address), "/review/approve", rationale="The first is right.")
        assert "approved by eve" in closed.text
