"""Writes a board as Grafana's JSON, with Grafana's own types; deterministic, so that it can be committed and compared.

Nothing is hard-coded to an installation: the data source is a variable, and so are namespace, job, instance and model.
"""

from __future__ import annotations

import json
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from helm.generate.boards import Board, Panel, Query, Shape

AnyPanel: TypeAlias = timeseries.Panel | stat.Panel | heatmap.Panel | table.Panel

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="$datasource")
TAG: Final = "rollcall"
VARIABLES: Final = {
    "namespace": "label_values(rollcall_build_info, namespace)",
    "job": 'label_values(rollcall_build_info{namespace=~"$namespace"}, job)',
    "instance": 'label_values(rollcall_build_info{namespace=~"$namespace",job=~"$job"}, instance)',
    "model": 'label_values(rollcall_model_ready{namespace=~"$namespace",job=~"$job"}, model)',
}
NEW_WEIGHTS: Final = (
    'rollcall_model_info{namespace=~"$namespace",job=~"$job"}'
    ' unless rollcall_model_info{namespace=~"$namespace",job=~"$job"} offset 5m'
)
"""Weights that were not served five minutes before."""
HEIGHT: Final = {Shape.NUMBER: 5}
USUAL_HEIGHT: Final = 8
SYMBOLS: Final = "ABCDEFGH"


def render(board: Board) -> str:
    """Write a board as Grafana imports it."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"rollcall-{board.slug}")
        .description(board.description)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("utc")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Rollcall")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(as_dropdown=True)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("New weights")
            .datasource(SOURCE)
            .enable(enable=True)
            .icon_color("purple")
            .expr(NEW_WEIGHTS)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for name, query in VARIABLES.items():
        built.with_variable(_variable(name, query))
    number = 0
    for row in board.rows:
        number += 1
        built.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            built.with_panel(_panel(panel).id(number))
    # The encoder knows the types; reading its text back gives one order of keys and one layout.
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(built.build())), indent=1, sort_keys=True) + "\n"


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _panel(panel: Panel) -> AnyPanel:
    drawn = _drawn(panel)
    drawn.title(panel.title).description(panel.description).datasource(SOURCE).unit(panel.unit)
    drawn.span(panel.width).height(HEIGHT.get(panel.shape, USUAL_HEIGHT))
    if not panel.signed and panel.shape not in {Shape.TABLE, Shape.HEATMAP}:
        drawn.min(0)
    if panel.top is not None:
        drawn.max(panel.top)
    for symbol, query in zip(SYMBOLS, panel.queries, strict=False):
        drawn.with_target(_target(query, panel.shape).ref_id(symbol))
    return drawn


def _drawn(panel: Panel) -> AnyPanel:
    match panel.shape:
        case Shape.NUMBER:
            return stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        case Shape.TABLE:
            return table.Panel()
        case Shape.HEATMAP:
            return heatmap.Panel().calculate(calculate=False)
        case Shape.LINES | Shape.STACK:
            lines = timeseries.Panel().legend(
                common.VizLegendOptions()
                .show_legend(show_legend=True)
                .display_mode(common_models.LegendDisplayMode.TABLE)
                .placement(common_models.LegendPlacement.BOTTOM)
                .calcs(["lastNotNull", "max"])
            )
            if panel.shape is Shape.STACK:
                stacked = common.StackingConfig().group("A").mode(common_models.StackingMode.NORMAL)
                lines.stacking(stacked).fill_opacity(30)
            return lines


def _target(query: Query, shape: Shape) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
    match shape:
        case Shape.TABLE:
            return target.instant().format(PromQueryFormat.TABLE)
        case Shape.HEATMAP:
            return target.range().format(PromQueryFormat.HEATMAP)
        case _:
            return target.range()
