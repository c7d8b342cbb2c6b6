"""Policies: every threshold that turns measurements into flags, and those of the thorough checks, which never do.

Each is one versioned value with a digest.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Numbers under a name and a version. Those that are the same have the same digest, whatever their name."""

    name: str
    version: int

    @property
    def id(self) -> str:
        """Name and version, e.g. "standard@1"."""
        return f"{self.name}@{self.version}"

    def thresholds(self) -> dict[str, float]:
        """Every number by name; tuples are spread as name.0, name.1, ..."""
        return dict(_numbers(self))

    @property
    def digest(self) -> str:
        """SHA-256 over the numbers, "sha256:" and 64 hexadecimal digits."""
        return _digest(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(Numbers):
    """Thresholds of DESIGN section 2. Two policies with the same numbers have the same digest, whatever their names."""

    alignment_threshold: float = 0.5
    """A0: a map is right where its alignment is at least this."""
    minimum_reliability: float = 0.7
    """rho_min: below it no map is called UNFAITHFUL."""
    widths: tuple[float, ...] = (0.4, 0.2, 0.1)
    """Half-width of A after each look, where no calibration says otherwise."""
    looks: tuple[int, ...] = (16, 16, 16)
    """Removals of each look."""
    path: tuple[float, ...] = (4.0, 2.0, 1.0)
    """Calibrated widths after each look are c times these."""
    prior_looks: tuple[int, ...] = (8, 8, 16, 16)
    """Removals of each look where the calibration found that a gradient helps as a prior."""
    prior_path: tuple[float, ...] = (4.0, 3.0, 2.0, 1.0)
    """Calibrated widths after each of these looks are c times these."""
    exhaustive_units: int = 4
    """Up to this many units every non-empty proper subset is removed, under both operators, in one look."""
    half_size_units: int = 6
    """Up to this many units every half-size subset is removed, under both operators, in one look."""
    flat_map_jsd: float = 0.01
    """Maps closer to uniform (nats) say nothing."""
    negligible_share: float = 0.5
    """A unit is negligible to a map where its weight is below this share of 1/n."""
    omission_errors: float = 1.0
    """A unit's effect may be the largest where it is within so many standard errors of the one that is estimated so."""

    reach_margin_share: float = 0.10
    """No reach where removing all moves the margin by less than this share of its size under both operators ..."""
    reach_spread_share: float = 0.05
    """... and the removals' margins have a standard deviation below this share of it."""

    control_factor: float = 10.0
    """Uniform attention must move the read-out state by more than this many numerical floors."""
    identity_factor: float = 4.0
    """Identity replay may move it by at most this many."""
    minimum_floor: float = 1e-5
    """Least numerical floor, relative to the largest entry of the read-out state; float32."""

    rewiring_draws: tuple[int, ...] = (8, 4, 0)
    """Permuted rows at each look."""
    rewiring_jsd: float = 0.1
    """A draw counts for a map that it moves at least this far (nats)."""
    rewiring_minimum: int = 5
    """Fewer counting draws: SKIPPED."""
    rewiring_probability: float = 0.5
    """pi0: certified where the lower bound of "same answer" exceeds it."""
    rewiring_confidence: float = 0.975
    """One-sided confidence of that bound."""
    same_tvd: float = 0.05
    """Two predictions are the same where they do not flip, differ by at most this in total variation ..."""
    same_margin_share: float = 0.10
    """... and by at most this share of the margin."""

    permutations: int = 999
    """Random relabellings behind p_up and p_low."""
    omission_units: int = 3
    """Most units that the omission witness removes."""
    support_mass: float = 0.5
    """The support set is the smallest top set with this mass ..."""
    support_share: float = 1 / 3
    """... of at most this share of the units."""
    support_tvd: float = 0.25
    """Keeping the support set must leave the prediction this close."""
    contradiction_shares: tuple[float, ...] = (0.1, 0.3)
    """Shares of the units that the contradiction witness removes from top and bottom."""
    flip_rows: int = 8
    """Most rows spent on the decision flip."""
    max_rows: int = 122
    """Most rows of one explanation: 66 shared, 24 for the witnesses of each of two maps, 8 for the decision flip."""
    require_calibration: bool = False
    """Whether an uncalibrated model's flags stay INCONCLUSIVE."""

    def is_right(self, alignment: float, width: float) -> bool:
        """Whether A is above the threshold by its width."""
        return alignment - width >= self.alignment_threshold

    def is_wrong(self, alignment: float, width: float, reliability: float) -> bool:
        """Whether A is below the threshold by its width; noise shrinks A by about rho, so the threshold does."""
        known = reliability >= self.minimum_reliability
        return known and alignment + width < self.alignment_threshold * reliability

    def removals(self, *, prior: bool) -> tuple[int, ...]:
        """Removals of each look, with or without a prior."""
        return self.prior_looks if prior else self.looks

    def width_index(self, removals: int, n: int, *, prior: bool) -> int:
        """Which width holds after so many removals of `n` units; -1 where they are too few for any.

        Short texts have one look, after which the last width holds.
        """
        looks = self.removals(prior=prior)
        if n <= self.half_size_units:
            return len(looks) - 1 if removals else -1
        return bisect_right(list(accumulate(looks)), removals) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoroughPolicy(Numbers):
    """Sizes and levels of the thorough checks, whose numbers and witnesses are shown and never decide a flag."""

    alpha: float = 0.05
    """Level of each test, by itself: nothing is corrected for their number, since none decides."""
    permutations: int = 999
    """Random relabellings behind a p-value."""

    masks_per_unit: int = 8
    """Removals per unit, each unit with probability 1/2, the two usual operators in turn; half as many by deletion."""
    mask_rows: int = 1_024
    """Most rows of these removals; where all subsets take no more, under every operator, they are run instead."""

    scope_draws: int = 59
    """Rewired rows at each scope: 59 without a change put the probability of none above 0.95."""

    knock_out_draws: int = 100
    """Most random sets that one knock-out is held against."""
    knock_out_step: int = 10
    """Random sets between two looks at the wealth."""
    knock_out_losses: int = 10
    """Random sets that do as much, after which a knock-out is given up (Besag and Clifford 1991)."""
    betting_share: float = 0.9
    """c / alpha of the binomial mixture bet (Fischer and Ramdas 2024)."""

    eraser_shares: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5)
    """Shares of the units that are erased (DeYoung et al. 2020, section 5)."""

    adversary_tvd: float = 0.01
    """Total variation distance within which an adversary's prediction is the same."""
    adversary_restarts: int = 4
    """Biases that are searched at once ..."""
    adversary_steps: int = 20
    """... in so many steps ..."""
    adversary_step_size: float = 0.5
    """... of about so much attention logit each (Adam, Kingma and Ba 2015)."""

    head_rows: int = 512
    """Most heads that are silenced, one row each."""


@lru_cache(maxsize=16)
def _numbers(policy: Numbers) -> tuple[tuple[str, float], ...]:
    numbers: dict[str, float] = {}
    for name, value in asdict(policy).items():
        if isinstance(value, tuple):
            numbers |= {f"{name}.{i}": float(v) for i, v in enumerate(value)}
        elif not isinstance(value, str):
            numbers[name] = float(value)
    del numbers["version"]
    return tuple(numbers.items())


@lru_cache(maxsize=16)
def _digest(policy: Numbers) -> str:
    canonical = json.dumps(dict(_numbers(policy)), sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
