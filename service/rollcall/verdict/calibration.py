"""What a calibration file says: the widths that keep the promise, and the promise in words.

A calibration belongs to one set of weights and one policy; for inputs longer than it saw, and for maps that come only
where they are asked for, the policy's default widths hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollcall.domain.maps import DEFAULT_MAPS, MapKind
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

    def reference(self, n: int | None = None, kind: MapKind | None = None) -> CalibrationRef:
        """How a map over `n` units names this calibration; without `n` and `kind`, how the model's card does."""
        if self.c is None:
            return CalibrationRef(id="FAILED", statement=self.statement)
        if kind is not None and kind not in DEFAULT_MAPS:
            return UNCALIBRATED_MAP
        if n is not None and n > self.longest:
            return CalibrationRef(
                id="OUT_OF_RANGE", statement=f"Longer than the calibrated {self.longest} units: default widths."
            )
        return CalibrationRef(id=self.id, alpha=self.alpha, confidence=self.confidence, statement=self.statement)

    def covers(self, n: int, kind: MapKind) -> bool:
        """Whether the calibrated widths hold for this kind of map over `n` units."""
        return self.c is not None and n <= self.longest and kind in DEFAULT_MAPS


class CalibrationError(ValueError):
    """A calibration file cannot be used; the message says why."""


def parse_calibration(
    raw: Mapping[str, Any], *, model_digest: str, policy: Policy, dtype: str = "float32"
) -> Calibration:
    """Read a calibration's JSON for these weights in this precision and this policy; raises CalibrationError."""
    try:
        primary = raw["primary_map"]
        calibration = Calibration(
            id=str(raw["id"]),
            model_digest=str(raw["model_digest"]),
            policy_digest=str(raw["policy_digest"]),
            c=None if raw["c"] is None else float(raw["c"]),
            alpha=float(raw["alpha"]),
            confidence=float(raw["confidence"]),
            inputs=int(raw["inputs"]),
            shortest=int(raw["shortest"]),
            longest=int(raw["longest"]),
            primary_map=None if primary is None else MapKind(primary),
            statement=str(raw["statement"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"not a calibration: {type(error).__name__} {error}"
        raise CalibrationError(message) from error
    if calibration.c is not None and not 0 <= calibration.c < math.inf:
        message = f"its c of {calibration.c} is no width"
        raise CalibrationError(message)
    if calibration.model_digest != model_digest:
        message = f"made for other weights, {calibration.model_digest[:19]}...; these are {model_digest[:19]}..."
        raise CalibrationError(message)
    if raw.get("dtype", "float32") != dtype:
        message = f"made in {raw.get('dtype', 'float32')}; the model is served in {dtype}"
        raise CalibrationError(message)
    if calibration.policy_digest != policy.digest:
        message = f"made under another policy than {policy.id} with the digest {policy.digest[:19]}..."
        raise CalibrationError(message)
    return calibration


UNCALIBRATED = CalibrationRef(
    id="NONE", statement="No calibration: the policy's default widths, with no promise for this model."
)

UNCALIBRATED_MAP = CalibrationRef(
    id="NONE", statement="The calibration did not see maps of this kind: the policy's default widths, with no promise."
)


def width_after(look: int, n: int, kind: MapKind, policy: Policy, calibration: Calibration | None) -> float:
    """Width of A after look number `look` (from 0) for this kind of map over `n` units."""
    if calibration is not None and calibration.c is not None and calibration.covers(n, kind):
        return calibration.c * PATH[look]
    return policy.widths[look]
