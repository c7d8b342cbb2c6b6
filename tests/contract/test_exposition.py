"""What Prometheus scrapes is a contract: names, units, help, size, and the checks of Prometheus's own tool."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from rollcall.audit.comparing import Outcome as ReplayOutcome
from rollcall.audit.recorder import OUTCOMES
from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Flag, Reason
from rollcall.edge.calls import REJECTED
from rollcall.edge.status import TABLE
from rollcall.oip import open_inference_pb2
from rollcall.pipeline.rechecking import Ended
from rollcall.scheduling.queue import Kind
from rollcall.telemetry.metrics import (
    AUDIT_OUTCOMES,
    CODES,
    METHODS,
    OPEN_INFERENCE,
    RECHECK_OUTCOMES,
    REPLAY_OUTCOMES,
    SERVICE,
    SERVICES,
    STAGES,
    Metrics,
)
from rollcall.v1 import explanation_service_pb2
from tests.unit.edge import samples

if TYPE_CHECKING:
    from prometheus_client import Metric

MODELS = [f"model-{number}" for number in range(10)]
LINE_BUDGET = 2_000
UNITS = ("_seconds", "_bytes", "_total", "_info", "_tokens", "_rows", "_ratio")
COUNTS_OF_NOW = {
    "rollcall_repository_rejected_revisions",
    "rollcall_audit_log_entries",
    "rollcall_audit_reviews_overdue",
    "rollcall_requests_in_flight",
    "rollcall_queue_depth",
    "rollcall_model_ready",
    "rollcall_pooled_log_e_value",
    "rollcall_pooled_requests",
    "rollcall_promise_broken",
    "rollcall_rechecks_pending",
    "rollcall_rows_per_explanation",
    "process_open_fds",
    "process_max_fds",
}
"""Numbers of things, whose unit is in the name already."""
PROMTOOL = shutil.which("promtool")


class Cut(Enum):
    """Every reason for which looks are cut."""

    DEADLINE = "deadline"
    MAX_ROWS = "max_rows"
    LOAD = "load"


def possible(kind: MapKind) -> list[tuple[Flag, Reason]]:
    """List the verdicts that a map can get."""
    reasons = [reason for reason in Reason if reason is not Reason.NONE]
    inconclusive = [
        (Flag.INCONCLUSIVE, reason) for reason in reasons if kind.attention_only or reason is not Reason.NOT_USED
    ]
    return [
        (Flag.FAITHFUL, Reason.NONE),
        (Flag.UNFAITHFUL, Reason.NONE),
        (Flag.NOT_CHECKED, Reason.NONE),
        *inconclusive,
    ]


def load(metrics: Metrics, model: str) -> None:
    """Make everything happen to a model that can happen to it."""
    metrics.model_loaded(samples.card(model), 1.0)
    for method in METHODS:
        for code in CODES:
            metrics.rpc_started(method)
            metrics.rpc_handled(method, model=model, code=code, seconds=0.1)
    for rejection in REJECTED.values():
        metrics.rejected(model, rejection)
    for stage in (*STAGES, "unannounced"):
        metrics.stage(model, stage, 0.1)
    for what in Kind:
        metrics.batch_ran(model, what.value, rows=8, padding=3, seconds=0.1, expected=0.2)
        metrics.rows_waited(what.value, 0.1)
    metrics.rows_dropped(1)
    metrics.predicted(samples.predicted(model=model))
    checks = tuple(
        CheckResult(kind=kind, outcome=outcome, statistic="x") for kind in CheckKind for outcome in CheckOutcome
    )
    for cut in Cut:
        metrics.explained(samples.explanation(model=model), looks=1, cut=cut, shared=cut is Cut.DEADLINE)
    for kind in MapKind:
        for flag, reason in possible(kind):
            verdict = replace(samples.verdict(flag, reason), checks=checks)
            answer = replace(
                samples.explanation(model=model), attributions=(samples.attribution(kind, verdict),), primary_map=kind
            )
            metrics.explained(answer, looks=1, cut=None)
    check_again(metrics, model)


def check_again(metrics: Metrics, model: str) -> None:
    """Pool every map of a model, and find every flag of it wrong."""
    metrics.promise_checked(model, broken=True)
    for kind in MapKind:
        metrics.pooled(model, kind, requests=9, mean_alignment=0.5, log_e_value=3.0)
        for flag in (Flag.FAITHFUL, Flag.UNFAITHFUL):
            metrics.flag_rechecked(model, kind, flag, wrong=True)
    for outcome in RECHECK_OUTCOMES:
        metrics.recheck_ended(outcome)


@pytest.fixture(scope="module")
def exposition() -> str:
    """Expose ten models and an unknown name under a load that touches every label value of each."""
    metrics = Metrics(CollectorRegistry(), models=MODELS, default_model=MODELS[0])
    metrics.config_reloaded(1.7e9)
    for model in (*MODELS, "unknown"):
        load(metrics, model)
    return metrics.exposition().decode()


@pytest.fixture(scope="module")
def families(exposition: str) -> list[Metric]:
    """Read the exposition as Prometheus does."""
    return list(text_string_to_metric_families(exposition))


def test_methods_are_those_of_the_protos() -> None:
    """No method that runs a model or lists models is missing from the metrics, and no other is there."""
    service = explanation_service_pb2.DESCRIPTOR.services_by_name["ExplanationService"]
    inference = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert (service.full_name, inference.full_name) == (SERVICE, OPEN_INFERENCE)
    assert {m for m in METHODS if SERVICES[m] == SERVICE} == set(service.methods_by_name)
    assert {m for m in METHODS if SERVICES[m] == OPEN_INFERENCE} == {"ModelInfer"} < set(inference.methods_by_name)


def test_codes_are_those_that_calls_can_end_with() -> None:
    """Every code that an error of ours, a cancellation, a deadline or an unknown end has is counted from the start."""
    ours = {row.code.name for row in TABLE.values()}
    assert ours | {"OK", "CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL"} <= set(CODES)


def test_a_scrape_keeps_to_its_budget(exposition: str) -> None:
    """However many things happen to ten models, a scrape has at most 2,000 lines."""
    assert len(exposition.splitlines()) <= LINE_BUDGET


def test_recheck_outcomes_are_the_pipelines() -> None:
    """Every end that a recheck can have has its series from the start."""
    assert {outcome.value for outcome in Ended} == set(RECHECK_OUTCOMES)


def test_outcomes_of_records_are_the_recorders() -> None:
    """Everything that can become of a record has its series from the start."""
    assert AUDIT_OUTCOMES == OUTCOMES
    assert tuple(outcome.value for outcome in ReplayOutcome) == REPLAY_OUTCOMES


def test_a_single_model_keeps_its_name() -> None:
    """With one model nothing at all is counted under "other" for want of room."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, models=MODELS[:1], default_model=MODELS[0])
    load(metrics, MODELS[0])
    assert registry.get_sample_value("rollcall_series_folded_total") == 0


def test_nothing_is_lost_by_folding(families: list[Metric]) -> None:
    """Counts that lost their model's name are still counted."""
    total = sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "rollcall_requests_total" and sample.labels["method"] == "Explain"
    )
    assert total == len(CODES) * (len(MODELS) + 1)


def test_names_end_in_a_unit(families: list[Metric]) -> None:
    """A reader sees from the name what is counted in what."""
    names = [f"{family.name}_total" if family.type == "counter" else family.name for family in families]
    assert [name for name in names if not name.endswith(UNITS) and name not in COUNTS_OF_NOW] == []


def test_help_says_something(families: list[Metric]) -> None:
    """Every metric is explained in a sentence."""
    ours = [family for family in families if family.name.startswith(("rollcall", "grpc"))]
    assert ours
    assert [family.name for family in ours if not re.fullmatch(r"[A-Z].{8,}\.", family.documentation)] == []


def test_creation_times_are_left_out(exposition: str) -> None:
    """No series of timestamps doubles the size of a scrape."""
    assert "_created" not in exposition


def test_labels_are_known_in_advance(families: list[Metric]) -> None:
    """Only the names that are part of the contract are labels."""
    names = {label for family in families for sample in family.samples for label in sample.labels}
    assert names == {
        *("grpc_type", "grpc_service", "grpc_method", "grpc_code", "le"),
        *("method", "model", "code", "stage", "map", "flag", "reason", "check", "outcome", "kind"),
        *("revision", "digest", "backend", "device", "dtype", "scope"),
        *("version", "python", "torch", "transformers", "grpcio", "protobuf"),
    }


def test_metric_names_are_frozen(families: list[Metric]) -> None:
    """Dashboards and alerts are built on these names; one that goes or changes is a breaking change."""
    assert {family.name for family in families if family.name.startswith(("rollcall", "grpc"))} == {
        "grpc_server_handled",
        "grpc_server_handling_seconds",
        "grpc_server_msg_received",
        "grpc_server_msg_sent",
        "grpc_server_started",
        "rollcall_admission_rejected",
        "rollcall_audit_log_entries",
        "rollcall_audit_records",
        "rollcall_audit_replays",
        "rollcall_audit_reviews_overdue",
        "rollcall_audit_spool_bytes",
        "rollcall_audit_spool_limit_bytes",
        "rollcall_repository_rejected_revisions",
        "rollcall_audit_store_failures",
        "rollcall_backlog_seconds",
        "rollcall_batch_duration_seconds",
        "rollcall_batch_estimate_ratio",
        "rollcall_batch_rows",
        "rollcall_build_info",
        "rollcall_check_results",
        "rollcall_coalesced",
        "rollcall_certificate_not_after_timestamp_seconds",
        "rollcall_certificate_not_before_timestamp_seconds",
        "rollcall_config_reload_timestamp_seconds",
        "rollcall_looks",
        "rollcall_looks_cut",
        "rollcall_model_info",
        "rollcall_model_load_seconds",
        "rollcall_model_ready",
        "rollcall_padding_tokens",
        "rollcall_pooled_alignment_ratio",
        "rollcall_pooled_log_e_value",
        "rollcall_pooled_requests",
        "rollcall_prediction_mismatch",
        "rollcall_promise_broken",
        "rollcall_queue_depth",
        "rollcall_queue_oldest_seconds",
        "rollcall_queue_tokens",
        "rollcall_queue_wait_seconds",
        "rollcall_rechecked_flags",
        "rollcall_rechecks",
        "rollcall_rechecks_pending",
        "rollcall_request_duration_seconds",
        "rollcall_request_tokens",
        "rollcall_requests",
        "rollcall_requests_in_flight",
        "rollcall_rows",
        "rollcall_rows_dropped",
        "rollcall_rows_per_explanation",
        "rollcall_series_folded",
        "rollcall_stage_duration_seconds",
        "rollcall_verdicts",
        "rollcall_wrong_flags",
    }


@pytest.mark.skipif(
    PROMTOOL is None and os.environ.get("CI") != "true",
    reason="PROMTOOL IS MISSING, the exposition is not checked: install it (Debian: apt-get install prometheus)",
)
def test_promtool_finds_nothing(exposition: str) -> None:
    """Prometheus's own checker accepts every name, type and help text."""
    assert PROMTOOL is not None, "promtool must be on PATH in CI (Debian: apt-get install prometheus)"
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
