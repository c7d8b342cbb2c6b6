"""Numbers for people: Markdown tables, and a dash where nothing was measured."""

from __future__ import annotations

from collections.abc import Mapping

from rollcall.studies.markdown import table

__all__ = ["DASH", "milliseconds", "pairs", "ratio", "table"]

DASH = "—"


def milliseconds(seconds: float | None) -> str:
    """Write a duration."""
    return DASH if seconds is None else f"{seconds * 1000:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def ratio(value: float | None) -> str:
    """Write a ratio."""
    return DASH if value is None else f"{value:.2f}"


def pairs(values: Mapping[str, object]) -> str:
    """Write names with their values."""
    return ", ".join(f"{name} {value}" for name, value in values.items()) or DASH
