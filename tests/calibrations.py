"""Calibrations to test with, and their files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rollcall.domain.maps import DEFAULT_MAPS, MapKind
from rollcall.verdict.calibration import FORMAT, Calibration, Promise
from rollcall.verdict.policies import STANDARD

CREATED = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64


def calibration(c: float | None = 0.05, **changes: Any) -> Calibration:  # noqa: ANN401 - fields of a calibration
    """One in which the usual maps all have this c."""
    promise = Promise(c=c, wrong_faithful=0.012, wrong_unfaithful=0.034)
    given: dict[str, Any] = {
        "id": "cal",
        "created": CREATED,
        "model_digest": DIGEST,
        "policy_digest": STANDARD.digest,
        "alpha": 0.05,
        "confidence": 0.9,
        "task": "reviews",
        "inputs": 300,
        "shortest": 2,
        "longest": 50,
        "primary_map": MapKind.GRADIENT_ROLLOUT,
        "promises": dict.fromkeys(DEFAULT_MAPS, promise),
    }
    return Calibration(**(given | changes))


def as_file(found: Calibration, dtype: str = "float32") -> dict[str, Any]:
    """The part of its file that the service reads."""
    return {
        "format": FORMAT,
        "id": found.id,
        "created": found.created.isoformat(),
        "model": {"digest": found.model_digest, "dtype": dtype},
        "policy": {"digest": found.policy_digest},
        "data": {
            "task": found.task,
            "inputs": found.inputs,
            "shortest": found.shortest,
            "longest": found.longest,
        },
        "alpha": found.alpha,
        "confidence": found.confidence,
        "primary_map": found.primary_map.value,
        "prior": {"used": found.prior},
        "maps": {
            kind.value: {
                "c": promise.c,
                "held_out": {
                    "wrong_faithful": promise.wrong_faithful,
                    "wrong_unfaithful": promise.wrong_unfaithful,
                },
            }
            for kind, promise in found.promises.items()
        },
    }
