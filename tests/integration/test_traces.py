"""Traces of a real server arrive at a real receiver of OTLP, over gRPC and between processes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from rollcall.demo.server import server_process
from rollcall_client import Client
from tests.monitoring import free_port, monitoring, needs_prometheus
from tests.spans import PARENT, SAMPLED, TRACE

CANARY = "zanzibar"
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes what is exported, and keeps it."""

    requests: list[trace_service_pb2.ExportTraceServiceRequest] = field(default_factory=list)

    def Export(  # noqa: N802 - the proto's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keep it."""
        del context
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[trace_pb2.Span]:
        """All that arrived."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource(self) -> dict[str, str]:
        """What the process says of itself."""
        return {each.key: each.value.string_value for each in self.requests[0].resource_spans[0].resource.attributes}


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """Listen as a collector does; yield it and its address."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call] # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_a_callers_trace_goes_through_the_service_to_the_collector(tmp_path: Path) -> None:
    """From the caller's span to the device and the record; log line and exemplars name it, no input is in it."""
    with collecting() as (collector, endpoint):
        environment = {
            "ROLLCALL_TRACES_ENDPOINT": endpoint,
            "ROLLCALL_TRACES_SHARE": "0",
            "ROLLCALL_AUDIT_DIRECTORY": str(tmp_path / "audit"),
            "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=pod-1",
        }
        with server_process("--demo", environment=environment) as server:
            with Client(server.target, timeout=60) as untraced:
                untraced.explain(f"A {CANARY} film that nobody follows.")
            with Client(server.target, timeout=60, metadata=(SAMPLED,)) as client:
                answer = client.explain(f"A wonderful {CANARY} film.", request_id="mine")
            exposed = urlopen(
                Request(f"{server.admin}/metrics", headers={"Accept": "application/openmetrics-text"}), timeout=20
            ).read()
            server.stop()
            lines = [json.loads(line) for line in server.log.read_text().splitlines() if '"event": "request"' in line]
    spans = {span.span_id: span for span in collector.spans}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    (call,) = (span for span in spans.values() if span.parent_span_id.hex() == PARENT)
    assert call.name == "rollcall.v1.ExplanationService/Explain"
    others = [span for span in spans.values() if span is not call]
    stages = {span.name for span in others if spans[span.parent_span_id] is call}
    assert stages == {"encode", "capture", "look", "witness", "decide", "record"}
    turns = [span for span in others if span.name == "device"]
    assert {spans[span.parent_span_id].name for span in turns} >= {"capture", "look"}
    assert sorted(span.name for span in others if spans[span.parent_span_id] in turns) == ["queue"] * len(turns)
    assert collector.resource().items() >= {"service.name": "rollcall", "k8s.pod.name": "pod-1"}.items()
    assert not any(CANARY.encode() in request.SerializeToString() for request in collector.requests)
    assert [line.get("trace_id") for line in lines] == [None, TRACE]
    assert answer.audit is not None
    told = {each.key: each.value.string_value for each in call.attributes}
    assert told["rollcall.record_id"] == lines[-1]["record_id"] == answer.audit.record_id
    exemplars = re.findall(rb"^(\w+)_bucket\{.*\} \d+\.0 # \{trace_id=\"(\w+)\"\}", exposed, flags=re.MULTILINE)
    assert {name for name, _ in exemplars} == {
        b"rollcall_request_duration_seconds",
        b"rollcall_stage_duration_seconds",
    }
    assert {trace for _, trace in exemplars} == {TRACE.encode()}


@needs_prometheus
def test_a_real_prometheus_keeps_the_exemplars(tmp_path: Path) -> None:
    """It asks for the format that has them by itself, and from a slow bucket leads to the trace."""
    with (
        collecting() as (_, endpoint),
        server_process("--demo", environment={"ROLLCALL_TRACES_ENDPOINT": endpoint}) as server,
        monitoring(server.admin, tmp_path) as watching,
    ):
        with Client(server.target, timeout=60, metadata=(SAMPLED,)) as client:
            client.explain(f"A wonderful {CANARY} film.")
        question = 'rollcall_request_duration_seconds_bucket{method="Explain"}'
        until = time.monotonic() + PATIENCE_SECONDS
        while not (found := watching.exemplars(question)):
            assert time.monotonic() < until
            time.sleep(0.5)
        assert found == [{"trace_id": TRACE}]
        assert [each["value"][1] for each in watching.query("up")] == ["1"]
        assert watching.query('grpc_server_handled_total{grpc_code="OK", grpc_method="Explain"}')[0]["value"][1] == "1"


def test_a_collector_that_is_gone_is_nobodys_problem() -> None:
    """Without anybody at the other end calls are answered as ever, and the server ends in good order, in seconds."""
    environment = {"ROLLCALL_TRACES_ENDPOINT": f"http://127.0.0.1:{free_port()}", "ROLLCALL_TRACES_SHARE": "1"}
    with server_process("--demo", environment=environment) as server:
        with Client(server.target, timeout=60, retries=0) as client:
            for number in range(20):
                client.predict(f"A wonderful {CANARY} film {number}.")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < PATIENCE_SECONDS
        assert CANARY not in server.log.read_text()
