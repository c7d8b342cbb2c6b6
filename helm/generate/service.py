"""The dashboard of the service: objectives, calls, latency, records, processes."""

from __future__ import annotations

from helm.generate.boards import HERE, MODEL, Board, Panel, Query, Row, Shape, quantiles, rate, share, spread

SLO = 'namespace=~"$namespace",job=~"$job"'
BURN = "How many times faster than allowed the error budget of 30 days is used; 1 is just allowed."

_OBJECTIVES = Row(
    title="Objectives",
    panels=(
        Panel(
            title="Burn over one hour",
            description=f"{BURN} Above 14.4, and still so over 5 minutes, it pages.",
            unit="none",
            queries=(Query(expr=f"max by (slo) (rollcall:slo_burn:rate1h{{{SLO}}})", legend="{{slo}}"),),
            shape=Shape.NUMBER,
            width=12,
        ),
        Panel(
            title="Burn over three days",
            description=f"{BURN} Above 1, and still so over 6 hours, it is a ticket.",
            unit="none",
            queries=(Query(expr=f"max by (slo) (rollcall:slo_burn:rate3d{{{SLO}}})", legend="{{slo}}"),),
            shape=Shape.NUMBER,
            width=12,
        ),
        Panel(
            title="Burn over five minutes",
            description=BURN,
            unit="none",
            queries=(Query(expr=f"max by (slo) (rollcall:slo_burn:rate5m{{{SLO}}})", legend="{{slo}}"),),
            width=12,
        ),
        share(
            "Good events of six hours",
            "Share of good events, beside what each objective promises.",
            (
                Query(
                    expr=f"1 - sum by (slo) (sum_over_time(rollcall:slo_bad:rate5m{{{SLO}}}[6h]))"
                    f" / sum by (slo) (sum_over_time(rollcall:slo_events:rate5m{{{SLO}}}[6h]) > 0)",
                    legend="{{slo}}",
                ),
                Query(expr="rollcall:slo_objective:ratio", legend="{{slo}} promised"),
            ),
        ),
    ),
)

_CALLS = Row(
    title="Calls",
    panels=(
        Panel(
            title="Calls by method",
            description="Calls that ended, per second.",
            unit="reqps",
            queries=(Query(expr=rate("grpc_server_handled_total", "grpc_method"), legend="{{grpc_method}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Calls that failed, by code",
            description="INVALID_ARGUMENT and NOT_FOUND are the callers'; UNAVAILABLE has a hint when to come back.",
            unit="reqps",
            queries=(
                Query(
                    expr=rate("grpc_server_handled_total", "grpc_code", where=f'{HERE},grpc_code!="OK"') + " > 0",
                    legend="{{grpc_code}}",
                ),
            ),
            shape=Shape.STACK,
        ),
        Panel(
            title="Refused for want of capacity",
            description="By reason: queue full, deadline too short, draining, not ready, memory.",
            unit="reqps",
            queries=(
                Query(expr=rate("rollcall_admission_rejected_total", "reason", where=MODEL), legend="{{reason}}"),
            ),
            shape=Shape.STACK,
        ),
        Panel(
            title="Explanations: seconds",
            description="From the arrival of a request to its reply. The objective is 2.5 s for 99 %.",
            unit="s",
            queries=quantiles("rollcall_request_duration_seconds", where=f'{MODEL},method="Explain"'),
        ),
        Panel(
            title="Predictions: seconds",
            description="From the arrival of a request to its reply. The objective is .1 s for 95 %.",
            unit="s",
            queries=quantiles("rollcall_request_duration_seconds", where=f'{MODEL},method="Predict"'),
        ),
        spread(
            "Explanations: all durations",
            "How many explanations took how long.",
            "s",
            "rollcall_request_duration_seconds",
            where=f'{MODEL},method="Explain"',
        ),
        Panel(
            title="In progress",
            description="Calls being handled now.",
            unit="short",
            queries=(Query(expr=f"sum by (method) (rollcall_requests_in_flight{{{HERE}}})", legend="{{method}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Where the time goes",
            description="Seconds of each step per second of the clock.",
            unit="short",
            queries=(
                Query(expr=rate("rollcall_stage_duration_seconds_sum", "stage", where=MODEL), legend="{{stage}}"),
            ),
            shape=Shape.STACK,
        ),
        Panel(
            title="Calls by model",
            description="Calls that ended, per second.",
            unit="reqps",
            queries=(Query(expr=rate("rollcall_requests_total", "model", where=MODEL), legend="{{model}}"),),
            shape=Shape.STACK,
        ),
    ),
)

_RECORDS = Row(
    title="Records",
    panels=(
        Panel(
            title="Records by outcome",
            description="Explanations that were recorded, were not to be, or could not be. The last one pages.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_audit_records_total", "outcome"), legend="{{outcome}}"),),
            shape=Shape.STACK,
        ),
        share(
            "Spool",
            "How full the room is in which records wait for the log's database. When full, answers are refused.",
            (
                Query(
                    expr=f"rollcall_audit_spool_bytes{{{HERE}}} / (rollcall_audit_spool_limit_bytes{{{HERE}}} > 0)",
                    legend="{{instance}}",
                ),
            ),
        ),
        Panel(
            title="Entries in the log",
            description="Its size as each process last saw it; it never falls.",
            unit="short",
            queries=(Query(expr=f"rollcall_audit_log_entries{{{HERE}}}", legend="{{instance}}"),),
        ),
        Panel(
            title="Failures of the log's database",
            description="Batches that it did not take; each is tried again.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_audit_store_failures_total", "instance"), legend="{{instance}}"),),
        ),
    ),
)

_PROCESSES = Row(
    title="Processes",
    panels=(
        Panel(
            title="Processor",
            description="Cores used by each process.",
            unit="short",
            queries=(Query(expr=rate("process_cpu_seconds_total", "instance"), legend="{{instance}}"),),
        ),
        Panel(
            title="Memory",
            description="Resident memory of each process.",
            unit="bytes",
            queries=(Query(expr=f"process_resident_memory_bytes{{{HERE}}}", legend="{{instance}}"),),
        ),
        Panel(
            title="Open files",
            description="File descriptors: connections, mostly.",
            unit="short",
            queries=(Query(expr=f"process_open_fds{{{HERE}}}", legend="{{instance}}"),),
        ),
        Panel(
            title="What runs",
            description="Versions, and since when its settings hold.",
            unit="none",
            queries=(
                Query(expr=f"sum by (instance, version, torch, transformers, python) (rollcall_build_info{{{HERE}}})"),
            ),
            shape=Shape.TABLE,
            width=16,
        ),
        Panel(
            title="Settings read",
            description="When each process last read its settings.",
            unit="dateTimeFromNow",
            queries=(
                Query(
                    expr=f"1000 * max by (instance) (rollcall_config_reload_timestamp_seconds{{{HERE}}})",
                    legend="{{instance}}",
                ),
            ),
            shape=Shape.NUMBER,
        ),
    ),
)

SERVICE = Board(
    slug="service",
    title="Rollcall: service",
    description="Are callers served, in time, and is every answer recorded?",
    rows=(_OBJECTIVES, _CALLS, _RECORDS, _PROCESSES),
)
