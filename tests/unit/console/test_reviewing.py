"""The queue shows whoever looks all that is late or theirs, however many newer reviews there are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import Response

from rollcall.audit.database import FILE
from rollcall.audit.reviewing import Doing, act
from rollcall.audit.reviews import ReviewAction
from rollcall.audit.triggers import ReviewRules, opening
from rollcall.console.pages.reviewing import MOST, NAMED, queue
from rollcall.console.sessions import Session
from rollcall.console.visiting import Visit
from rollcall.settings import AuthSettings, GrpcSettings
from rollcall_client import AuditClient, Caller
from tests.unit.audit import samples
from tests.unit.audit.archives import open_archive
from tests.unit.audit.test_replaying import House, replayer
from tests.unit.edge.fakes import FakeHouse, open_door

if TYPE_CHECKING:
    from rollcall.console.visiting import House as Console

DAY = 86_400.0
LATE = NAMED + 5
REVIEWS = MOST + LATE
MINE = (0, 7)
"""Reviews of the oldest records that are assigned to whoever looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking(Visit):
    """A visit whose page is what it is made of."""

    shown: dict[str, Any] = field(default_factory=dict)

    def show(self, template: str, *, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - a template's own
        """Keep what the page is made of."""
        assert template == "queue.html"
        self.shown.update(values)
        return Response(status_code=status)


def looked(port: int, query: str) -> list[int]:
    """Look at the queue; return the numbers of the records that are shown, each with its own summary."""
    with AuditClient(f"127.0.0.1:{port}", timeout=60) as client:
        visit = Looking(
            house=cast("Console", None),
            request=Request({"type": "http", "query_string": query.encode(), "headers": []}),
            session=Session(caller=Caller(name="anyone", roles=frozenset()), client=client, ends=0.0, used=0.0),
            form={},
        )
        queue(visit)
    assert all(review.record_id == summary.record_id for review, summary in visit.shown["reviews"])
    return [int(summary.explanation_id.removeprefix("e-")) for _, summary in visit.shown["reviews"]]


async def test_what_is_late_or_mine_is_shown_behind_many_that_are_newer(tmp_path: Path) -> None:
    """The oldest are late, and further back than one list of the newest; a list that is cut off has the newest."""
    with open_archive(tmp_path / FILE) as archive:
        now = archive.now()
        for numbers, opened in ((range(LATE), now - 40 * DAY), (range(LATE, REVIEWS), now)):
            rules = ReviewRules(share=1.0)
            archive.store.follow = lambda body, opened=opened, rules=rules: opening(body, rules, opened)  # type: ignore[misc] # bound now
            archive.store.append([samples.accepted(number) for number in numbers])
        for number in MINE:
            doing = Doing(action=ReviewAction.ASSIGN, actor="Anna", assignee="anyone")
            act(archive, f"e-{number}", doing, four_eyes=True)
        taken = Doing(action=ReviewAction.ASSIGN, actor="Anna", assignee="Anna")
        act(archive, f"e-{MINE[0]}", taken, four_eyes=True)
        auth = AuthSettings(dangerously_trust_anyone=True)
        settings = GrpcSettings(port=0, drain_seconds=0.2)
        async with open_door(FakeHouse(), settings, auth, replayer=replayer(archive, House())) as door:

            async def look(query: str) -> list[int]:
                return await asyncio.to_thread(looked, door.port, query)

            late = list(reversed(range(LATE)))
            assert await look("whose=late") == late
            assert await look("whose=late&state=open") == [number for number in late if number not in MINE]
            assert await look("whose=mine") == [MINE[1]]
            assert await look("whose=mine&state=assigned") == [MINE[1]]
            assert await look("whose=mine&state=open") == []
            assert await look("") == list(reversed(range(LATE, REVIEWS)))
