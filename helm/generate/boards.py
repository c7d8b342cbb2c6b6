"""What a dashboard is made of, as rows of values; `grafana` writes them in Grafana's words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

HERE = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
"""Selects the processes that the reader has chosen."""
MODEL = f'{HERE},model=~"$model"'
"""Selects their series about the models that the reader has chosen."""
RATE = "$__rate_interval"


class Shape(Enum):
    """How a panel shows its numbers."""

    LINES = "lines"
    STACK = "stack"
    HEATMAP = "heatmap"
    NUMBER = "number"
    TABLE = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression, and what its series are called: `{{label}}` is the label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. `unit` is Grafana's name of it; `top` an upper end of the axis that is known."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    shape: Shape = Shape.LINES
    top: float | None = None
    signed: bool = False
    """Whether the numbers may be below 0."""
    width: int = 8
    """Of 24 columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard; `slug` names its file, and with the prefix `rollcall-` its uid."""

    slug: str
    title: str
    description: str
    rows: tuple[Row, ...]


def rate(metric: str, *by: str, where: str = HERE) -> str:
    """Write the rate of a counter, summed by labels."""
    summed = f"sum by ({', '.join(by)})" if by else "sum"
    return f"{summed} (rate({metric}{{{where}}}[{RATE}]))"


def quantile(share: float, histogram: str, *by: str, where: str = HERE) -> str:
    """Write a quantile of a histogram, by labels."""
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', 'le', *by, where=where)})"


def quantiles(histogram: str, *by: str, where: str = HERE) -> tuple[Query, ...]:
    """Ask for the median, and for what one in twenty and one in a hundred exceed."""
    names = " ".join(f"{{{{{label}}}}}" for label in by)
    return tuple(
        Query(expr=quantile(share, histogram, *by, where=where), legend=f"{names} p{share * 100:g}".strip())
        for share in (0.5, 0.95, 0.99)
    )


def spread(title: str, description: str, unit: str, histogram: str, *, where: str = HERE) -> Panel:
    """Show a whole histogram over time."""
    query = Query(expr=rate(f"{histogram}_bucket", "le", where=where), legend="{{le}}")
    return Panel(title=title, description=description, unit=unit, queries=(query,), shape=Shape.HEATMAP)


def share(title: str, description: str, queries: tuple[Query, ...], *, shape: Shape = Shape.LINES) -> Panel:
    """Show shares between 0 and 1."""
    return Panel(title=title, description=description, unit="percentunit", queries=queries, shape=shape, top=1)
