"""Maps that somebody tampered with: what a picture looks like that was not made by looking into the model.

All are made of numbers alone, on any model. None is wrong by construction, for by luck it may agree with the effects:
whether it does is for the truth A* to say, as for any other map.

Shapes: n units, m units of another request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np

from rollcall.domain.maps import Bools, Floats
from rollcall.domain.seeds import random_permutations, random_words


class Tampering(Enum):
    """How a map came about."""

    SHUFFLED = "shuffled"
    """The weights of the map, dealt out at random."""
    REVERSED = "reversed"
    """The weights of the map in the opposite order of size: the most for the unit that had the least."""
    TOP_ZEROED = "top_zeroed"
    """The map, but nothing for the unit with the largest effect towards the target."""
    OTHER_REQUEST = "other_request"
    """The map of another request, stretched to this one's length."""
    RANDOM = "random"
    """Drawn from all distributions alike; it knows neither map nor text."""
    UNIFORM = "uniform"
    """The same for every unit: it says nothing, and must be INCONCLUSIVE."""
    POSITION = "position"
    """One for the first unit, a half for the second, a third for the third."""
    WORD_FREQUENCY = "word_frequency"
    """In proportion to how common the unit is."""


def tampered(
    weights: Floats, *, effects: Floats, other: Floats, frequencies: Floats, seed: int
) -> Mapping[Tampering, Floats]:
    """Every tampering with the map `weights` [n]: distributions [n], the same whenever the arguments are.

    `effects` [n] are the true ones, positive towards the target; `other` [m] is another request's map; `frequencies`
    [n] say how common each unit is. `weights`, `other` and `frequencies` are not negative and not all 0.
    """
    n = len(weights)
    anywhere = np.ones(n, dtype=np.bool_)
    elsewhere = np.arange(n) != effects.argmax()
    by_size = np.argsort(weights, kind="stable")
    turned = np.empty(n)
    turned[by_size] = weights[by_size[::-1]]
    uniform = (random_words(seed, "tampered/random", (n,)) >> np.uint64(11)).astype(np.float64) / 2**53
    made = {
        Tampering.SHUFFLED: (weights[random_permutations(seed, "tampered/shuffled", (n,))], anywhere),
        Tampering.REVERSED: (turned, anywhere),
        Tampering.TOP_ZEROED: (weights, elsewhere if n > 1 else anywhere),
        Tampering.OTHER_REQUEST: (_stretched(other, n), anywhere),
        Tampering.RANDOM: (-np.log1p(-uniform), anywhere),
        Tampering.UNIFORM: (np.ones(n), anywhere),
        Tampering.POSITION: (1 / np.arange(1, n + 1), anywhere),
        Tampering.WORD_FREQUENCY: (frequencies, anywhere),
    }
    return {tampering: _distribution(mass, allowed) for tampering, (mass, allowed) in made.items()}


def unit_frequencies(requests: Sequence[Sequence[str]]) -> list[Floats]:
    """For the units' texts of each request, how often each stands in all requests, whatever its case."""
    counts = Counter(unit.casefold() for units in requests for unit in units)
    return [np.array([counts[unit.casefold()] for unit in units], dtype=np.float64) for units in requests]


def _stretched(weights: Floats, n: int) -> Floats:
    """Weights [m] as if spread evenly over each unit's share of the text, gathered over n equal shares [n]."""
    reached = np.concatenate(([0.0], np.cumsum(weights)))
    places = np.linspace(0, 1, len(weights) + 1)
    return np.diff(np.interp(np.linspace(0, 1, n + 1), places, reached))


def _distribution(mass: Floats, allowed: Bools) -> Floats:
    """What mass [n] there is on the allowed units, as a distribution; alike on all of them where there is none."""
    kept = np.where(allowed, mass, 0.0)
    if kept.sum() <= 0:
        kept = allowed.astype(np.float64)
    return np.asarray(kept / kept.sum())
