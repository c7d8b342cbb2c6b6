"""Join every map with its verdict. No map leaves the service without one."""

from __future__ import annotations

from math import isfinite

from rollcall.checks.base import Subject
from rollcall.domain.explanation import Attribution
from rollcall.domain.maps import UnitMap
from rollcall.domain.verdicts import CalibrationRef, Flag, Reason, Verdict
from rollcall.pipeline.checking import Checked, CheckedMap
from rollcall.verdict.calibration import UNCALIBRATED, Calibration


def attribute(
    maps: tuple[UnitMap, ...], checked: Checked | None, subject: Subject, calibration: Calibration | None
) -> tuple[Attribution, ...]:
    """Attributions in the order of `maps`; without checks every flag is NOT_CHECKED."""

    def reference(unit_map: UnitMap) -> CalibrationRef:
        return calibration.reference(subject.n, unit_map.kind) if calibration else UNCALIBRATED

    if checked is None:
        return tuple(Attribution(map=each, verdict=_not_checked(subject, reference(each))) for each in maps)
    judged = ((found, found.assessment.map) for found in checked.maps)
    return tuple(Attribution(map=each, verdict=_verdict(found, subject, reference(each))) for found, each in judged)


def _verdict(found: CheckedMap, subject: Subject, reference: CalibrationRef) -> Verdict:
    distance = found.assessment.jsd_from_uniform
    return Verdict(
        flag=found.ruling.flag,
        reason=found.ruling.reason,
        scope=subject.scope,
        alignment=found.assessment.alignment,
        calibration=reference,
        checks=found.checks,
        witnesses=found.witnesses,
        policy_id=subject.policy.id,
        policy_digest=subject.policy.digest,
        thresholds=subject.policy.thresholds(),
        jsd_from_uniform=distance if isfinite(distance) else None,
        sides=found.assessment.sides,
    )


def _not_checked(subject: Subject, reference: CalibrationRef) -> Verdict:
    return Verdict(
        flag=Flag.NOT_CHECKED,
        reason=Reason.NONE,
        scope=subject.scope,
        alignment=None,
        calibration=reference,
        checks=(),
        witnesses=(),
        policy_id=subject.policy.id,
        policy_digest=subject.policy.digest,
        thresholds=subject.policy.thresholds(),
    )
