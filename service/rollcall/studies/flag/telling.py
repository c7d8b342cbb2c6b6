"""Numbers of the report as people read them, and what is told of the estimated effects and of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollcall.studies.markdown import table

EFFECTS = """\
Flags rest on effects estimated from a few removals. rho is what the checks believe of their correlation with the true
ones (both: medians); a map is called UNFAITHFUL only where it is at least .7. Astray: of the inputs where it is, those
where the correlation is below .5, so that a right map may look wrong. A is off: root mean square of A - A* of the maps,
beside which the default widths are .4, .2 and .1. Additive: the share of what the removals did to the margin that the
true effects add up to (median); the rest is noise to them. Without the gradient as a prior."""
SIDES = """\
The flag of a map among the words of one text alone, from the same rows, against the same effects there. No calibration
promises anything of it."""
FLAGS = ("FAITHFUL", "of them wrong", "UNFAITHFUL", "of them wrong")


def effects_section(effects: Mapping[str, Any]) -> tuple[str, ...]:
    """How near the estimated effects come to the true ones."""
    heads = (
        "family",
        "removals",
        "inputs",
        "correlation",
        "rho",
        "A is off by",
        "additive",
        "rho allows UNFAITHFUL",
        "astray",
    )
    rows = [_effects(name, *look) for name, found in sorted(effects.items()) for look in found.items()]
    return ("## How near the effects come to the true ones", EFFECTS, table(heads, rows)) if rows else ()


def _effects(family: str, removals: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        family,
        removals,
        str(one["inputs"]),
        f"{one['correlation']:.2f}",
        f"{one['reliability']:.2f}",
        "-" if one["error"] is None else f"{one['error']:.2f}",
        percent(one["additive"]),
        percent(one["allowed"]["share"]),
        share(one["astray"]),
    )


def sides_section(sides: Mapping[str, Any]) -> tuple[str, ...]:
    """Of pairs, each text for itself; nothing where there are none."""
    rows = [
        (
            family,
            text,
            str(one["maps"]),
            percent(one["truly_right"]["share"]),
            *flags(one),
        )
        for family, texts in sorted(sides.items())
        for text, one in texts.items()
    ]
    heads = ("family", "text", "maps", "truly right", *FLAGS)
    return ("## Pairs, each text for itself", SIDES, table(heads, rows)) if rows else ()


def flags(one: Mapping[str, Any]) -> tuple[str, ...]:
    """Under FLAGS: the share of each flag, and how many of them are wrong."""
    return (
        percent(one["faithful"]["share"]),
        wrong(one["wrong_faithful"]),
        percent(one["unfaithful"]["share"]),
        wrong(one["wrong_unfaithful"]),
    )


def wrong(one: Mapping[str, Any]) -> str:
    """Wrong ones of all such flags."""
    return f"{one['count']} of {one['total']}" if one["total"] else "-"


def share(one: Mapping[str, Any]) -> str:
    """Count, total, share and its interval."""
    if not one["total"]:
        return "-"
    return f"{one['count']} of {one['total']} ({percent(one['share'])}; {interval(one['interval_95'])})"


def interval(ends: Sequence[float]) -> str:
    """Both ends of a share's interval, in per cent."""
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"


def percent(value: float) -> str:
    """A share in per cent."""
    return f"{100 * value:.1f} %"
