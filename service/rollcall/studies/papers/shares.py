"""Numbers as the reports write them."""

from __future__ import annotations

from collections.abc import Sequence

from rollcall.studies.papers.intervals import Mean


def share(values: Sequence[bool]) -> str:
    """How many of how many, as a percentage."""
    return f"{100 * sum(values) / len(values):.0f} %" if values else "-"


def with_deviation(mean: Mean) -> str:
    """Mean, deviation of single values as papers print it, and the 95 % interval of the mean."""
    return f"{mean.value:.2f} ({mean.deviation:.2f}), mean within {mean.low:.2f} to {mean.high:.2f}"
