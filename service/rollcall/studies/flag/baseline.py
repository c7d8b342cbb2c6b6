"""What the quick tier gave when it was last looked at, and whether it is worse now than chance explains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from scipy.stats import fisher_exact

NAME: Final = "baseline.json"
SURPRISE: Final = 1e-3
"""A change that chance would bring about less often than this is a regression."""


def baseline_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared: for every family and map how many flags there were, how many wrong, of how many maps."""
    return {
        "policy": report["policy"]["digest"],
        "maps": {
            f"{family}/{kind}": {"maps": one["maps"], "flags": one["flags"], "wrong": one["wrong_of_flags"]["count"]}
            for family, found in report["families"].items()
            for kind, one in found["maps_of"].items()
        },
    }


def read_baseline() -> dict[str, Any]:
    """The one that is packaged; raises FileNotFoundError, ValueError."""
    found: dict[str, Any] = json.loads(resources.files("rollcall.studies.flag").joinpath(NAME).read_text("utf-8"))
    return found


def regressions(report: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """What is worse than in the baseline beyond chance (Fisher's exact test, one-sided), each in words.

    Fewer flags, more wrong ones, a flag where there must be none, or a family that is not there any more.
    """
    now, found = baseline_of(report)["maps"], []
    for name, before in baseline["maps"].items():
        one = now.get(name)
        if one is None:
            found.append(f"{name}: not measured")
            continue
        if _is_more(one["wrong"], one["maps"], before["wrong"], before["maps"]):
            found.append(
                f"{name}: {one['wrong']} of {one['maps']} flags wrong, {before['wrong']} of {before['maps']} before"
            )
        if _is_more(one["maps"] - one["flags"], one["maps"], before["maps"] - before["flags"], before["maps"]):
            found.append(
                f"{name}: {one['flags']} of {one['maps']} decided, {before['flags']} of {before['maps']} before"
            )
    for name, one in report["undecidable"].items():
        if one["not_inconclusive"]:
            found.append(
                f"{name}: {one['not_inconclusive']} of {one['maps']} maps have a flag where there must be none"
            )
    if report["no_reach"]["flagged"]:
        found.append(f"{report['no_reach']['flagged']} maps of decisions without reach have a flag")
    return found


def _is_more(now: int, of_now: int, before: int, of_before: int) -> bool:
    table = [[now, of_now - now], [before, of_before - before]]
    return bool(fisher_exact(table, alternative="greater").pvalue < SURPRISE)
