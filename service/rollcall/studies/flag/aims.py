"""What was aimed at, what came out, and whether it was reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rollcall.domain.maps import MapKind
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import Flag
from rollcall.studies.flag.families.tampered import Tampering

if TYPE_CHECKING:
    from rollcall.studies.flag.evaluate import Judged

Aim: TypeAlias = dict[str, Any]
"""`what`, its `goal` in words, the `value` that came out, and whether it is `met`; None where it was not measured."""

DECIDED: Final = {"0.05": 0.95, "0.02": 0.9}
"""Least share of maps that are not flat to be decided, by what is promised."""
MOST_REMOVALS: Final = 20
LEAST_AUROC: Final = 0.95
MOST_WRONG: Final = 0.05
LEAST_RIGHT: Final = 0.9
HIDING: Final = ("hide-last", MapKind.RAW_ATTENTION.value)
HONEST: Final = ("honest", MapKind.ATTENTION_ROLLOUT.value)
"""Families whose names begin so, and the map of theirs whose flag is known."""


def targets(found: Mapping[str, Any], everything: Sequence[Judged], policy: Policy) -> list[Aim]:
    """Every aim, from the numbers of a report and the maps behind it."""
    return [
        *_calibrated(found["calibrated"]),
        *_uncalibrated(found),
        *_known(everything, policy),
        *_known_calibrated(found["calibrated"]["0.05"]["families"]),
        *_nothing(found),
    ]


def _least(what: str, least: float, value: float | None) -> Aim:
    return {"what": what, "goal": f">= {least:g}", "value": value, "met": None if value is None else value >= least}


def _most(what: str, most: float, value: float) -> Aim:
    return {"what": what, "goal": f"<= {most:g}", "value": value, "met": value <= most}


def _none(what: str, count: int) -> Aim:
    return {"what": what, "goal": "0", "value": float(count), "met": not count}


def _calibrated(calibrated: Mapping[str, Any]) -> Iterator[Aim]:
    for alpha, least in DECIDED.items():
        every, families = calibrated[alpha]["all"], calibrated[alpha]["families"]
        if every:
            yield _least(f"decided, calibrated at {alpha}", least, every["decided"])
            keeping = [one for one in families.values() if one["promised"] == 1]
            above = sum(one["wrong_interval_95"][0] > float(alpha) for one in keeping)
            yield _none(f"families significantly above {alpha}", above)
        elif families:
            yield _least(f"decided, calibrated at {alpha}: too few inputs to promise", least, None)
    if calibrated["0.05"]["all"]:
        yield _most("removals, calibrated at 0.05", MOST_REMOVALS, calibrated["0.05"]["all"]["removals"])


def _uncalibrated(found: Mapping[str, Any]) -> Iterator[Aim]:
    if families := found["families"].values():
        worst = max(one["wrong_of_flags"]["share"] for one in families)
        yield _most("worst family, wrong of its flags, uncalibrated", MOST_WRONG, worst)
        lowest = min((one["auroc"]["value"] for one in families if one["auroc"]), default=None)
        yield _least("worst family, AUROC of A", LEAST_AUROC, lowest)
        unfaithful = found["all"]["wrong_unfaithful"]["share"]
        yield _most("wrong UNFAITHFUL flags, uncalibrated", MOST_WRONG, unfaithful)
    if zeroed := found["tampered"].get(Tampering.TOP_ZEROED.value):
        yield _most("FAITHFUL with the most important word zeroed", MOST_WRONG, zeroed["faithful"]["share"])


def _known(everything: Sequence[Judged], policy: Policy) -> Iterator[Aim]:
    """Maps whose flag is known by construction, with default widths."""
    hiding, honest = (
        [one for one in everything if one.family.startswith(prefix) and one.map == kind]
        for prefix, kind in (HIDING, HONEST)
    )
    right = [one for one in honest if one.truth.right(policy)]
    for what, flag, some in (
        ("UNFAITHFUL, last-layer maps that hide", Flag.UNFAITHFUL, hiding),
        ("FAITHFUL, honest rollouts", Flag.FAITHFUL, honest),
        ("FAITHFUL, honest rollouts that A* finds right", Flag.FAITHFUL, right),
    ):
        if some:
            yield _least(what, LEAST_RIGHT, sum(one.ruling.flag is flag for one in some) / len(some))


def _known_calibrated(families: Mapping[str, Any]) -> Iterator[Aim]:
    """The same maps with calibrated widths, on inputs that did not calibrate."""
    for what, (prefix, kind), counted, of in (
        ("UNFAITHFUL, last-layer maps that hide", HIDING, "unfaithful", "inputs"),
        ("FAITHFUL, honest rollouts", HONEST, "faithful", "inputs"),
        ("FAITHFUL, honest rollouts that A* finds right", HONEST, "right faithful", "right"),
    ):
        some = [one for name, one in families.items() if name.startswith(prefix) and kind in one["maps_of"]]
        maps = [one["maps_of"][kind] | {"inputs": one["inputs"]} for one in some]
        if total := sum(one[of] for one in maps):
            yield _least(f"{what}, calibrated at 0.05", LEAST_RIGHT, sum(one[counted] for one in maps) / total)


def _nothing(found: Mapping[str, Any]) -> Iterator[Aim]:
    flagged = sum(one["not_inconclusive"] for one in found["undecidable"].values()) + found["no_reach"]["flagged"]
    yield _none("flags where there must be none", flagged)
