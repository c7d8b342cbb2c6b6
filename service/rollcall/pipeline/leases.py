"""Which loaded models are in use, so that none is taken from whoever began with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Leases:
    """Users of models, by key (`ModelRef.key`). Used from one event loop."""

    held: Counter[str] = field(default_factory=Counter)
    _returned: dict[str, asyncio.Event] = field(default_factory=dict)

    @contextmanager
    def holding(self, key: str) -> Iterator[None]:
        """Use a model for the length of a `with` block."""
        self.held[key] += 1
        try:
            yield
        finally:
            self.held[key] -= 1
            if not self.held[key]:
                del self.held[key]
                if key in self._returned:
                    self._returned.pop(key).set()

    async def idle(self, key: str) -> None:
        """Wait until nobody uses a model."""
        while key in self.held:
            await self._returned.setdefault(key, asyncio.Event()).wait()
