"""Spans of OpenTelemetry's own library, kept in memory, and what tests ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rollcall.telemetry.otlp import OpenSpans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = ("traceparent", f"00-{TRACE}-{PARENT}-01")
NOT_SAMPLED = ("traceparent", f"00-{TRACE}-{PARENT}-00")


@dataclass(frozen=True, slots=True)
class Kept:
    """Spans, and those that have ended."""

    spans: OpenSpans
    exporter: InMemorySpanExporter = field(repr=False)

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        """In the order in which they ended."""
        return self.exporter.get_finished_spans()

    def below(self, parent: ReadableSpan | None) -> Iterator[ReadableSpan]:
        """What has this one, or nobody, as its parent, as it began."""
        own = parent.context.span_id if parent else None
        found = [span for span in self.ended if (span.parent.span_id if span.parent else None) == own]
        return iter(sorted(found, key=lambda span: span.start_time or 0))

    def tree(self, parent: ReadableSpan | None) -> dict[str, object]:
        """Names of all that is below a span, nested; of several with one name the last."""
        return {span.name: self.tree(span) for span in self.below(parent)}


def kept(share: float = 1.0) -> Kept:
    """Keep spans of this share of the calls that do not say."""
    exporter = InMemorySpanExporter()
    return Kept(OpenSpans(SimpleSpanProcessor(exporter), share=share, resource={"service.name": "test"}), exporter)
