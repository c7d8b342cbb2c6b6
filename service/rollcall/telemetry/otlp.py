"""Spans of OpenTelemetry, sent to a collector by OTLP over gRPC. Imported only where traces are on: `rollcall[otel]`.

Whether a call is traced is its caller's decision (the sampled flag of `traceparent`), and chance's where the caller
does not say. What is not sampled gets no further spans. Headers and certificates for the collector are OpenTelemetry's
own variables (OTEL_EXPORTER_OTLP_*), and so are further attributes of the process (OTEL_RESOURCE_ATTRIBUTES).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rollcall.telemetry.traces import NO_STAGE, NOTHING, Attribute, Span

NANOSECONDS = 1_000_000_000
OUR_FAULTS = (2, 4, 12, 13, 14, 15)
"""Codes that make a server's span an error by OpenTelemetry's conventions: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
INTERNAL, UNAVAILABLE and DATA_LOSS."""
EXPORT_SECONDS = 5
"""For one try to send; a collector that is gone must not hold up a process that ends."""


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """A span that is kept."""

    tracer: trace.Tracer
    span: SdkSpan

    @property
    def trace_id(self) -> str:
        """Its trace's."""
        return trace.format_trace_id(self.span.get_span_context().trace_id)

    def began(self, name: str, seconds: float) -> None:
        """Add a span below that began with it."""
        start = self.span.start_time or time.time_ns()
        below = self.tracer.start_span(name, trace.set_span_in_context(self.span), start_time=start)
        below.end(start + int(seconds * NANOSECONDS))

    def end(self, *, code: int, **attributes: Attribute) -> None:
        """End it."""
        self.span.set_attribute("rpc.grpc.status_code", code)
        self.span.set_attributes({f"rollcall.{name}": value for name, value in attributes.items()})
        if code in OUR_FAULTS:
            self.span.set_status(trace.StatusCode.ERROR)
        self.span.end()


class OpenSpans:
    """Implements `rollcall.telemetry.traces.Spans`; `share` of the calls whose callers do not say are traced."""

    def __init__(self, processor: SpanProcessor, *, share: float, resource: Mapping[str, Attribute]) -> None:
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(share), resource=Resource.create(dict(resource)), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("rollcall")
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, endpoint: str, *, share: float, resource: Mapping[str, Attribute]) -> OpenSpans:
        """Send to a collector at http://HOST:PORT or https://HOST:PORT."""
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)
        return cls(
            BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_SECONDS * 1000), share=share, resource=resource
        )

    def call(self, service: str, method: str, metadata: Mapping[str, str]) -> Span:
        """Begin the span of a call. It stays current: a call has a task of its own."""
        before = self._propagator.extract(metadata, context.Context())
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        return self._current(self._tracer.start_span(f"{service}/{method}", before, trace.SpanKind.SERVER, attributes))

    def one(self, method: str) -> Span:
        """Begin the span of one request of many, likewise."""
        return self._current(self._tracer.start_span(f"{method} request"))

    def _current(self, span: trace.Span) -> Span:
        """Have a span stay current in this task."""
        context.attach(trace.set_span_in_context(span))
        return OpenSpan(self._tracer, span) if isinstance(span, SdkSpan) else NOTHING

    def stage(self, name: str, **attributes: Attribute) -> AbstractContextManager[Span]:
        """Span a part of what the current span does, if that is kept."""
        return self._stage(name, attributes) if trace.get_current_span().is_recording() else NO_STAGE

    @contextmanager
    def _stage(self, name: str, attributes: Mapping[str, Attribute]) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name,
            attributes={f"rollcall.{key}": value for key, value in attributes.items()},
            record_exception=False,  # an error's text may quote an input
            set_status_on_exception=False,
        ) as span:
            yield OpenSpan(self._tracer, span) if isinstance(span, SdkSpan) else NOTHING

    def trace_id(self) -> str:
        """The current span's, if it is kept."""
        found = trace.get_current_span()
        return trace.format_trace_id(found.get_span_context().trace_id) if found.is_recording() else ""

    def close(self) -> None:
        """Send the rest, for a few seconds at most."""
        self._provider.shutdown()
