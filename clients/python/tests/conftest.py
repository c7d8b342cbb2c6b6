"""Both clients behind one function, so that each behaviour is tested once for both colours."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from rollcall_client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollcall_client.client import Surface


@dataclass(slots=True)
class Ask:
    """Makes one call with a client of its colour; `waits` are the seconds that it was told to sleep."""

    colour: str
    waits: list[float] = field(default_factory=list)

    def __call__(
        self,
        target: str,
        call: Callable[[Surface[Any, Any, Any, Any]], Any],
        **settings: Any,  # noqa: ANN401 - the settings of both clients
    ) -> Any:  # noqa: ANN401 - whatever the call returns
        """The call's answer; `settings` go to the client."""
        if self.colour == "sync":
            with Client(target, sleep=self.waits.append, **settings) as client:
                return call(client)
        return asyncio.run(self._ask(target, call, settings))

    async def _ask(
        self, target: str, call: Callable[[Surface[Any, Any, Any, Any]], Any], settings: dict[str, Any]
    ) -> object:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        async with AsyncClient(target, sleep=sleep, **settings) as client:
            return await call(client)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """The client under test, in both colours."""
    return Ask(request.param)
