"""The model of the studies on subject and verb: an encoder that reads a sentence up to its verb and tells its number.

As in Abnar and Zuidema 2020, section 4, after Linzen et al. 2016: six layers, eight heads, width 128, read out at the
classification token, trained here from nothing.
"""

from __future__ import annotations

from typing import Final

from rollcall.studies.flag.families.base import ACCURACY, Family
from rollcall.studies.flag.families.learning import Schedule, Shape
from rollcall.studies.flag.families.tuned import TunedRecipe, tuned_family

DATA: Final = "agreement"
SHAPE: Final = Shape(layers=6, width=128, heads=8, feed_forward=512, positions=64, dropout=0.1)
QUICK_SHAPE: Final = Shape(layers=4, width=64, heads=4, feed_forward=128, positions=64, dropout=0.1)
FULL_STEPS, QUICK_STEPS = 1500, 400


def agreement_family(*, quick: bool, trained: bool = True) -> Family:
    """The model, or the same before its first step: what position and architecture alone make of attention."""
    shape = QUICK_SHAPE if quick else SHAPE
    steps = (QUICK_STEPS if quick else FULL_STEPS) if trained else 0
    schedule = Schedule(steps=steps, learning_rate=1e-3 if quick else 5e-4)
    return tuned_family(
        f"agreement-{shape.layers}{'' if trained else '-untrained'}",
        "The number of the subject decides; which word that is, is not marked.",
        TunedRecipe(data=DATA, shape=shape, schedule=schedule, pieces=3000),
        {ACCURACY: (0.0, 1.0)},
    )
