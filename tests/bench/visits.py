"""Clients of a soak: most are polite; some leave in the middle, hurry, ask for nonsense, or hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import numpy as np

from rollcall.demo.server import ServerProcess
from rollcall_client import AsyncClient, RollcallError
from tests.bench.openloop import EXPECTED, Due, unexpected
from tests.bench.traffic import Caller

PATIENCE_SECONDS = (0.001, 0.3)
"""How long those who leave stay, and those in a hurry give; each order of magnitude is as likely as the other."""
HANDSHAKE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00"
"""HTTP/2's preface, and the beginning of a frame that never comes."""
LEFT, HUNG_UP = "left", "hung up"


class Manner(Enum):
    """How a client behaves."""

    POLITE = "polite"
    LEAVES = "leaves"
    HURRIED = "hurried"
    WRONG = "wrong"
    HANGS_UP = "hangs up"


MANNERS = {Manner.POLITE: 0.9, Manner.LEAVES: 0.03, Manner.HURRIED: 0.03, Manner.WRONG: 0.03, Manner.HANGS_UP: 0.01}
"""Share of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A request that no server can answer, and the code that says so."""

    code: str
    ask: Callable[[AsyncClient], Awaitable[object]]


WRONG = (
    Wrong(code="INVALID_ARGUMENT", ask=lambda client: client.explain("")),
    Wrong(code="INVALID_ARGUMENT", ask=lambda client: client.predict("word " * 50_000)),
    Wrong(code="INVALID_ARGUMENT", ask=lambda client: client.explain("A good film.", max_rows=0)),
    Wrong(code="INVALID_ARGUMENT", ask=lambda client: client.explain("A good film.", policy="none such")),
    Wrong(code="INVALID_ARGUMENT", ask=lambda client: client.predict_tokens([2_000_000_000])),
    Wrong(code="NOT_FOUND", ask=lambda client: client.predict("A good film.", model="none-such")),
    Wrong(code="INVALID_ARGUMENT", ask=lambda client: client.explain("A good film.", target="no such label")),
)
"""One of each, in turn."""
SERVER_CODES = EXPECTED | {"CANCELLED"} | {wrong.code for wrong in WRONG}
"""What the server's own counters may show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of the soak. `patience` in seconds and `number` are for those who need them."""

    due: Due
    manner: Manner
    patience: float
    number: int

    @property
    def at(self) -> float:
        """Seconds from the start."""
        return self.due.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a visit ended, and whether it may end so."""

    manner: Manner
    code: str
    fine: bool


def visits(plan: Sequence[Due], seed: int) -> list[Visit]:
    """Give each request on a timetable a manner."""
    random = np.random.default_rng(seed)
    manners = random.choice(len(MANNERS), size=len(plan), p=list(MANNERS.values()))
    least, most = PATIENCE_SECONDS
    patience = least * (most / least) ** random.random(len(plan))
    return [
        Visit(due=due, manner=list(MANNERS)[manner], patience=float(longest), number=number)
        for number, (due, manner, longest) in enumerate(zip(plan, manners, patience, strict=True))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Pays visits to a server."""

    server: ServerProcess
    call: Caller

    async def __call__(self, visit: Visit, start: float) -> Outcome:
        """Pay one."""
        match visit.manner:
            case Manner.POLITE:
                code, fine = await self._ask(visit.due, start, self.call)
            case Manner.HURRIED:
                hurried = Caller(client=self.call.client, deadline=visit.patience, verdicts=self.call.verdicts)
                code, fine = await self._ask(visit.due, start, hurried)
            case Manner.LEAVES:
                code, fine = LEFT, True
                with suppress(TimeoutError):
                    async with asyncio.timeout(visit.patience):
                        code, fine = await self._ask(visit.due, start, self.call)
            case Manner.WRONG:
                wrong = WRONG[visit.number % len(WRONG)]
                code = await _code(wrong.ask(self.call.client))
                fine = code in {wrong.code, "UNAVAILABLE"}
            case Manner.HANGS_UP:
                code, fine = await self._hang_up(), True
        return Outcome(manner=visit.manner, code=code, fine=fine)

    async def _ask(self, due: Due, start: float, call: Caller) -> tuple[str, bool]:
        answer = await call(due, start)
        return answer.code, not unexpected([answer])

    async def _hang_up(self) -> str:
        host, _, port = self.server.target.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(HANDSHAKE)
        await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return HUNG_UP


async def _code(reply: Awaitable[object]) -> str:
    try:
        await reply
    except RollcallError as error:
        return error.code
    return "OK"
