"""The dashboard of models and flags: what was decided, on which evidence, and how often it was wrong."""

from __future__ import annotations

from helm.generate.boards import HERE, MODEL, RATE, Board, Panel, Query, Row, Shape, rate, share, spread

CHECKED = f'{MODEL},flag!="not_checked"'


def _part(numerator: str, denominator: str, *by: str, legend: str) -> Query:
    """Ask for one sum of rates as a share of another, by labels."""
    labels = ", ".join(by)
    over = f"(sum by ({labels}) (rate({denominator}[{RATE}])) > 0)"
    return Query(expr=f"sum by ({labels}) (rate({numerator}[{RATE}])) / {over}", legend=legend)


_FLAGS = Row(
    title="Flags",
    panels=(
        Panel(
            title="Flags",
            description="Flags per second, one for each map of each answer.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_verdicts_total", "flag", where=MODEL), legend="{{flag}}"),),
            shape=Shape.STACK,
        ),
        share(
            "FAITHFUL, by map",
            "Share of the flags asked for. A map with little of it is not worth showing.",
            (
                _part(
                    f'rollcall_verdicts_total{{{MODEL},flag="faithful"}}',
                    f"rollcall_verdicts_total{{{CHECKED}}}",
                    "model",
                    "map",
                    legend="{{model}} {{map}}",
                ),
            ),
        ),
        share(
            "UNFAITHFUL, by map",
            "Share of the flags asked for. Twice that of the week before is a ticket.",
            (
                _part(
                    f'rollcall_verdicts_total{{{MODEL},flag="unfaithful"}}',
                    f"rollcall_verdicts_total{{{CHECKED}}}",
                    "model",
                    "map",
                    legend="{{model}} {{map}}",
                ),
            ),
        ),
        Panel(
            title="INCONCLUSIVE, by reason",
            description="BUDGET, INSTRUMENT and NUMERICS are our side's and count against coverage.",
            unit="ops",
            queries=(
                Query(
                    expr=rate("rollcall_verdicts_total", "reason", where=f'{MODEL},flag="inconclusive"'),
                    legend="{{reason}}",
                ),
            ),
            shape=Shape.STACK,
        ),
        share(
            "Coverage",
            "Share of the flags asked for that our side did not leave open; the objective is 99.5 %.",
            (
                Query(
                    expr='1 - rollcall:slo_bad:rate5m{slo="coverage",namespace=~"$namespace",job=~"$job"}'
                    ' / (rollcall:slo_events:rate5m{slo="coverage",namespace=~"$namespace",job=~"$job"} > 0)',
                    legend="{{job}}",
                ),
            ),
        ),
        Panel(
            title="Looks cut",
            description="Explanations left undecided by a deadline, max_rows, or load.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_looks_cut_total", "reason", where=MODEL), legend="{{reason}}"),),
            shape=Shape.STACK,
        ),
    ),
)

_EVIDENCE = Row(
    title="Evidence",
    panels=(
        Panel(
            title="Checks by outcome",
            description="Results of counterfactual checks per second. ERRORED is a ticket.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_check_results_total", "outcome", where=MODEL), legend="{{outcome}}"),),
            shape=Shape.STACK,
        ),
        share(
            "Checks that support their map",
            "By check, of those that came to an end.",
            (
                _part(
                    f'rollcall_check_results_total{{{MODEL},outcome="supports"}}',
                    f'rollcall_check_results_total{{{MODEL},outcome=~"supports|contradicts|inconclusive"}}',
                    "check",
                    legend="{{check}}",
                ),
            ),
        ),
        Panel(
            title="Looks for each explanation",
            description="How often removals were looked at before a decision.",
            unit="none",
            queries=(
                Query(
                    expr=f"{rate('rollcall_looks_total', where=MODEL)}"
                    f" / (sum (rate(rollcall_rows_per_explanation_count{{{HERE}}}[{RATE}])) > 0)",
                    legend="looks",
                ),
            ),
        ),
        spread(
            "Rows of an explanation", "How many counterfactual rows it took.", "short", "rollcall_rows_per_explanation"
        ),
        spread(
            "Tokens of an input", "How long the texts are that the model reads.", "short", "rollcall_request_tokens"
        ),
        Panel(
            title="Other predictions than the caller's",
            description="Explanations whose prediction differs from what the caller reported.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_prediction_mismatch_total", "model", where=MODEL), legend="{{model}}"),),
        ),
    ),
)

_TRUTH = Row(
    title="How often flags are wrong",
    panels=(
        share(
            "Wrong flags, of those checked again",
            "Since each process started: checked again with many more removals and contradicted.",
            (
                Query(
                    expr=f"sum by (model, map) (rollcall_wrong_flags_total{{{MODEL}}})"
                    f" / (sum by (model, map) (rollcall_rechecked_flags_total{{{MODEL}}}) > 0)",
                    legend="{{model}} {{map}}",
                ),
            ),
        ),
        Panel(
            title="Rechecks",
            description="Answers chosen to be checked again: done, dropped because the server was never idle, failed.",
            unit="ops",
            queries=(Query(expr=rate("rollcall_rechecks_total", "outcome"), legend="{{outcome}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Rechecks that wait",
            description="They run while no request is in progress.",
            unit="short",
            queries=(Query(expr=f"sum by (instance) (rollcall_rechecks_pending{{{HERE}}})", legend="{{instance}}"),),
        ),
        Panel(
            title="Promise broken",
            description="Is 1 where flags are wrong more often than the calibration promises, beyond chance.",
            unit="short",
            queries=(Query(expr=f"max by (model) (rollcall_promise_broken{{{MODEL}}})", legend="{{model}}"),),
            shape=Shape.NUMBER,
        ),
        Panel(
            title="Mean agreement of a map with the effects",
            description="A over all distinct requests: 0 is chance, 1 the best that the map's weights could do.",
            unit="none",
            signed=True,
            queries=(
                Query(
                    expr=f"avg by (model, map) (rollcall_pooled_alignment_ratio{{{MODEL}}})", legend="{{model}} {{map}}"
                ),
            ),
        ),
        Panel(
            title="Evidence that a map is not arbitrary",
            description="Logarithm of the e-value over all distinct requests; 4.6 is odds of 100.",
            unit="none",
            signed=True,
            queries=(
                Query(expr=f"avg by (model, map) (rollcall_pooled_log_e_value{{{MODEL}}})", legend="{{model}} {{map}}"),
            ),
        ),
        Panel(
            title="Requests behind it",
            description="Distinct requests in each map's record.",
            unit="short",
            queries=(
                Query(expr=f"sum by (model, map) (rollcall_pooled_requests{{{MODEL}}})", legend="{{model}} {{map}}"),
            ),
        ),
    ),
)

_MODELS = Row(
    title="Models",
    panels=(
        Panel(
            title="Models served",
            description="Digest, precision, device and scope; predictions_only means that a self-test failed.",
            unit="none",
            queries=(
                Query(
                    expr="count by (model, revision, digest, backend, device, dtype, scope)"
                    f" (rollcall_model_info{{{MODEL}}})"
                ),
            ),
            shape=Shape.TABLE,
            width=16,
        ),
        Panel(
            title="Replicas ready",
            description="Processes that take requests for a model.",
            unit="short",
            queries=(Query(expr=f"sum by (model) (rollcall_model_ready{{{MODEL}}})", legend="{{model}}"),),
            shape=Shape.NUMBER,
        ),
        Panel(
            title="Seconds to load",
            description="Reading the weights, the self-tests and measuring memory.",
            unit="s",
            queries=(Query(expr=f"max by (model) (rollcall_model_load_seconds{{{MODEL}}})", legend="{{model}}"),),
            shape=Shape.NUMBER,
        ),
    ),
)

FLAGS = Board(
    slug="flags",
    title="Rollcall: models and flags",
    description="What are the flags worth, on which evidence, and of which weights?",
    rows=(_FLAGS, _EVIDENCE, _TRUTH, _MODELS),
)
