"""Permits: how many requests may be in flight, and the largest share of them that explanations may hold.

What does not get in is refused at once, with a hint when to come back; nothing queues without bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rollcall.domain.errors import Draining, Overloaded


@dataclass(slots=True, kw_only=True)
class Gate:
    """Counts requests in flight. Used from one event loop. `share` may change while it is in use."""

    max_in_flight: int
    share: float
    in_flight: int = 0
    explaining: int = 0
    draining: bool = False

    def close(self) -> None:
        """Refuse everything from now on."""
        self.draining = True

    @contextmanager
    def permit(self, *, explain: bool) -> Iterator[None]:
        """Hold a permit; raises Overloaded or Draining."""
        if self.draining:
            message = "the server is stopping"
            raise Draining(message)
        most = max(1, int(self.max_in_flight * self.share))
        if self.in_flight >= self.max_in_flight or (explain and self.explaining >= most):
            message = "too many requests are in flight"
            raise Overloaded(message)
        self.in_flight += 1
        self.explaining += explain
        try:
            yield
        finally:
            self.in_flight -= 1
            self.explaining -= explain
