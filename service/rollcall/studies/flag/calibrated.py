"""Families calibrated on some of their inputs and checked on others: what is decided, what is wrong, what it costs.

Also what the gradient as a prior saves, and how many inputs a calibration takes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from rollcall.domain.maps import Bools, MapKind
from rollcall.domain.policy import Policy
from rollcall.studies.calibrating import RECOMMENDED, first_look_errors, fit, given, prior_helps, replay_all, usual_maps
from rollcall.studies.cases import Case
from rollcall.studies.flag.families.base import Undecidable
from rollcall.studies.flag.run import Measured
from rollcall.studies.rates import Share

FOLDS: Final = 5
ALPHAS: Final = (0.05, 0.02)
CONFIDENCE: Final = 0.9
COUNTED: Final = ("faithful", "unfaithful", "wrong", "right", "right faithful")
"""Of every map's inputs: its flags, those that are wrong, maps that A* finds right, and FAITHFUL ones of these."""
SIZES: Final = (50, 100, 200, 300, 400, 800)
"""Numbers of calibration inputs that are tried."""
DRAWS: Final = 50
"""Random draws of the inputs that calibrate, for each number of them."""
CHECKED_ON: Final = 40
"""The fewest other inputs that such a calibration is checked on."""


class Pool:
    """The cases of one family's models, replayed with the prior and without it, which takes a while."""

    def __init__(self, cases: Sequence[Case], policy: Policy) -> None:
        self.cases = cases
        self._policy = policy
        self._replayed = {prior: replay_all(cases, policy, prior=prior) for prior in (False, True)}
        self._usual = usual_maps(self._replayed[False])
        self._flat = {
            name: np.array([case.maps[name].looks[-1].evidence.flat for case in cases]) for name in self._usual
        }
        self._right = {name: self._replayed[False][name].truths >= policy.alignment_threshold for name in self._usual}

    def split(self, kept: Bools, held: Bools, *, alpha: float, prior: bool | None = None) -> Counter[str]:
        """Counts of what widths fitted on the inputs `kept` [N] give on those `held` [N]."""
        sums: Counter[str] = Counter()
        if prior is None:
            some = [case for case, is_kept in zip(self.cases, kept, strict=True) if is_kept]
            prior = prior_helps(first_look_errors(some, self._policy))
        replayed = self._replayed[prior]
        cs = fit({name: one.of(kept) for name, one in replayed.items()}, alpha=alpha, confidence=CONFIDENCE)
        rest = {name: one.of(held) for name, one in replayed.items()}
        for name in self._usual:
            seen, uneven = given(rest, name, cs), ~self._flat[name][held]
            sums["maps"] += int(held.sum())
            sums["uneven"] += int(uneven.sum())
            sums["decided"] += int((seen.faithful | seen.unfaithful)[uneven].sum())
            sums["wrong"] += int(seen.wrong.sum())
            sums["unfaithful"] += int(seen.unfaithful.sum())
            sums["wrong_unfaithful"] += int((seen.wrong & seen.unfaithful).sum())
            sums["removals"] += int(seen.removals[uneven].sum())
            sums["promised"] += cs[name] is not None
            for what, seen_of in (("faithful", seen.faithful), ("unfaithful", seen.unfaithful), ("wrong", seen.wrong)):
                sums[f"{name} {what}"] += int(seen_of.sum())
            sums[f"{name} right"] += int(self._right[name][held].sum())
            sums[f"{name} right faithful"] += int((self._right[name][held] & seen.faithful).sum())
        sums["fits"] += len(self._usual)
        sums["prior"] += prior
        if cs[RECOMMENDED] is not None:
            best = given(rest, RECOMMENDED, cs)
            sums["recommended"] += int(best.faithful.sum())
            sums["recommended_wrong"] += int(best.wrong.sum())
        sums["inputs"] += int(held.sum())
        return sums


def pools_of(measured: Sequence[Measured], policy: Policy) -> dict[str, Pool]:
    """By family: all cases with reach of its models; no faults, and no models of which nothing can be said."""
    found: dict[str, list[Case]] = defaultdict(list)
    for one in measured:
        if not one.fault and one.family.undecidable is Undecidable.NOTHING:
            found[one.family.name] += [case for case in one.cases if case.reached]
    return {name: Pool(cases, policy) for name, cases in found.items() if cases}


def calibrated_numbers(pools: Mapping[str, Pool], *, alpha: float) -> dict[str, Any]:
    """Every family calibrated on four fifths of its inputs with reach, its models together, and checked on the last.

    `all` is over the families in which every fold could promise something; few inputs can promise little.
    """
    crossed = {name: cross_calibrated(pool, alpha=alpha) for name, pool in pools.items()}
    families = {name: found for name, found in crossed.items() if found is not None}
    whole = [one for one in families.values() if one["promised"] == 1]
    totals = {share: pooled(whole, share, of) for share, of in SHARES_OF.items()} if whole else {}
    return {"families": families, "promising": len(whole), "all": totals}


SHARES_OF: Final = {
    "wrong": "maps",
    "decided": "uneven",
    "removals": "uneven",
    "wrong_unfaithful": "unfaithful",
    "recommended_wrong": "inputs",
}
"""What each number of a calibrated family is a share of, or a mean over."""


def pooled(families: Iterable[Mapping[str, Any]], share: str, of: str) -> float:
    """The share over all families together; 0 of none."""
    pairs = [(one[share], one[of]) for one in families]
    return float(sum(value * count for value, count in pairs) / max(1, sum(count for _, count in pairs)))


def saved_by_prior(pools: Mapping[str, Pool], *, alpha: float) -> dict[str, Any]:
    """By family: decided share and removals a map where the gradient never helps as a prior, and where it always does.

    Each has widths of its own that keep the promise; only families with gradients.
    """
    found = {}
    for name, pool in pools.items():
        both = [cross_calibrated(pool, alpha=alpha, prior=prior) for prior in (False, True)]
        helped = any(seen.with_prior for case in pool.cases for seen in case.maps.values())
        if helped and both[0] is not None and both[1] is not None:
            found[name] = {
                which: {share: one[share] for share in ("promised", "decided", "wrong", "removals")}
                for which, one in zip(("without", "with"), both, strict=True)
                if one is not None
            }
    return found


def cross_calibrated(pool: Pool, *, alpha: float, prior: bool | None = None) -> dict[str, Any] | None:
    """What widths fitted on four fifths give on the other fifth, over all five, for all usual maps together.

    The four fifths also say whether a prior helps, unless `prior` does. `uneven`: maps that are not flat. None where
    there are too few cases for five folds.
    """
    number = len(pool.cases)
    if number < 2 * FOLDS:
        return None
    order = np.random.default_rng(0).permutation(number)
    sums: Counter[str] = Counter()
    for fold in range(FOLDS):
        held = np.zeros(number, dtype=np.bool_)
        held[order[fold::FOLDS]] = True
        sums.update(pool.split(~held, held, alpha=alpha, prior=prior))
    return _shares(sums)


def learning_curve(pools: Mapping[str, Pool], *, alpha: float, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """What widths fitted on so many random inputs of a family give on its others, its models together.

    Over the families that leave enough inputs to check even the largest of `sizes` that any of them allows: each point
    is of the same families. `promised`: of draws and maps, those in which some width kept the promise.
    """
    most = {name: len(pool.cases) - CHECKED_ON for name, pool in pools.items()}
    allowed = [size for size in sizes if size <= max(most.values(), default=0)]
    if not allowed:
        return {}
    some = [name for name in pools if most[name] >= allowed[-1]]
    points = {}
    for size in allowed:
        sums: Counter[str] = Counter()
        for number, pool in enumerate(pools[name] for name in some):
            random = np.random.default_rng((size, number))
            for _ in range(DRAWS):
                held = np.ones(len(pool.cases), dtype=np.bool_)
                held[random.choice(len(pool.cases), size=size, replace=False)] = False
                sums.update(pool.split(~held, held, alpha=alpha))
        points[str(size)] = {name: _shares(sums)[name] for name in ("promised", "decided", "wrong", "removals")}
    return {"families": sorted(some), "points": points}


def _shares(sums: Counter[str]) -> dict[str, Any]:
    wrong = Share(count=sums["wrong"], total=sums["maps"])
    return {
        "inputs": sums["inputs"],
        "maps": sums["maps"],
        "uneven": sums["uneven"],
        "unfaithful": sums["unfaithful"],
        "prior_folds": sums["prior"],
        "promised": sums["promised"] / sums["fits"],
        "decided": sums["decided"] / max(1, sums["uneven"]),
        "wrong": wrong.value,
        "wrong_interval_95": list(wrong.interval),
        "wrong_unfaithful": sums["wrong_unfaithful"] / max(1, sums["unfaithful"]),
        "recommended": sums["recommended"] / max(1, sums["inputs"]),
        "recommended_wrong": sums["recommended_wrong"] / max(1, sums["inputs"]),
        "removals": sums["removals"] / max(1, sums["uneven"]),
        "maps_of": {
            kind.value: {what: sums[f"{kind.value} {what}"] for what in COUNTED}
            for kind in MapKind
            if f"{kind.value} right" in sums
        },
    }
