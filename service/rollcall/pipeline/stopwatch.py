"""Seconds by stage. The pipeline observes it once, at the end of a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rollcall.domain.explanation import Timing
from rollcall.telemetry.traces import OFF, Spans


class Stopwatch:
    """Starts with the request; a stage that runs twice adds up. Each is a span, too."""

    def __init__(self, spans: Spans = OFF) -> None:
        """Start."""
        self._spans = spans
        self._started = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage."""
        started = time.perf_counter()
        try:
            with self._spans.stage(name):
                yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.perf_counter() - started

    def timing(self) -> Timing:
        """What has been measured so far."""
        return Timing(stages=tuple(self._stages.items()), total_seconds=time.perf_counter() - self._started)
