"""May these maps be shown to users? What the service answers on a sample of inputs, on one page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import Any, Final

from rollcall.domain.verdicts import Flag
from rollcall.studies.cases import Case
from rollcall.studies.markdown import table
from rollcall.studies.rates import Share

RECOMMENDED: Final = "recommended"
SHOWN_FROM: Final = 0.9
"""A map may be shown by itself where it is FAITHFUL at least this often, by the lower end of the interval ..."""
HIDDEN_BELOW: Final = 0.5
"""... and should not be shown where it is FAITHFUL less often than this, by the upper end."""
EXAMPLES: Final = 2
"""Inputs named for each flag of a map."""
EXAMPLE_CHARACTERS: Final = 100
FLAGS: Final = (Flag.FAITHFUL, Flag.UNFAITHFUL, Flag.INCONCLUSIVE)


class Advice(Enum):
    """What to do with a map."""

    SHOW = "show"
    SHOW_WITH_FLAG = "show with its flag"
    DO_NOT_SHOW = "do not show"


class RequirementError(ValueError):
    """A requirement cannot be read; the message says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A share that a map's flag, or the recommended map, must reach or may not exceed."""

    name: str
    flag: Flag
    at_least: bool
    share: float

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.name}:{self.flag.value}{'>=' if self.at_least else '<='}{self.share:g}"

    def met(self, assessed: Mapping[str, Any]) -> bool:
        """Whether the measured share does; a map that was not measured never does."""
        if self.name == RECOMMENDED:
            value = assessed[RECOMMENDED]["share"]
        elif self.name in assessed["maps"]:
            value = assessed["maps"][self.name][self.flag.value]["share"]
        else:
            return False
        return bool(value >= self.share if self.at_least else value <= self.share)


_REQUIREMENT = re.compile(
    r"(?P<name>[a-z_]+)(:(?P<flag>faithful|unfaithful|inconclusive))?(?P<sign>>=|<=)(?P<share>\d*\.?\d+)"
)


def parse_requirement(text: str) -> Requirement:
    """Read e.g. "recommended>=0.7" or "gradient_rollout:unfaithful<=0.1"; raises RequirementError."""
    found = _REQUIREMENT.fullmatch(text.strip().lower().replace("-", "_"))
    share = float(found["share"]) if found else -1.0
    # A map is only recommended where it is FAITHFUL: of the recommended one there is no other flag to ask for.
    other_flag = found and found["name"] == RECOMMENDED and found["flag"] not in {None, Flag.FAITHFUL.value}
    if found is None or other_flag or not 0 <= share <= 1:
        example = "recommended>=0.7 or raw_attention:unfaithful<=0.1"
        message = f"--require: expected MAP[:FLAG]>=SHARE or <=, e.g. {example}; got {text!r}"
        raise RequirementError(message)
    flag = Flag(found["flag"] or Flag.FAITHFUL.value)
    return Requirement(name=found["name"], flag=flag, at_least=found["sign"] == ">=", share=share)


def assess(cases: Sequence[Case]) -> dict[str, Any]:
    """Everything of the page but the texts; `examples` are numbers of inputs. There is at least one case."""
    names = dict.fromkeys(name for case in cases for name, found in case.maps.items() if found.served is not None)
    recommended = [case.recommended for case in cases if case.recommended is not None]
    rows, seconds = [case.served_rows for case in cases], [case.seconds for case in cases]
    return {
        "inputs": len(cases),
        "with_reach": Share(count=sum(case.reached for case in cases), total=len(cases)).to_json(),
        "maps": {name: _map(cases, name) for name in names},
        RECOMMENDED: Share(count=len(recommended), total=len(cases)).to_json()
        | {"maps": dict(Counter(recommended).most_common())},
        "cost": {
            "rows": {"median": median(rows), "most": max(rows)},
            "seconds": {"median": median(seconds), "most": max(seconds)},
        },
    }


def _map(cases: Sequence[Case], name: str) -> dict[str, Any]:
    served = [(case.number, case.maps[name]) for case in cases if name in case.maps]
    rulings = [(number, found.served) for number, found in served if found.served is not None]
    shares = {
        flag: Share(count=sum(ruling.flag is flag for _, ruling in rulings), total=len(rulings)) for flag in FLAGS
    }
    reasons = Counter(ruling.reason.value for _, ruling in rulings if ruling.flag is Flag.INCONCLUSIVE)
    removals = [found.served_removals for _, found in served if found.served_removals]
    return {
        "advice": _advice(shares[Flag.FAITHFUL]).value,
        **{flag.value: share.to_json() for flag, share in shares.items()},
        "reasons": dict(reasons.most_common()),
        "removals": median(removals) if removals else None,
        "sides": [
            _side([found.sides[side].served.flag for _, found in served if found.sides])
            for side in range(max((len(found.sides) for _, found in served), default=0))
        ],
        "examples": {
            flag.value: [number for number, ruling in rulings if ruling.flag is flag][:EXAMPLES] for flag in FLAGS
        },
    }


def _side(flags: Sequence[Flag]) -> dict[str, Any]:
    return {flag.value: Share(count=flags.count(flag), total=len(flags)).to_json() for flag in FLAGS}


def _advice(faithful: Share) -> Advice:
    low, high = faithful.interval
    if low >= SHOWN_FROM:
        return Advice.SHOW
    return Advice.DO_NOT_SHOW if high < HIDDEN_BELOW else Advice.SHOW_WITH_FLAG


# --- the page --------------------------------------------------------------------------------------------------------


MEANING: Final = f"""\
**show**: FAITHFUL nearly always (lower end at least {SHOWN_FROM:.0%}). **do not show**: FAITHFUL in fewer than
{HIDDEN_BELOW:.0%} (upper end). Otherwise **show with its flag**, and only where that is FAITHFUL."""
SIDES: Final = "Each text of a pair for itself, by the same rows; no calibration promises anything of these flags."


def page(
    assessed: Mapping[str, Any], texts: Mapping[int, Sequence[str]], *, model: str, calibration: str, data: str
) -> str:
    """Markdown; `texts` are the inputs by number, both texts of a pair, which stay in this page."""
    maps, recommended = assessed["maps"], assessed[RECOMMENDED]
    heads = ("map", "advice", *(flag.name for flag in FLAGS), "removals", "why inconclusive")
    examples = [
        f"- {name}, {flag.name}: {_excerpt(texts[number])}"
        for name, found in maps.items()
        for flag in FLAGS
        for number in found["examples"][flag.value]
    ]
    sample = f"{assessed['inputs']} inputs of {data}, flags as the service gives them."
    reach = f"The decision hangs on words that can be removed in {_told(assessed['with_reach'])}."
    chosen = ", ".join(f"{name} in {count}" for name, count in recommended["maps"].items())
    there = f"A recommended map, FAITHFUL by its own checks, is there in {_told(recommended)}"
    parts = [
        f"# May the maps of {model} be shown?",
        f"{sample} {reach} {calibration}",
        table(heads, [_row(name, found) for name, found in maps.items()]),
        MEANING,
        *_of_pairs(maps),
        f"{there}: {chosen}." if chosen else f"{there}.",
        _cost(assessed["cost"]),
        "## Examples",
        "\n".join(examples),
    ]
    return "\n\n".join(parts)


def _of_pairs(maps: Mapping[str, Any]) -> list[str]:
    """Flags of each text of a pair for itself; nothing where there are no pairs."""
    rows = [
        (name, text, *(_told(side[flag.value]) for flag in FLAGS))
        for name, found in maps.items()
        for text, side in zip(("first", "second"), found["sides"], strict=False)
    ]
    return [SIDES, table(("map", "text", *(flag.name for flag in FLAGS)), rows)] if rows else []


def _cost(cost: Mapping[str, Any]) -> str:
    rows, seconds = cost["rows"], cost["seconds"]
    took = f"An explanation took {rows['median']:.0f} forward rows (at most {rows['most']}) and"
    return f"{took} {seconds['median']:.2f} s (at most {seconds['most']:.2f}) on this machine, one at a time."


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in found["reasons"].items()) or "-"
    removals = "-" if found["removals"] is None else f"{found['removals']:.0f}"
    return (name, found["advice"], *(_told(found[flag.value]) for flag in FLAGS), removals, reasons)


def _told(share: Mapping[str, Any]) -> str:
    low, high = share["interval_95"]
    return f"{share['share']:.0%} ({low:.0%} to {high:.0%})"


def _excerpt(texts: Sequence[str]) -> str:
    most = EXAMPLE_CHARACTERS // len(texts)
    plain = (" ".join(text.split()) for text in texts)
    return " / ".join(text if len(text) <= most else text[: most - 1] + "…" for text in plain)
