"""Each thing that happens moves the metrics that are named for it, and no others."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import pytest
from prometheus_client import CollectorRegistry

from rollcall.domain.maps import DEFAULT_MAPS, MapKind
from rollcall.domain.verdicts import Flag, Reason, Scope
from rollcall.telemetry.metrics import CODES, METHODS, SERVICES, TIMED, Load, Metrics, grpc_type
from rollcall.telemetry.versions import versions
from tests.unit.edge import samples

GRPC = {"grpc_type": "unary", "grpc_service": "rollcall.v1.ExplanationService"}


class Cut(Enum):
    """Stands for the reason that the pipeline gives."""

    DEADLINE = "deadline"


class Bench:
    """Metrics of two models on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, models=[samples.MODEL, "second"], default_model=samples.MODEL)

    def value(self, name: str, **labels: str) -> float | None:
        """Read a sample; None where the series does not exist."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def bench() -> Bench:
    """Give each test its own registry."""
    return Bench()


def test_call_series_exist_from_the_start(bench: Bench) -> None:
    """Rates are right from the first call on, because each method and code starts at 0."""
    for method in METHODS:
        labels = {"grpc_service": SERVICES[method], "grpc_method": method, "grpc_type": grpc_type(method)}
        assert bench.value("grpc_server_started_total", **labels) == 0
        assert bench.value("grpc_server_handled_total", **labels, grpc_code="Canceled") == 0
        assert bench.value("grpc_server_handling_seconds_count", **labels) == (0 if method in TIMED else None)
    codes = {
        sample.labels["grpc_code"]
        for family in bench.registry.collect()
        for sample in family.samples
        if sample.name == "grpc_server_handled_total"
    }
    assert len(codes) == len(CODES)
    assert {"OK", "InvalidArgument", "DeadlineExceeded"} <= codes


def test_a_call_moves_up_and_down(bench: Bench) -> None:
    """A call is in flight between its start and its end."""
    bench.metrics.rpc_started("Predict")
    assert bench.metrics.load() == Load(in_flight=1, queued=0)
    bench.metrics.rpc_handled("Predict", model="", code="INTERNAL", seconds=0.3)
    assert bench.metrics.load() == Load(in_flight=0, queued=0)
    labels = {"method": "Predict", "model": samples.MODEL}
    assert bench.value("rollcall_requests_total", **labels, code="INTERNAL") == 1
    assert bench.value("rollcall_request_duration_seconds_bucket", **labels, le="0.25") == 0
    assert bench.value("rollcall_request_duration_seconds_bucket", **labels, le="0.5") == 1
    assert bench.value("grpc_server_msg_sent_total", **GRPC, grpc_method="Predict") == 0


def test_names_become_labels(bench: Bench) -> None:
    """Only configured names are label values; no name means the default model."""
    assert [bench.metrics.model_label(name) for name in ("second", "", "x")] == ["second", samples.MODEL, "other"]
    assert Metrics(CollectorRegistry(), models=["a", "b"], default_model=None).model_label("") == "other"


def test_an_explanation_counts_its_evidence(bench: Bench) -> None:
    """Verdicts count per map, shared checks once, checks of a map for each map."""
    answer = samples.explanation()
    bench.metrics.explained(answer, looks=2, cut=Cut.DEADLINE)
    model = {"model": samples.MODEL}
    raw = {"map": "raw_attention", "flag": "inconclusive", "reason": "low_power"}
    gradient = {"map": "gradient_rollout", "flag": "faithful", "reason": "none"}
    assert bench.value("rollcall_verdicts_total", **model, **raw) == 1
    assert bench.value("rollcall_verdicts_total", **model, **gradient) == 1
    assert bench.value("rollcall_check_results_total", **model, check="instrument", outcome="supports") == 1
    assert bench.value("rollcall_check_results_total", **model, check="alignment", outcome="supports") == 2
    assert bench.value("rollcall_rows_total", **model, kind="explain") == 70
    assert bench.value("rollcall_rows_per_explanation_sum") == 70
    assert bench.value("rollcall_looks_total", **model) == 2
    assert bench.value("rollcall_looks_cut_total", **model, reason="deadline") == 1
    assert bench.value("rollcall_prediction_mismatch_total", **model) == 1
    assert bench.value("rollcall_request_tokens_sum") == 128
    assert bench.value("rollcall_stage_duration_seconds_count", **model, stage="predict") == 1


def test_maps_on_request_are_counted_together(bench: Bench) -> None:
    """Whatever maps callers ask for, a scrape keeps to its lines: those that cost more share a label."""
    asked = tuple(samples.attribution(kind, samples.verdict()) for kind in MapKind if kind not in DEFAULT_MAPS)
    answer = replace(samples.explanation(), attributions=asked, primary_map=asked[0].map.kind)
    bench.metrics.explained(answer, looks=1, cut=None)
    labels = {"model": samples.MODEL, "map": "on_request", "flag": "faithful", "reason": "none"}
    assert bench.value("rollcall_verdicts_total", **labels) == len(asked) > 0


def test_an_uncut_explanation_counts_no_cut(bench: Bench) -> None:
    """An explanation that was decided in time is not counted as cut, nor one that agrees as a mismatch."""
    bench.metrics.explained(replace(samples.explanation(), reported_mismatch=False), looks=1, cut=None)
    assert bench.value("rollcall_looks_cut_total", model=samples.MODEL, reason="deadline") is None
    assert bench.value("rollcall_prediction_mismatch_total", model=samples.MODEL) is None


def test_a_prediction_counts_its_row(bench: Bench) -> None:
    """A prediction is one row, and its stages are timed."""
    bench.metrics.predicted(samples.predicted())
    assert bench.value("rollcall_rows_total", model=samples.MODEL, kind="predict") == 1
    assert bench.value("rollcall_stage_duration_seconds_sum", model=samples.MODEL, stage="encode") == 0.001


def test_stages_without_a_name_share_one(bench: Bench) -> None:
    """A stage that nobody announced cannot make a series."""
    for stage in ("witness", "surprise", "another"):
        bench.metrics.stage("second", stage, 0.1)
    assert bench.value("rollcall_stage_duration_seconds_count", model="second", stage="witness") == 1
    assert bench.value("rollcall_stage_duration_seconds_count", model="second", stage="other") == 2


def test_the_device_is_watched(bench: Bench) -> None:
    """Batches, waiting times and the queue are seen."""
    bench.metrics.batch_ran("second", "rows", rows=24, padding=5, seconds=0.02, expected=0.01)
    bench.metrics.batch_ran("second", "rows", rows=1, padding=0, seconds=0.02, expected=0.0)
    bench.metrics.rows_waited("rows", 0.02)
    bench.metrics.rows_dropped(3)
    bench.metrics.watch_queue(rows=lambda: 7, tokens=lambda: 70, oldest=lambda: 0.5)
    bench.metrics.watch_backlog(lambda: 12.5)
    assert bench.value("rollcall_batch_rows_sum", model="second") == 25
    assert bench.value("rollcall_batch_duration_seconds_count", kind="rows") == 2
    assert bench.value("rollcall_batch_estimate_ratio_count") == 1
    assert bench.value("rollcall_batch_estimate_ratio_sum") == 2
    assert bench.value("rollcall_padding_tokens_total", model="second") == 5
    assert bench.value("rollcall_rows_dropped_total") == 3
    assert bench.value("rollcall_queue_wait_seconds_bucket", kind="rows", le="0.025") == 1
    assert bench.value("rollcall_queue_tokens") == 70
    assert bench.value("rollcall_queue_oldest_seconds") == 0.5
    assert bench.value("rollcall_backlog_seconds") == 12.5
    assert bench.metrics.load().queued == 7


def test_models_are_described(bench: Bench) -> None:
    """A configured model is not ready until it is loaded; then its weights are named."""
    assert bench.value("rollcall_model_ready", model="second") == 0
    bench.metrics.model_loaded(samples.card(), 1.5)
    info = {"revision": "r1", "digest": "ab" * 6, "backend": "torch", "device": "cpu", "dtype": "float32"}
    assert bench.value("rollcall_model_info", model=samples.MODEL, scope="all_layers", **info) == 1
    assert bench.value("rollcall_model_load_seconds", model=samples.MODEL) == 1.5
    assert bench.value("rollcall_model_ready", model=samples.MODEL) == 1
    bench.metrics.model_ready(samples.MODEL, ready=False)
    assert bench.value("rollcall_model_ready", model=samples.MODEL) == 0
    closed = replace(samples.card(), scope=Scope.INPUT_ONLY)
    bench.metrics.model_loaded(closed, 1.5)
    assert bench.value("rollcall_model_info", model=samples.MODEL, scope="input_only", **info) == 1
    failed = replace(samples.card().self_tests[0], passed=False)
    bench.metrics.model_loaded(replace(samples.card("second"), self_tests=(failed,)), 1.5)
    assert bench.value("rollcall_model_info", model="second", scope="predictions_only", **info) == 1


def test_a_spool_tells_what_is_in_it_and_how_much_may_be(bench: Bench) -> None:
    """Both are bytes, so that an alert can be about a share."""
    bench.metrics.watch_audit_spool(lambda: 300, 1_000)
    assert bench.value("rollcall_audit_spool_bytes") == 300
    assert bench.value("rollcall_audit_spool_limit_bytes") == 1_000


def test_build_and_settings_are_dated(bench: Bench) -> None:
    """An operator sees which software runs and since when its settings hold."""
    bench.metrics.config_reloaded(1_700_000_000.5)
    assert bench.value("rollcall_config_reload_timestamp_seconds") == 1_700_000_000.5
    running = versions()
    labels = {"version": running.pop("rollcall"), **running}
    assert bench.value("rollcall_build_info", **labels) == 1


def test_a_package_that_is_missing_has_no_version() -> None:
    """A server without a package still tells what it runs on."""
    assert versions(("no-such-package",))["no-such-package"] == "none"


def test_every_verdict_can_be_counted(bench: Bench) -> None:
    """No flag, reason or map is missing a label."""
    for kind in MapKind:
        for flag in Flag:
            for reason in Reason:
                attribution = samples.attribution(kind, samples.verdict(flag, reason))
                answer = replace(samples.explanation(), attributions=(attribution,), primary_map=kind)
                bench.metrics.explained(answer, looks=0, cut=None)
    counted = [
        sample.value
        for family in bench.registry.collect()
        for sample in family.samples
        if sample.name == "rollcall_verdicts_total"
    ]
    assert sum(counted) == len(MapKind) * len(Flag) * len(Reason)
