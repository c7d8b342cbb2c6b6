"""What a calibration file says: the widths that keep each map's promise, and the promise in words.

A calibration belongs to one set of weights and one policy; for inputs longer than it saw, and for maps that it did not
see, the policy's default widths hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rollcall.domain.maps import EMBEDDING_GRADIENT_MAPS, MapKind
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import CalibrationRef

FORMAT: Final = 2
"""Of calibration files."""
SUFFIX: Final = ".calibration.json"
"""A model's calibration lies beside its directory, under its name with this."""


def calibration_path(model: Path) -> Path:
    """Where the calibration of a model's directory lies: beside it, since all JSON in it is part of its digest."""
    resolved = model.resolve()
    return resolved.with_name(resolved.name + SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What holds for one kind of map: the c of its widths, None where no width kept the promise (FAILED).

    `wrong_faithful` and `wrong_unfaithful` are the shares of such flags that were wrong on held-out inputs.
    """

    c: float | None
    wrong_faithful: float | None = None
    wrong_unfaithful: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One calibration. `task` says what its inputs were; lengths are in units.

    `prior`: whether the half-way gradient helps to estimate the effects of this model's inputs.
    """

    id: str
    created: datetime
    model_digest: str
    policy_digest: str
    alpha: float
    confidence: float
    task: str
    inputs: int
    shortest: int
    longest: int
    primary_map: MapKind
    promises: Mapping[MapKind, Promise]
    prior: bool = False

    def reference(self, n: int | None = None, kind: MapKind | None = None) -> CalibrationRef:
        """How a map over `n` units names this calibration; without `n` and `kind`, how the model's card does."""
        promise = self.promises.get(kind or self.primary_map)
        if promise is None:
            return UNCALIBRATED_MAP
        if promise.c is None:
            statement = f"No width kept the promise on {self.inputs} inputs ({self.task}): default widths."
            return CalibrationRef(id="FAILED", statement=statement, created=self.created)
        if n is not None and n > self.longest:
            statement = f"Longer than the calibrated {self.longest} units: default widths."
            return CalibrationRef(id="OUT_OF_RANGE", statement=statement, created=self.created)
        return CalibrationRef(
            id=self.id,
            alpha=self.alpha,
            confidence=self.confidence,
            statement=self.statement(kind or self.primary_map),
            created=self.created,
        )

    def covers(self, n: int, kind: MapKind) -> bool:
        """Whether calibrated widths hold for this kind of map over `n` units."""
        promise = self.promises.get(kind)
        return promise is not None and promise.c is not None and n <= self.longest

    def wants_prior(self, n: int) -> bool:
        """Whether a gradient is to be made for an input of `n` units."""
        return self.prior and n <= self.longest

    def uses_prior(self, n: int, kind: MapKind) -> bool:
        """Whether a gradient may help to judge this kind of map over `n` units: never one that is made of gradients."""
        return self.prior and self.covers(n, kind) and kind not in EMBEDDING_GRADIENT_MAPS

    def statement(self, kind: MapKind) -> str:
        """The promise for one kind of map in words (DESIGN section 2)."""
        promise = self.promises[kind]
        shares = [
            f"{share:.1%} of {flag} flags"
            for flag, share in (("FAITHFUL", promise.wrong_faithful), ("UNFAITHFUL", promise.wrong_unfaithful))
            if share is not None
        ]
        measured = f"; on held-out data {' and '.join(shares)} were wrong" if shares else ""
        return (
            f"For inputs like the calibration set ({self.task}), lengths {self.shortest} to {self.longest} units, with "
            f"{self.confidence:.0%} confidence at most {self.alpha:.0%} of answers carry a flag of this map that "
            f"contradicts this model's own effects (two removal operators, additive effects){measured}."
        )


class CalibrationError(ValueError):
    """A calibration file cannot be used; the message says why."""


def parse_calibration(
    raw: Mapping[str, Any], *, model_digest: str, policy: Policy, dtype: str = "float32"
) -> Calibration:
    """Read a calibration's JSON for these weights in this precision and this policy; raises CalibrationError."""
    if not isinstance(raw, Mapping) or raw.get("format") != FORMAT:
        message = f"not a calibration of format {FORMAT}; make one with: rollcall calibrate"
        raise CalibrationError(message)
    try:
        calibration = Calibration(
            id=str(raw["id"]),
            created=datetime.fromisoformat(raw["created"]),
            model_digest=str(raw["model"]["digest"]),
            policy_digest=str(raw["policy"]["digest"]),
            alpha=float(raw["alpha"]),
            confidence=float(raw["confidence"]),
            task=str(raw["data"]["task"]),
            inputs=int(raw["data"]["inputs"]),
            shortest=int(raw["data"]["shortest"]),
            longest=int(raw["data"]["longest"]),
            primary_map=MapKind(raw["primary_map"]),
            promises={MapKind(name): _promise(found) for name, found in raw["maps"].items()},
            prior=_boolean(raw["prior"]["used"]),
        )
        dtype_then = str(raw["model"]["dtype"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"not a calibration: {type(error).__name__} {error}"
        raise CalibrationError(message) from error
    if calibration.created.tzinfo is None:
        message = f"created {raw['created']} names no time zone"
        raise CalibrationError(message)
    if calibration.primary_map not in calibration.promises:
        message = f"its primary map {calibration.primary_map.value} is none of its maps"
        raise CalibrationError(message)
    if calibration.model_digest != model_digest:
        message = f"made for other weights, {calibration.model_digest[:19]}...; these are {model_digest[:19]}..."
        raise CalibrationError(message)
    if dtype_then != dtype:
        message = f"made in {dtype_then}; the model is served in {dtype}"
        raise CalibrationError(message)
    if calibration.policy_digest != policy.digest:
        message = f"made under another policy than {policy.id} with the digest {policy.digest[:19]}..."
        raise CalibrationError(message)
    return calibration


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        message = f"{value!r} is neither true nor false"
        raise TypeError(message)
    return value


def _promise(raw: Mapping[str, Any]) -> Promise:
    c = None if raw["c"] is None else float(raw["c"])
    if c is not None and not 0 <= c < math.inf:
        message = f"c of {c} is no width"
        raise ValueError(message)
    shares = {name: raw["held_out"][name] for name in ("wrong_faithful", "wrong_unfaithful")}
    return Promise(c=c, **{name: None if share is None else float(share) for name, share in shares.items()})


UNCALIBRATED = CalibrationRef(
    id="NONE", statement="No calibration: the policy's default widths, with no promise for this model."
)

UNCALIBRATED_MAP = CalibrationRef(
    id="NONE", statement="The calibration did not see maps of this kind: the policy's default widths, with no promise."
)


def width_after(
    removals: int, n: int, kind: MapKind, policy: Policy, calibration: Calibration | None, *, prior: bool = False
) -> float:
    """Width of A after so many removals of `n` units for this kind of map; infinite where they are too few for any."""
    look = policy.width_index(removals, n, prior=prior)
    if look < 0:
        return math.inf
    if calibration is None or not calibration.covers(n, kind):
        return policy.widths[look]
    c = calibration.promises[kind].c
    assert c is not None
    return c * (policy.prior_path if prior else policy.path)[look]
