"""What a calibration file says: the widths that keep the promise, and the promise in words.

A calibration belongs to one set of weights and one policy; for inputs longer than it saw the policy's default widths
hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollcall.domain.maps import MapKind
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import CalibrationRef

PATH = (4.0, 2.0, 1.0)
"""Widths after each look are c times these (DESIGN section 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One calibration: `c` is None where no width kept the promise (FAILED). Lengths are in units."""

    id: str
    model_digest: str
    policy_digest: str
    c: float | None
    alpha: float
    confidence: float
    inputs: int
    shortest: int
    longest: int
    primary_map: MapKind | None
    statement: str

    def reference(self, n: int | None = None) -> CalibrationRef:
        """How an answer about `n` units names this calibration; without `n`, how the model's card does."""
        if self.c is None:
            return CalibrationRef(id="FAILED", statement=self.statement)
        if n is not None and n > self.longest:
            return CalibrationRef(
                id="OUT_OF_RANGE", statement=f"Longer than the calibrated {self.longest} units: default widths."
            )
        return CalibrationRef(id=self.id, alpha=self.alpha, confidence=self.confidence, statement=self.statement)

    def covers(self, n: int) -> bool:
        """Whether the calibrated widths hold for `n` units."""
        return self.c is not None and n <= self.longest


UNCALIBRATED = CalibrationRef(
    id="NONE", statement="No calibration: the policy's default widths, with no promise for this model."
)


def width_after(look: int, n: int, policy: Policy, calibration: Calibration | None) -> float:
    """Width of A after look number `look` (from 0) for `n` units."""
    if calibration is not None and calibration.c is not None and calibration.covers(n):
        return calibration.c * PATH[look]
    return policy.widths[look]
