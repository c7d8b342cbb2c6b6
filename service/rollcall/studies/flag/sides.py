"""Pairs, each text for itself: how often the flag of a map among the words of one text is wrong.

No calibration promises anything of these flags; what is true is the same effects, of this text's words alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rollcall.domain.policy import Policy
from rollcall.studies.flag.run import Measured
from rollcall.studies.rates import Share, tally
from rollcall.verdict.decide import Ruling
from rollcall.verdict.truth import Truth


def side_numbers(measured: Sequence[Measured], policy: Policy) -> dict[str, Any]:
    """By family and text, over the maps that the service offers of inputs with reach; nothing without pairs."""
    found: dict[str, dict[str, list[tuple[Ruling, Truth]]]] = defaultdict(lambda: defaultdict(list))
    for one in measured:
        for case in (case for case in one.cases if case.reached and not one.fault):
            for seen in case.maps.values():
                for text, side in zip(("first", "second"), seen.sides, strict=False):
                    if side.truth is not None:
                        found[one.family.name][text].append((side.served, side.truth))
    return {family: {text: _told(pairs, policy) for text, pairs in texts.items()} for family, texts in found.items()}


def _told(pairs: Sequence[tuple[Ruling, Truth]], policy: Policy) -> dict[str, Any]:
    counted = tally(pairs, policy)
    flags = counted.faithful.count + counted.unfaithful.count
    return counted.to_json() | {
        "maps": len(pairs),
        "wrong_of_flags": Share(count=counted.wrong.count, total=flags).to_json(),
    }
