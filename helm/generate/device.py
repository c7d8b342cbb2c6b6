"""The dashboard of device and scheduler: what waits, what runs, and how well batches are filled."""

from __future__ import annotations

from helm.generate.boards import HERE, MODEL, RATE, Board, Panel, Query, Row, Shape, quantiles, rate, share, spread

_QUEUE = Row(
    title="What waits",
    panels=(
        Panel(
            title="Rows that wait",
            description="Rows in the queue of each device.",
            unit="short",
            queries=(Query(expr=f"rollcall_queue_depth{{{HERE}}}", legend="{{instance}}"),),
        ),
        Panel(
            title="Tokens that wait",
            description="Tokens of these rows.",
            unit="short",
            queries=(Query(expr=f"rollcall_queue_tokens{{{HERE}}}", legend="{{instance}}"),),
        ),
        Panel(
            title="The oldest",
            description="How long the longest waiting rows have waited. Above 5 s for 5 minutes it is a ticket.",
            unit="s",
            queries=(Query(expr=f"rollcall_queue_oldest_seconds{{{HERE}}}", legend="{{instance}}"),),
        ),
        Panel(
            title="Waiting for the device",
            description="Seconds that rows of one request waited, by kind.",
            unit="s",
            queries=quantiles("rollcall_queue_wait_seconds", "kind"),
        ),
        Panel(
            title="Work ahead",
            description="Seconds that admitted explanations still need; at limits.max_queue_seconds calls are refused.",
            unit="s",
            queries=(Query(expr=f"rollcall_backlog_seconds{{{HERE}}}", legend="{{instance}}"),),
        ),
        Panel(
            title="Rows dropped, answers shared",
            description="Rows that nobody waits for any more, and answers that took an identical request's work.",
            unit="ops",
            queries=(
                Query(expr=rate("rollcall_rows_dropped_total"), legend="rows dropped"),
                Query(expr=rate("rollcall_coalesced_total", where=MODEL), legend="answers shared"),
            ),
        ),
    ),
)

_DEVICE = Row(
    title="What runs",
    panels=(
        share(
            "Device busy",
            "Share of the clock in which a batch ran. Busy and nothing waits: well used. Idle and rows wait: stuck.",
            (Query(expr=rate("rollcall_batch_duration_seconds_sum", "instance"), legend="{{instance}}"),),
        ),
        share(
            "By kind of work",
            "Share of the clock; predictions go first.",
            (Query(expr=rate("rollcall_batch_duration_seconds_sum", "kind"), legend="{{kind}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Seconds of a batch",
            description="A batch of many rows is cut to limits.max_batch_seconds, so that predictions never wait long.",
            unit="s",
            queries=quantiles("rollcall_batch_duration_seconds", "kind"),
        ),
        Panel(
            title="Rows by kind",
            description="Rows behind the answers given, per second.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_rows_total", "kind", where=MODEL), legend="{{kind}}"),),
            shape=Shape.STACK,
        ),
        spread("Rows of a batch", "How full batches are.", "short", "rollcall_batch_rows", where=MODEL),
        Panel(
            title="Padding",
            description="Tokens run only to make rows of a batch equally long, per second.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_padding_tokens_total", "model", where=MODEL), legend="{{model}}"),),
        ),
        Panel(
            title="How far estimates are off",
            description="Seconds that a batch took, as a multiple of the estimate by which calls are admitted.",
            unit="none",
            queries=quantiles("rollcall_batch_estimate_ratio"),
        ),
        Panel(
            title="Seconds of each step",
            description="What 95 % of requests stay below, by step.",
            unit="s",
            queries=(
                Query(
                    expr="histogram_quantile(0.95, sum by (le, stage)"
                    f" (rate(rollcall_stage_duration_seconds_bucket{{{MODEL}}}[{RATE}])))",
                    legend="{{stage}}",
                ),
            ),
        ),
        Panel(
            title="Folded series",
            description="Label sets counted under the model `other` for want of room in a scrape.",
            unit="short",
            queries=(Query(expr=f"sum by (instance) (rollcall_series_folded_total{{{HERE}}})", legend="{{instance}}"),),
            shape=Shape.NUMBER,
        ),
    ),
)

DEVICE = Board(
    slug="device",
    title="Rollcall: device and scheduler",
    description="Does work wait or run, and is the device well used?",
    rows=(_QUEUE, _DEVICE),
)
