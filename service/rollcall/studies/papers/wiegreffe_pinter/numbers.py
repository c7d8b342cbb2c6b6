"""The numbers that tables and claims are about, from what was measured on one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from rollcall.domain.maps import Floats

TASKS: Final = {"sst2": "SST-2"}


def scores(one: Mapping[str, Any], kind: str) -> Floats:
    """F1 of learnt or uniform attention by seed."""
    return np.array([seed[kind]["f1"] for seed in one["seeds"].values()])


def guided(one: Mapping[str, Any], guide: str) -> Floats:
    """F1 of models that read word by word with this attention, by seed."""
    return np.array([part["f1"] for name, part in one["guides"].items() if name.split()[0] == guide])


def yardstick(one: Mapping[str, Any]) -> dict[str, float]:
    """Means over pairs of seeds."""
    pairs = list(one["pairs"].values())
    return {key: float(np.mean([pair[key] for pair in pairs])) for key in pairs[0]}


def quietest(one: Mapping[str, Any]) -> tuple[str, Mapping[str, float]] | None:
    """The adversary that is furthest among those whose answers are as near to the base's as another seed's are."""
    seeds = yardstick(one)
    near = [(name, each) for name, each in one["adversaries"].items() if each["tvd"] <= seeds["tvd"]]
    return max(near, key=lambda item: item[1]["jsd"]) if near else None
