"""Pieces of a record's envelope to Python values: pure functions. KeyError, TypeError where they are none."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rollcall_client import enums, types

Json = dict[str, Any]


def verdict(found: Json, policy: Json) -> types.Verdict:
    """A map's verdict, with every number behind it."""
    return types.Verdict(
        flag=enums.Flag[found["flag"].upper()],
        reason=enums.Reason.UNSPECIFIED if found["reason"] == "none" else enums.Reason[found["reason"].upper()],
        scope=enums.Scope[found["scope"].upper()],
        alignment=_alignment(found["alignment"]) if found["alignment"] else None,
        calibration=_calibration(found["calibration"]),
        checks=tuple(_check(each) for each in found["checks"]),
        witnesses=tuple(_witness(each) for each in found["witnesses"]),
        policy_id=policy["id"],
        policy_digest=policy["digest"],
        thresholds={name: float(value) for name, value in sorted(policy["numbers"].items())},
        jsd_from_uniform=number(found["jsd_from_uniform"]),
    )


def _alignment(found: Json) -> types.Alignment:
    return types.Alignment(
        value=float(found["value"]),
        width=float(found["width"]),
        reliability=float(found["reliability"]),
        removals=found["removals"],
        p_up=float(found["p_up"]),
        p_low=float(found["p_low"]),
        per_operator=tuple(
            types.OperatorAlignment(
                operator=enums.RemovalOperator[each["operator"].upper()], value=float(each["value"]), rows=each["rows"]
            )
            for each in found["per_operator"]
        ),
        ridge_lambda=float(found["ridge_lambda"]),
        prior=found["prior"],
    )


def _calibration(found: Json) -> types.CalibrationRef:
    return types.CalibrationRef(
        id=found["id"],
        alpha=number(found["alpha"]),
        confidence=number(found["confidence"]),
        statement=found["statement"] or "",
        created=datetime.fromisoformat(found["created"]) if found["created"] else None,
    )


def _check(found: Json) -> types.CheckResult:
    return types.CheckResult(
        kind=enums.CheckKind[found["check"].upper()],
        outcome=enums.CheckOutcome[found["outcome"].upper()],
        statistic=found["statistic"] or "",
        value=number(found["value"]),
        threshold=number(found["threshold"]),
        p_value=number(found["p_value"]),
        rows=found["rows"],
        seed=int(found["seed"]),
        detail=found["detail"] or "",
    )


def _witness(found: Json) -> types.Witness:
    return types.Witness(
        kind=enums.CheckKind[found["check"].upper()],
        map=(),
        jsd=number(found["jsd"]),
        tvd=number(found["tvd"]),
        removed_units=tuple(found["removed_units"]),
        control_units=tuple(found["control_units"]),
        detail=found["detail"] or "",
        heads=tuple(types.Head(layer=layer, head=head) for layer, head in found["heads"]),
    )


def prediction(found: Json) -> types.Prediction:
    """What was predicted."""
    return types.Prediction(
        labels=tuple(found["labels"]),
        probabilities=tuple(float(value) for value in found["probabilities"]),
        predicted=found["predicted"],
        predicted_index=found["predicted_index"],
        margin=float(found["margin"]),
        target=found["target"],
        threshold_met=found["threshold_met"],
        target_negated=found["target_negated"],
    )


def effect(found: Json) -> types.Effect:
    """An effect."""
    return types.Effect(
        unit=found["unit"], effect=float(found["effect"]), standard_error=float(found["standard_error"])
    )


def flip(found: Json | None) -> types.DecisionFlip | None:
    """The smallest change of the decision, if it was searched for."""
    if found is None:
        return None
    return types.DecisionFlip(
        found=found["found"],
        units=tuple(found["units"]),
        margins=tuple(float(margin) for margin in found["margins"]),
        sets_tried=found["sets_tried"],
    )


def timing(cost: Json) -> types.Timing:
    """Where the time went."""
    return types.Timing(
        stages=tuple(types.StageTiming(stage=name, seconds=float(value)) for name, value in cost["stages"].items()),
        total_seconds=float(cost["total_seconds"]),
    )


def number(found: str | None) -> float | None:
    """A number that was written as decimals; None where there is none."""
    return None if found is None else float(found)


def kind(name: str | None) -> enums.MapKind:
    """A kind of map."""
    return enums.MapKind.UNSPECIFIED if name is None else enums.MapKind[name.upper()]
