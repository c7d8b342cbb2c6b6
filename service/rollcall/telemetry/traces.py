"""Spans: what one call did, stage by stage, for those who follow it through several services.

The rest of the house knows `Spans`. `OFF` keeps nothing and costs a method call; `rollcall.telemetry.otlp` makes those
of OpenTelemetry. A span holds names, counts and ids, as a log line does: never an input, never an error's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

Attribute: TypeAlias = str | int | float | bool


class Span(Protocol):
    """Something that takes time, in a trace that is kept or in none."""

    @property
    def trace_id(self) -> str:
        """Thirty-two hexadecimal digits; "" where the trace is not kept."""
        ...

    def began(self, name: str, seconds: float) -> None:
        """Add a span below this one that began with it and took so long."""
        ...

    def end(self, *, code: int, **attributes: Attribute) -> None:
        """End the span of a call or request, with a gRPC code by number."""
        ...


class Spans(Protocol):
    """Makes spans. What is current belongs to the asyncio task, and tasks that it starts inherit it."""

    def call(self, service: str, method: str, metadata: Mapping[str, str]) -> Span:
        """Begin the span of a call, which may go on a caller's trace (W3C Trace Context), for the rest of this task."""
        ...

    def one(self, method: str) -> Span:
        """Begin the span of one request of a call with many, below the call's, for the rest of this task."""
        ...

    def stage(self, name: str, **attributes: Attribute) -> AbstractContextManager[Span]:
        """Span a part of what the current span does; nothing where there is none."""
        ...

    def trace_id(self) -> str:
        """The current span's."""
        ...

    def close(self) -> None:
        """Send what has not been sent, and stop; takes seconds where nobody listens."""
        ...


class _Nothing:
    """A span that is not kept."""

    trace_id = ""

    def began(self, name: str, seconds: float) -> None:
        """Forget it."""

    def end(self, *, code: int, **attributes: Attribute) -> None:
        """Forget it."""


NOTHING: Span = _Nothing()
NO_STAGE = nullcontext(NOTHING)


class _Off:
    """Keeps nothing."""

    def call(self, service: str, method: str, metadata: Mapping[str, str]) -> Span:
        """Begin nothing."""
        del service, method, metadata
        return NOTHING

    def one(self, method: str) -> Span:
        """Begin nothing."""
        del method
        return NOTHING

    def stage(self, name: str, **attributes: Attribute) -> AbstractContextManager[Span]:
        """Span nothing."""
        del name, attributes
        return NO_STAGE

    def trace_id(self) -> str:
        """There is none."""
        return ""

    def close(self) -> None:
        """Nothing is left to send."""


OFF: Spans = _Off()
