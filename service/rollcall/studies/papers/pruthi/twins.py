"""Honest models and their deceptive twins: two tasks, and two kinds of map that hide what decides."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rollcall.domain.maps import MapKind
from rollcall.studies.flag.families import planted
from rollcall.studies.flag.families.base import Family
from rollcall.studies.flag.families.learning import Hiding, Schedule, Shape
from rollcall.studies.flag.families.tuned import TunedRecipe, tuned_family

HONEST, LAST, ROLLOUT = "honest", "hides from the last layer", "hides from rollout"
HIDDEN_FROM: Final[Mapping[str, MapKind]] = MappingProxyType(
    {LAST: MapKind.RAW_ATTENTION, ROLLOUT: MapKind.ATTENTION_ROLLOUT}
)
"""The map that each deceptive twin was trained to mislead."""
TRIGGER, SST_WIKI = "planted word", "SST and Wikipedia"
_ENDINGS: Final = MappingProxyType({HONEST: "honest", LAST: "hide-last", ROLLOUT: "hide-rollout"})


def twins() -> dict[str, dict[str, Family]]:
    """Families by task and twin. All twins of a task and seed begin with the same weights and the same texts."""
    by_name = {family.name: family for family in planted.FAMILIES}
    return {
        TRIGGER: {twin: by_name[ending] for twin, ending in _ENDINGS.items()},
        SST_WIKI: {twin: _on_opinions(twin) for twin in _ENDINGS},
    }


def _on_opinions(twin: str) -> Family:
    """A twin on the real task: smaller than those of the flag's study, and trained for a shorter time."""
    hidden = {LAST: "last_layer", ROLLOUT: "rollout"}.get(twin)
    return tuned_family(
        f"small-{_ENDINGS[twin]}-sst-wiki",
        "Only the first sentence carries the label.",
        TunedRecipe(
            data="sst_wiki",
            shape=Shape(layers=2, width=64, feed_forward=128, positions=96, dropout=0.1),
            schedule=Schedule(steps=300, batch=32, learning_rate=2e-3),
            pieces=3000,
            hiding=None if hidden is None else Hiding(hidden=hidden, weight=1.0),
            hiding_schedule=None if hidden is None else Schedule(steps=250, batch=32, learning_rate=1e-3),
        ),
        {},
    )
