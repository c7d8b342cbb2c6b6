"""Models: what is served, what was promised for its flags, how often they were found to be wrong, and how it went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from rollcall.console.charting import charts
from rollcall.console.visiting import Visit, address
from rollcall_client import Flag, Model, Trend, TrendPeriod

FLAGS = (Flag.FAITHFUL, Flag.UNFAITHFUL, Flag.INCONCLUSIVE, Flag.NOT_CHECKED)
LATER = frozenset({"auditor", "reviewer", "approver", "officer"})
"""Roles of those who may ask about records."""
SERVED = "served"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time that may be looked at: how many days of it, by which periods."""

    name: str
    words: str
    days: int
    period: TrendPeriod


SPANS = (
    Span(name="days", words="30 days", days=30, period=TrendPeriod.DAY),
    Span(name="weeks", words="26 weeks", days=26 * 7, period=TrendPeriod.WEEK),
    Span(name="months", words="24 months", days=730, period=TrendPeriod.MONTH),
)


def index(visit: Visit) -> Response:
    """List the models."""
    return visit.show("models.html", models=visit.client.models())


def show(visit: Visit) -> Response:
    """Show one model, with the measured error rate of its flags, and how its answers went."""
    model = visit.client.model(visit.path("name"))
    span = next((each for each in SPANS if each.name == visit.asked("over")), SPANS[0])
    weights = SERVED if visit.asked("weights") == SERVED else ""
    periods = _went(visit, model, span, weights) if visit.caller.roles & LATER else None
    return visit.show(
        "model.html",
        model=model,
        flags=FLAGS,
        spans=SPANS,
        span=span,
        weights=weights,
        periods=periods,
        address=address,
        charts=charts(periods) if periods else (),
        reasons=sum((Counter(each.reasons) for each in periods or ()), Counter()).most_common(),
    )


def _went(visit: Visit, model: Model, span: Span, weights: str) -> tuple[Trend, ...]:
    """Ask how a model's answers went: those by the weights that are served now, or all."""
    until = datetime.now(tz=UTC).date()
    found = visit.client.trends(
        model.ref.name,
        since=until - timedelta(days=span.days - 1),
        until=until,
        period=span.period,
        model_digest=model.ref.digest if weights else "",
    )
    return found.periods
