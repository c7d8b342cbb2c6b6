"""Every metric of the service, each declared once, on the registry that is handed in.

What others see are methods named for what happened; metric objects and names stay here. Labels take values known in
advance: methods, codes, stages, checks, flags, reasons, and the configured models (`series.OTHER` for the rest).
Buckets are part of the contract with dashboards and alerts and hold every objective exactly.

Who calls what: the edge calls `rpc_*`, `rejected` and the stage `serialize`; the pipeline `predicted` and `explained`,
once per answer; the engine `batch` and `queue_waited`; the composition root the rest. Methods may be called from any
thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics import exposition as openmetrics

from rollcall.domain.maps import DEFAULT_MAPS, MapKind
from rollcall.domain.verdicts import CheckKind
from rollcall.telemetry.series import OTHER, Family
from rollcall.telemetry.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from enum import Enum

    from rollcall.domain.explanation import Explanation, Predicted, Timing
    from rollcall.domain.maps import MapKind
    from rollcall.domain.model import ModelCard
    from rollcall.domain.verdicts import Flag

SERVICE: Final = "rollcall.v1.ExplanationService"
OPEN_INFERENCE: Final = "inference.GRPCInferenceService"
STREAMS: Final = ("ExplainStream",)
MANY: Final = ("ExplainMany",)
"""Methods that take many requests in one call, each of which counts as a request."""
UNTIMED: Final = (*MANY, "ListModels", "GetModel")
"""Methods whose calls last as long as their callers like, or run no model."""
TIMED: Final = ("Predict", "Explain", *STREAMS, "ModelInfer")
METHODS: Final = (*TIMED, *UNTIMED)
SERVICES: Final = {method: OPEN_INFERENCE if method == "ModelInfer" else SERVICE for method in METHODS}
CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "UNAUTHENTICATED",
)
"""Every code that a call of ours can end with; the others are never sent."""
STAGES: Final = frozenset({"encode", "predict", "capture", "look", "witness", "thorough", "decide", "serialize"})
OTHER_STAGE: Final = "other"
ON_REQUEST: Final = "on_request"
"""The label of all maps together that come only where they are asked for: one of their own would not fit a scrape."""
THOROUGH: Final = "thorough"
"""The label of all checks together that come only at the level THOROUGH."""
PREDICTIONS_ONLY: Final = "predictions_only"
"""The scope of a model that failed a required self-test; of the others, what their verdicts rest on."""
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
CONTENT_TYPE_EXEMPLARS: Final = openmetrics.CONTENT_TYPE_LATEST

RejectReason: TypeAlias = Literal["queue_full", "quota", "deadline", "draining", "not_ready", "memory"]

SHARED_CHECKS: Final = frozenset(
    {CheckKind.INSTRUMENT, CheckKind.REACH, CheckKind.UNIFORM_ATTENTION, CheckKind.DECISION_FLIP, CheckKind.HEADS}
)
"""Checks that run once for all maps; counted once per explanation, from the primary map's verdict."""

REQUEST_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STAGE_SECONDS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 5)
HANDLING_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
QUEUE_SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 5)
TOKENS: Final = (16, 32, 64, 128, 256, 512, 1024, 4096)
EXPLANATION_ROWS: Final = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
BATCH_ROWS: Final = (1, 4, 16, 64, 256)
BATCH_SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.1, 0.5)
ESTIMATE_RATIOS: Final = (0.25, 0.5, 0.8, 1.25, 2, 4)

AUDIT_OUTCOMES: Final = ("recorded", "not_recorded", "failed")
REPLAY_OUTCOMES: Final = ("exact", "within_tolerance", "different", "verdict_changed", "not_replayable")
RECHECK_OUTCOMES: Final = ("done", "dropped", "failed")
POOLED_MAPS: Final = 12
"""Maps of models whose record is exposed; GetModel tells all of it."""

Metric = TypeVar("Metric", bound=MetricWrapperBase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is going on at this moment: requests being handled, and rows waiting for the device."""

    in_flight: int
    queued: int


def grpc_type(method: str) -> str:
    """What grpc-prometheus calls the shape of a method."""
    return "bidi_stream" if method in MANY else "server_stream" if method in STREAMS else "unary"


def map_label(kind: MapKind) -> str:
    """How verdicts of this kind of map are counted."""
    return kind.value if kind in DEFAULT_MAPS else ON_REQUEST


def check_label(kind: CheckKind) -> str:
    """How results of this kind of check are counted."""
    return THOROUGH if kind.thorough else kind.value


class Metrics:
    """The service's metrics. `models` are the configured names; requests without a name count for `default_model`.

    What is measured while `trace_id` tells one is an exemplar of its bucket.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        models: Iterable[str],
        default_model: str | None,
        trace_id: Callable[[], str] = str,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # upstream leaves it unannotated
        self._registry = registry
        self._models = frozenset(models)
        self._default_model = default_model or ""
        self._trace_id = trace_id
        self._folded = Counter(
            "rollcall_series_folded_total",
            "Label sets counted under the model other for want of room.",
            registry=registry,
        )
        self._declare_rpcs()
        self._declare_requests()
        self._declare_evidence()
        self._declare_records()
        self._declare_queue()
        self._declare_state()
        self._declare_audit()
        ProcessCollector(registry=registry)

    def model_label(self, name: str) -> str:
        """Return the value of the label `model` for a name that a request gave."""
        name = name or self._default_model
        return name if name in self._models else OTHER

    # --- one request -------------------------------------------------------------------------------------------------

    def rpc_started(self, method: str) -> None:
        """Count a call of one of METHODS that has arrived, and its message unless it will have many."""
        self._grpc_started[method].inc()
        if method not in MANY:
            self._grpc_received[method].inc()
        self._in_flight[method].inc()

    def rpc_received(self, method: str) -> None:
        """Count a message of many that has arrived."""
        self._grpc_received[method].inc()

    def rpc_handled(self, method: str, *, model: str, code: str, seconds: float) -> None:
        """Count the end of a started call: a gRPC code by name, the model as the request gave it."""
        self._in_flight[method].dec()
        self._grpc_handled[method, code].inc()
        if code == "OK" and method not in (*STREAMS, *MANY):
            self._grpc_sent[method].inc()
        if method in TIMED:
            self._grpc_handling[method].observe(seconds)
            self._request_seconds.child(model or self._default_model, method).observe(seconds, self._exemplar())
        if method not in MANY:
            self.request_handled(method, model=model, code=code)

    def request_handled(self, method: str, *, model: str, code: str) -> None:
        """Count the end of a request: a call, or one of the many of a call."""
        self._requests.child(model or self._default_model, method, code).inc()

    def rpc_sent(self, method: str) -> None:
        """Count a message of a stream that has been sent."""
        self._grpc_sent[method].inc()

    def rejected(self, model: str, reason: RejectReason) -> None:
        """Count a request that was right, but not now."""
        self._rejected.child(model or self._default_model, reason).inc()

    def predicted(self, predicted: Predicted) -> None:
        """Count a prediction that is answered: its row, tokens and stages."""
        model = predicted.model.name
        self._tokens.observe(predicted.tokens_used)
        self._rows.child(model, "predict").inc()
        self._stages_of(model, predicted.timing)
        if predicted.reported_mismatch:
            self._mismatches.child(model).inc()

    def explained(self, explanation: Explanation, looks: int, cut: Enum | None, *, shared: bool = False) -> None:
        """Count an explanation that is answered: verdicts, checks, rows, stages, looks, and why looks were cut.

        The work behind a `shared` answer was counted with the request that it was done for.
        """
        model = explanation.model.name
        self._tokens.observe(explanation.tokens_used)
        if shared:
            self._coalesced.child(model).inc()
        else:
            self._rows.child(model, "explain").inc(explanation.rows)
            self._explanation_rows.observe(explanation.rows)
            self._stages_of(model, explanation.timing)
            self._looks.child(model).inc(looks)
        if cut is not None:
            self._looks_cut.child(model, str(cut.value)).inc()
        if explanation.reported_mismatch:
            self._mismatches.child(model).inc()
        for attribution in explanation.attributions:
            kind, verdict = attribution.map.kind, attribution.verdict
            self._verdicts.child(model, map_label(kind), verdict.flag.value, verdict.reason.value).inc()
            for check in verdict.checks:
                if kind is explanation.primary_map or check.kind not in SHARED_CHECKS:
                    self._checks.child(model, check_label(check.kind), check.outcome.value).inc()

    def stage(self, model: str, stage: str, seconds: float) -> None:
        """Observe how long one step of a request took."""
        child = self._stage_seconds.child(model, stage if stage in STAGES else OTHER_STAGE)
        child.observe(seconds, self._exemplar())

    # --- many answers ------------------------------------------------------------------------------------------------

    def pooled(
        self, model: str, kind: MapKind, *, requests: int, mean_alignment: float | None, log_e_value: float
    ) -> None:
        """Set what a map of a model came to over so many requests."""
        values = {
            self._pooled_requests: requests,
            self._pooled_alignment: mean_alignment,
            self._pooled_log_e: log_e_value,
        }
        for family, value in values.items():
            gauge = None if value is None else family.own(model, kind.value)
            if gauge is not None and value is not None:
                gauge.set(value)

    def promise_checked(self, model: str, *, broken: bool) -> None:
        """Set whether a model's flags are wrong more often than its calibration promises."""
        self._promise_broken.child(model).set(int(broken))

    def flag_rechecked(self, model: str, kind: MapKind, flag: Flag, *, wrong: bool) -> None:
        """Count a flag that was checked again, and whether it was wrong."""
        self._rechecked_flags.child(model, map_label(kind), flag.value).inc()
        self._wrong_flags.child(model, map_label(kind), flag.value).inc(int(wrong))

    def recheck_ended(self, outcome: str) -> None:
        """Count an answer whose recheck is done, was dropped, or failed."""
        self._rechecks[outcome].inc()

    def watch_rechecks(self, pending: Callable[[], int]) -> None:
        """Ask at each scrape how many answers wait to be checked again."""
        self._rechecks_pending.set_function(pending)

    # --- the records -------------------------------------------------------------------------------------------------

    def audit_recorded(self, outcome: str) -> None:
        """Count an answer that was recorded, was not to be, or could not be."""
        self._audit_records.labels(outcome).inc()

    def audit_store_failed(self) -> None:
        """Count a batch of records that the database did not take."""
        self._audit_store_failures.inc()

    def audit_log_grew(self, size: int) -> None:
        """Set the entries in the log."""
        self._audit_log_entries.set(size)

    def audit_reviews_overdue(self, count: int) -> None:
        """Tell how many reviews should be closed by now."""
        self._audit_reviews_overdue.set(count)

    def audit_replayed(self, outcome: str) -> None:
        """Count a record that was worked out again, by what that came to."""
        self._audit_replays.labels(outcome).inc()

    def watch_audit_spool(self, used_bytes: Callable[[], int], most_bytes: int) -> None:
        """Ask at each scrape how many bytes are in the spool, which has room for `most_bytes`."""
        self._audit_spool_bytes.set_function(used_bytes)
        self._audit_spool_limit.set(most_bytes)

    # --- the device --------------------------------------------------------------------------------------------------

    def batch_ran(self, model: str, kind: str, *, rows: int, padding: int, seconds: float, expected: float) -> None:
        """Observe a batch: rows, padding tokens, seconds, and how far off the estimate was, if there was one."""
        self._batch_rows.child(model).observe(rows)
        self._batch_seconds.labels(kind).observe(seconds)
        self._padding.child(model).inc(padding)
        if expected > 0:
            self._estimate_ratio.observe(seconds / expected)

    def rows_waited(self, kind: str, seconds: float) -> None:
        """Observe how long a request's rows waited for the device."""
        self._queue_seconds.labels(kind).observe(seconds)

    def rows_dropped(self, rows: int) -> None:
        """Count rows that nobody waited for any more."""
        self._rows_dropped.inc(rows)

    def watch_queue(self, rows: Callable[[], int], tokens: Callable[[], int], oldest: Callable[[], float]) -> None:
        """Ask at each scrape how many rows and tokens wait for the device, and how long the oldest has waited."""
        self._queue_depth.set_function(rows)
        self._queue_tokens.set_function(tokens)
        self._queue_oldest.set_function(oldest)

    def watch_backlog(self, seconds: Callable[[], float]) -> None:
        """Ask at each scrape how much work admitted explanations still have to do."""
        self._backlog.set_function(seconds)

    # --- the process -------------------------------------------------------------------------------------------------

    def model_loaded(self, card: ModelCard, seconds: float) -> None:
        """Record a model that is ready to serve."""
        ref = card.ref
        digest = ref.digest.removeprefix("sha256:")[:12]
        scope = card.scope.value if card.explainable else PREDICTIONS_ONLY
        self._forget_info(ref.name)
        labels = (ref.name, ref.revision, digest, ref.backend, ref.device, ref.dtype, scope)
        self._model_info.labels(*labels).set(1)
        self._info[ref.name] = labels
        self._model_load_seconds.child(ref.name).set(seconds)
        self.model_ready(ref.name, ready=True)

    def model_ready(self, model: str, *, ready: bool) -> None:
        """Set whether a configured model takes requests."""
        self._model_ready.child(model).set(int(ready))

    def model_gone(self, model: str) -> None:
        """Forget the state of a model that is not served any more; what it counted stays."""
        self._forget_info(model)
        for state in (self._model_ready, self._model_load_seconds):
            state.remove(model)

    def repository_rejects(self, revisions: int) -> None:
        """Set how many revisions of the repository could not be loaded."""
        self._repository_rejects.set(revisions)

    def watch_certificate(self, validity: Callable[[], tuple[float, float]]) -> None:
        """Ask at each scrape from when to when the server's certificate is valid, in seconds since 1970."""
        self._certificate_not_before.set_function(lambda: validity()[0])
        self._certificate_not_after.set_function(lambda: validity()[1])

    def config_reloaded(self, timestamp: float) -> None:
        """Set the Unix time at which the settings in force were read."""
        self._config_reloaded.set(timestamp)

    def load(self) -> Load:
        """Read how much is in progress and waiting."""
        per_method = (
            self._registry.get_sample_value("rollcall_requests_in_flight", {"method": method}) for method in METHODS
        )
        queued = self._registry.get_sample_value("rollcall_queue_depth")
        return Load(in_flight=int(sum(value or 0 for value in per_method)), queued=int(queued or 0))

    def exposition(self, *, exemplars: bool = False) -> bytes:
        """Write everything in the format of CONTENT_TYPE, or, with exemplars, in that of CONTENT_TYPE_EXEMPLARS.

        Takes tens of microseconds per line: not for a loop.
        """
        return (openmetrics.generate_latest if exemplars else generate_latest)(self._registry)

    # --- declarations ------------------------------------------------------------------------------------------------

    def _exemplar(self) -> dict[str, str] | None:
        trace_id = self._trace_id()
        return {"trace_id": trace_id} if trace_id else None

    def _forget_info(self, model: str) -> None:
        before = self._info.pop(model, None)
        if before is not None:
            self._model_info.remove(*before)

    def _stages_of(self, model: str, timing: Timing) -> None:
        for name, seconds in timing.stages:
            self.stage(model, name, seconds)

    def _family(self, metric: Metric, *, quota: int) -> Family[Metric]:
        return Family(metric, models=self._models, quota=quota, folded=self._folded)

    def _counter(self, name: str, text: str, *labels: str, quota: int) -> Family[Counter]:
        return self._family(Counter(name, text, ("model", *labels), registry=self._registry), quota=quota)

    def _gauge(self, name: str, text: str, *labels: str, quota: int | None = None) -> Family[Gauge]:
        metric = Gauge(name, text, ("model", *labels), registry=self._registry)
        return self._family(metric, quota=len(self._models) if quota is None else quota)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...], quota: int
    ) -> Family[Histogram]:
        metric = Histogram(name, text, ("model", *labels), buckets=buckets, registry=self._registry)
        return self._family(metric, quota=quota)

    def _declare_rpcs(self) -> None:
        """Names and labels of grpc-prometheus, so that its dashboards work; all series exist from the start."""
        labels = ("grpc_type", "grpc_service", "grpc_method")
        r = self._registry
        started = Counter("grpc_server_started_total", "Calls started on the server.", labels, registry=r)
        handled = Counter(
            "grpc_server_handled_total", "Calls completed on the server, by code.", (*labels, "grpc_code"), registry=r
        )
        received = Counter("grpc_server_msg_received_total", "Messages received from clients.", labels, registry=r)
        sent = Counter("grpc_server_msg_sent_total", "Messages sent to clients.", labels, registry=r)
        handling = Histogram(
            "grpc_server_handling_seconds",
            "Seconds from the start of a call that runs a model to its end.",
            labels,
            buckets=HANDLING_SECONDS,
            registry=r,
        )
        series = {m: (grpc_type(m), SERVICES[m], m) for m in METHODS}
        self._grpc_started = {m: started.labels(*labels) for m, labels in series.items()}
        self._grpc_handled = {(m, c): handled.labels(*series[m], _pascal(c)) for m in METHODS for c in CODES}
        self._grpc_received = {m: received.labels(*labels) for m, labels in series.items()}
        self._grpc_sent = {m: sent.labels(*labels) for m, labels in series.items()}
        self._grpc_handling = {m: handling.labels(*series[m]) for m in TIMED}

    def _declare_requests(self) -> None:
        in_flight = Gauge(
            "rollcall_requests_in_flight", "Requests being handled now.", ("method",), registry=self._registry
        )
        self._in_flight = {method: in_flight.labels(method) for method in METHODS}
        self._requests = self._counter(
            "rollcall_requests_total", "Requests handled, by gRPC code.", "method", "code", quota=91
        )
        self._request_seconds = self._histogram(
            "rollcall_request_duration_seconds",
            "Seconds from the arrival of a request to its reply.",
            "method",
            buckets=REQUEST_SECONDS,
            quota=14,
        )
        self._tokens = Histogram(
            "rollcall_request_tokens",
            "Tokens that the model read of one input.",
            buckets=TOKENS,
            registry=self._registry,
        )
        self._stage_seconds = self._histogram(
            "rollcall_stage_duration_seconds",
            "Seconds that one step of a request took.",
            "stage",
            buckets=STAGE_SECONDS,
            quota=40,
        )
        self._rejected = self._counter(
            "rollcall_admission_rejected_total", "Requests refused for want of capacity or time.", "reason", quota=30
        )
        self._mismatches = self._counter(
            "rollcall_prediction_mismatch_total",
            "Explanations whose prediction differs from what the caller reported.",
            quota=10,
        )

    def _declare_evidence(self) -> None:
        self._verdicts = self._counter(
            "rollcall_verdicts_total", "Verdicts, one for each map returned.", "map", "flag", "reason", quota=75
        )
        self._checks = self._counter(
            "rollcall_check_results_total", "Results of counterfactual checks.", "check", "outcome", quota=85
        )
        self._rows = self._counter("rollcall_rows_total", "Rows behind the answers given.", "kind", quota=20)
        self._explanation_rows = Histogram(
            "rollcall_rows_per_explanation",
            "Rows of one explanation.",
            buckets=EXPLANATION_ROWS,
            registry=self._registry,
        )
        self._looks = self._counter("rollcall_looks_total", "Looks at removals taken.", quota=10)
        self._looks_cut = self._counter(
            "rollcall_looks_cut_total", "Explanations left undecided by deadline, max_rows or load.", "reason", quota=30
        )

    def _declare_records(self) -> None:
        r = self._registry
        self._rechecked_flags = self._counter(
            "rollcall_rechecked_flags_total", "Flags checked again with many more removals.", "map", "flag", quota=20
        )
        self._wrong_flags = self._counter(
            "rollcall_wrong_flags_total", "Flags that checking again found to be wrong.", "map", "flag", quota=20
        )
        self._promise_broken = self._gauge(
            "rollcall_promise_broken", "Whether more flags are wrong than the calibration promises, 0 or 1."
        )
        self._pooled_requests = self._gauge(
            "rollcall_pooled_requests", "Distinct requests behind a map's record.", "map", quota=POOLED_MAPS
        )
        self._pooled_alignment = self._gauge(
            "rollcall_pooled_alignment_ratio", "Mean alignment of a map over its record.", "map", quota=POOLED_MAPS
        )
        self._pooled_log_e = self._gauge(
            "rollcall_pooled_log_e_value",
            "Logarithm of the evidence that a map's weights are not arbitrary.",
            "map",
            quota=POOLED_MAPS,
        )
        rechecks = Counter(
            "rollcall_rechecks_total",
            "Answers chosen to be checked again, by what became of it.",
            ("outcome",),
            registry=r,
        )
        self._rechecks = {outcome: rechecks.labels(outcome) for outcome in RECHECK_OUTCOMES}
        self._rechecks_pending = Gauge(
            "rollcall_rechecks_pending", "Answers that wait to be checked again.", registry=r
        )

    def _declare_queue(self) -> None:
        r = self._registry
        self._queue_depth = Gauge("rollcall_queue_depth", "Rows waiting for the device.", registry=r)
        self._queue_tokens = Gauge("rollcall_queue_tokens", "Tokens of the rows waiting for the device.", registry=r)
        self._queue_oldest = Gauge(
            "rollcall_queue_oldest_seconds", "Seconds that the longest waiting rows have waited.", registry=r
        )
        self._backlog = Gauge(
            "rollcall_backlog_seconds", "Seconds of work that admitted explanations still have to do.", registry=r
        )
        self._queue_seconds = Histogram(
            "rollcall_queue_wait_seconds",
            "Seconds that rows of one request waited for the device.",
            ("kind",),
            buckets=QUEUE_SECONDS,
            registry=r,
        )
        self._rows_dropped = Counter(
            "rollcall_rows_dropped_total", "Rows taken out of the queue because nobody waits for them.", registry=r
        )
        self._estimate_ratio = Histogram(
            "rollcall_batch_estimate_ratio",
            "Seconds that a batch took, as a multiple of the estimate.",
            buckets=ESTIMATE_RATIOS,
            registry=r,
        )
        self._batch_rows = self._histogram("rollcall_batch_rows", "Rows of one batch.", buckets=BATCH_ROWS, quota=10)
        self._batch_seconds = Histogram(
            "rollcall_batch_duration_seconds",
            "Seconds that one batch ran.",
            ("kind",),
            buckets=BATCH_SECONDS,
            registry=r,
        )
        self._padding = self._counter(
            "rollcall_padding_tokens_total", "Tokens run only to make rows of a batch equally long.", quota=10
        )
        self._coalesced = self._counter(
            "rollcall_coalesced_total", "Explanations answered by the work done for an identical request.", quota=10
        )

    def _declare_audit(self) -> None:
        self._audit_records = Counter(
            "rollcall_audit_records_total",
            "Explanations by what became of their record.",
            ("outcome",),
            registry=self._registry,
        )
        for outcome in AUDIT_OUTCOMES:
            self._audit_records.labels(outcome)
        self._audit_store_failures = Counter(
            "rollcall_audit_store_failures_total",
            "Attempts to bring records into the log's database that failed.",
            registry=self._registry,
        )
        self._audit_log_entries = Gauge(
            "rollcall_audit_log_entries", "Entries in the log, as last seen here.", registry=self._registry
        )
        self._audit_replays = Counter(
            "rollcall_audit_replays_total",
            "Records that were worked out again, by what that came to.",
            ("outcome",),
            registry=self._registry,
        )
        for outcome in REPLAY_OUTCOMES:
            self._audit_replays.labels(outcome)
        self._audit_reviews_overdue = Gauge(
            "rollcall_audit_reviews_overdue", "Reviews that should be closed by now.", registry=self._registry
        )
        self._audit_spool_bytes = Gauge(
            "rollcall_audit_spool_bytes",
            "Records on the disk that the log's database may not have yet.",
            registry=self._registry,
        )
        self._audit_spool_limit = Gauge(
            "rollcall_audit_spool_limit_bytes",
            "Room of the spool, above which answers that must be recorded are refused.",
            registry=self._registry,
        )

    def _declare_state(self) -> None:
        self._certificate_not_before = Gauge(
            "rollcall_certificate_not_before_timestamp_seconds",
            "From when the server's certificate is valid; 0 without TLS.",
            registry=self._registry,
        )
        self._certificate_not_after = Gauge(
            "rollcall_certificate_not_after_timestamp_seconds",
            "Until when the server's certificate is valid; 0 without TLS.",
            registry=self._registry,
        )
        self._info: dict[str, tuple[str, ...]] = {}
        """The labels under which each model is told of now."""
        labels = ("model", "revision", "digest", "backend", "device", "dtype", "scope")
        self._model_info = Gauge(
            "rollcall_model_info", "Which weights are served, for what; always 1.", labels, registry=self._registry
        )
        self._model_ready = self._gauge("rollcall_model_ready", "Whether the model takes requests, 0 or 1.")
        self._model_load_seconds = self._gauge("rollcall_model_load_seconds", "Seconds that loading the model took.")
        for model in sorted(self._models):
            self.model_ready(model, ready=False)
        running = {name.replace("rollcall", "version"): version for name, version in versions().items()}
        Gauge("rollcall_build_info", "Which software runs; always 1.", tuple(running), registry=self._registry).labels(
            *running.values()
        ).set(1)
        self._repository_rejects = Gauge(
            "rollcall_repository_rejected_revisions",
            "Revisions of the repository that could not be loaded.",
            registry=self._registry,
        )
        self._config_reloaded = Gauge(
            "rollcall_config_reload_timestamp_seconds",
            "Unix time at which the settings in force were read.",
            registry=self._registry,
        )


def _pascal(code: str) -> str:
    """Write a code as grpc-prometheus does, in Go's spelling: DEADLINE_EXCEEDED is DeadlineExceeded, OK stays."""
    special = {"OK": "OK", "CANCELLED": "Canceled"}
    return special.get(code) or code.title().replace("_", "")
