"""What one map of one model is worth over many requests: flags, mean alignment, and an e-process. Pure.

The e-process tests whether the map's weights have anything to do with the effects at all, on whatever is asked. For
each request p_up is the share of random relabellings of the units that do at least as well; if the labels mean nothing
its expectation is at least 1/2, and so E_t = prod(1 + lambda (1 - 2 p_up)) has expectation at most 1 at any time at
which somebody looks. E above 1 / alpha rejects chance at level alpha, however often it is looked at (Ville 1939). That
holds for requests that were not picked for their p-values, each counted once, and for p-values of a look that every
request has: later looks are taken only where an earlier one did not decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log1p

from rollcall.domain.verdicts import Flag

LAMBDA = 0.5
"""The stake, fixed in advance; any from 0 to 1 is valid (betting on a bounded mean, Waudby-Smith and Ramdas 2024)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """One map over requests. `log_e` is the natural logarithm of the e-process; it starts at 0.

    `alignments` requests had an A, whose sum is `alignment_sum`.
    """

    flags: Mapping[Flag, int] = field(default_factory=dict)
    alignments: int = 0
    alignment_sum: float = 0.0
    log_e: float = 0.0

    @property
    def requests(self) -> int:
        """How many distinct requests were pooled."""
        return sum(self.flags.values())

    @property
    def mean_alignment(self) -> float | None:
        """Mean A of those that had one."""
        return self.alignment_sum / self.alignments if self.alignments else None

    def after(self, flag: Flag, alignment: float | None, p_up: float | None) -> Pooled:
        """One more request: its flag, its A and its p-value, None where there is none."""
        return Pooled(
            flags={**self.flags, flag: self.flags.get(flag, 0) + 1},
            alignments=self.alignments + (alignment is not None),
            alignment_sum=self.alignment_sum + (alignment or 0.0),
            log_e=self.log_e + (0.0 if p_up is None else log1p(LAMBDA * (1 - 2 * p_up))),
        )
