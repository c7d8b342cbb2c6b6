"""What ModelInfer answered for each model since the server started, for ModelStatistics.

Clients made for Triton ask for it; operators have the metrics. Used from one event loop.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

NANOSECONDS = 10**9
MILLISECONDS = 10**3


@dataclass(slots=True, kw_only=True)
class Tally:
    """Calls for one model: how many ended well and how many did not, nanoseconds of each, items answered."""

    succeeded: int = 0
    succeeded_ns: int = 0
    failed: int = 0
    failed_ns: int = 0
    items: int = 0
    last_ms: int = 0
    """Unix time at which the last call ended; 0 before the first."""


@dataclass(slots=True, kw_only=True)
class Statistics:
    """Tallies by model."""

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    @contextmanager
    def counting(self, model: str, items: int) -> Iterator[None]:
        """Count a call for the length of a `with` block; what leaves it by an exception has failed."""
        started, tally = self.clock(), self.tallies[model]
        try:
            yield
        except BaseException:
            tally.failed += 1
            tally.failed_ns += round((self.clock() - started) * NANOSECONDS)
            raise
        else:
            tally.succeeded += 1
            tally.succeeded_ns += round((self.clock() - started) * NANOSECONDS)
            tally.items += items
        finally:
            tally.last_ms = round(self.now() * MILLISECONDS)
