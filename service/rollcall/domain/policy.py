"""The verdict policy: every threshold that turns measurements into flags, as one versioned value with a digest."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Thresholds of DESIGN section 2. Two policies with the same numbers have the same digest, whatever their names."""

    name: str
    version: int

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

    @property
    def id(self) -> str:
        """Name and version, e.g. "standard@1"."""
        return f"{self.name}@{self.version}"

    def thresholds(self) -> dict[str, float]:
        """Every number by name; tuples are spread as name.0, name.1, ..."""
        return dict(_numbers(self))

    @property
    def digest(self) -> str:
        """SHA-256 over the thresholds, "sha256:" and 64 hexadecimal digits."""
        return _digest(self)


@lru_cache(maxsize=16)
def _numbers(policy: Policy) -> tuple[tuple[str, float], ...]:
    numbers: dict[str, float] = {}
    for name, value in asdict(policy).items():
        if isinstance(value, tuple):
            numbers |= {f"{name}.{i}": float(v) for i, v in enumerate(value)}
        elif not isinstance(value, str):
            numbers[name] = float(value)
    del numbers["version"]
    return tuple(numbers.items())


@lru_cache(maxsize=16)
def _digest(policy: Policy) -> str:
    canonical = json.dumps(dict(_numbers(policy)), sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
