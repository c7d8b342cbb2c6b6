"""Cases: what was measured on one input, as a line of a journal.

All that a study, a calibration or an auditor needs to decide again, under other widths or other rules; no text and no
token ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rollcall.checks.base import OPERATORS
from rollcall.domain.maps import Bools, Floats
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator
from rollcall.domain.verdicts import CheckKind, CheckOutcome, Flag, Reason
from rollcall.pipeline.checking import CheckedMap
from rollcall.studies.laboratory import Measured
from rollcall.verdict.assess import Assessment
from rollcall.verdict.decide import MapEvidence, Ruling
from rollcall.verdict.scan import Recorded, Step
from rollcall.verdict.truth import Truth, judge_truth

DIGITS = 6
"""Decimals kept of weights, margins and effects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAt:
    """One map after one look. `per_operator`: A refitted on each operator's rows, where there is one."""

    evidence: MapEvidence
    removals: int
    p_up: float | None
    p_low: float | None
    per_operator: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCase:
    """One text of a pair for itself: the flag that the service gave of the map there, and the truth, if asked for."""

    served: Ruling
    truth: Truth | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCase:
    """One map: weights [n], what each look said, the truth, and the flag that the service gave with its widths.

    `with_prior`: the same with the half-way gradient as a prior, empty where it may not judge this map. `served` is
    None for a map that the service does not offer, `truth` where it was not asked for. `outcomes`: of its checks,
    witnesses included.
    """

    weights: tuple[float, ...]
    jsd_from_uniform: float | None
    looks: tuple[LookAt, ...]
    with_prior: tuple[LookAt, ...]
    truth: Truth | None
    served: Ruling | None
    served_removals: int
    outcomes: Mapping[CheckKind, CheckOutcome]
    sides: tuple[SideCase, ...] = ()
    """Of a pair's two texts, where the service offers the map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One input.

    `removed` are the removals of all looks as strings of 0 and 1, `operators` their index; `same` whether each rewired
    row kept the answer; `prior` the half-way gradient. `served_rows` and `seconds` are what the service's answer took.
    """

    number: int
    units: int
    tokens: int
    predicted: int
    margin: float
    reached: bool
    removed: tuple[str, ...]
    operators: tuple[int, ...]
    margins: tuple[float, ...]
    same: tuple[bool, ...]
    prior: tuple[float, ...]
    true_effects: tuple[float, ...]
    truth_rows: int
    recommended: str | None
    served_rows: int
    seconds: float
    maps: Mapping[str, MapCase]

    def recorded(self, policy: Policy, *, prior: bool) -> Recorded:
        """What a replay under other widths needs, with or without the prior; raises ValueError without truth.

        A map that the prior may not judge is judged without it in either case.
        """
        truths = {name: found.truth for name, found in self.maps.items() if found.truth is not None}
        if len(truths) < len(self.maps):
            message = f"case {self.number} was measured without truth"
            raise ValueError(message)
        helped = frozenset(name for name, found in self.maps.items() if prior and found.with_prior)

        def steps(name: str) -> tuple[Step, ...]:
            found, is_helped = self.maps[name], name in helped
            return tuple(
                Step(
                    evidence=look.evidence,
                    removals=look.removals,
                    width_index=policy.width_index(look.removals, self.units, prior=is_helped),
                )
                for look in (found.with_prior if is_helped else found.looks)
            )

        return Recorded(steps={name: steps(name) for name in self.maps}, truths=truths, prior=helped)

    def rows(self) -> tuple[Bools, tuple[RemovalOperator, ...], Floats]:
        """The removals [R, n] of all looks, their operators, and the margins [R].

        A case knows of the two usual ways to remove which one it was: they are called as those of texts.
        """
        removed = np.array([[letter == "1" for letter in row] for row in self.removed], dtype=np.bool_)
        return (
            removed.reshape(-1, self.units),
            tuple(OPERATORS[index] for index in self.operators),
            np.array(self.margins),
        )


def case_of(measured: Measured, number: int) -> Case:
    """Reduce one input to its case; `number` says which input of the data it was."""
    served = {found.assessment.map.kind.value: found for found in measured.served.maps}
    subject = measured.subject
    return Case(
        number=number,
        units=subject.n,
        tokens=subject.encoding.length,
        predicted=subject.decision.target,
        margin=round(subject.margin, DIGITS),
        reached=measured.reached,
        removed=tuple("".join("01"[int(one)] for one in row) for row in measured.removed),
        operators=tuple(subject.operators.index(operator) for operator in measured.operators),
        margins=_rounded(measured.margins),
        same=tuple(bool(one) for one in measured.same),
        prior=() if measured.prior is None else _rounded(measured.prior),
        true_effects=() if measured.effects is None else _rounded(measured.effects.effects),
        truth_rows=measured.truth_rows,
        recommended=measured.served.recommended.value if measured.served.recommended else None,
        served_rows=measured.rows,
        seconds=round(measured.seconds, 4),
        maps={name: _map_case(measured, name, served.get(name)) for name in measured.maps},
    )


def _map_case(measured: Measured, name: str, served: CheckedMap | None) -> MapCase:
    trail = measured.trails[name]
    checks = served.checks if served else trail[-1].checks
    alignment = served.assessment.alignment if served else None
    return MapCase(
        weights=_rounded(measured.maps[name]),
        jsd_from_uniform=_finite(trail[0].jsd_from_uniform),
        looks=tuple(_look(assessment) for assessment in trail),
        with_prior=tuple(_look(assessment) for assessment in measured.with_prior.get(name, ())),
        truth=measured.truths.get(name),
        served=served.ruling if served else None,
        served_removals=alignment.removals if alignment else 0,
        outcomes={check.kind: check.outcome for check in checks},
        sides=_sides(measured, served) if served else (),
    )


def _sides(measured: Measured, served: CheckedMap) -> tuple[SideCase, ...]:
    """What the service said of each text of a pair, and what is true there."""
    subject, scores = measured.subject, served.assessment.map.scores
    segments = np.array([unit.segment for unit in subject.encoding.units])

    def truth(segment: int) -> Truth | None:
        side = segments == segment
        if measured.effects is None or not measured.truths:
            return None
        weights = scores[side] / (scores[side].sum() or 1.0)
        return judge_truth({segment: weights}, measured.effects.among(side), subject.policy)[segment]

    return tuple(
        SideCase(served=Ruling(flag=one.flag, reason=one.reason), truth=truth(one.segment))
        for one in served.assessment.sides
    )


def _look(assessment: Assessment) -> LookAt:
    alignment = assessment.alignment
    return LookAt(
        evidence=assessment.evidence,
        removals=alignment.removals if alignment else 0,
        p_up=alignment.p_up if alignment else None,
        p_low=alignment.p_low if alignment else None,
        per_operator=tuple(one.value for one in alignment.per_operator) if alignment else (),
    )


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(np.round(values, DIGITS).tolist())


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# --- as JSON ---------------------------------------------------------------------------------------------------------


def to_json(case: Case) -> dict[str, Any]:
    """A case as JSON values."""
    return _plain(asdict(case))  # type: ignore[no-any-return] # a dictionary stays one


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {getattr(key, "value", key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)


def from_json(raw: Mapping[str, Any]) -> Case:
    """Read a case back; raises KeyError, TypeError or ValueError if it is none."""
    plain = dict(raw)
    plain["maps"] = {name: _map_from(found) for name, found in raw["maps"].items()}
    for name in ("removed", "operators", "margins", "same", "prior", "true_effects"):
        plain[name] = tuple(raw[name])
    return Case(**plain)


def _map_from(raw: Mapping[str, Any]) -> MapCase:
    served = raw["served"]
    return MapCase(
        **{
            **raw,
            "weights": tuple(raw["weights"]),
            "looks": tuple(_look_from(look) for look in raw["looks"]),
            "with_prior": tuple(_look_from(look) for look in raw["with_prior"]),
            "truth": raw["truth"] and Truth(**raw["truth"]),
            "served": served and _ruling_from(served),
            "sides": tuple(
                SideCase(served=_ruling_from(side["served"]), truth=side["truth"] and Truth(**side["truth"]))
                for side in raw.get("sides", ())
            ),
            "outcomes": {CheckKind(kind): CheckOutcome(found) for kind, found in raw["outcomes"].items()},
        }
    )


def _ruling_from(raw: Mapping[str, str]) -> Ruling:
    return Ruling(flag=Flag(raw["flag"]), reason=Reason(raw["reason"]))


def _look_from(raw: Mapping[str, Any]) -> LookAt:
    evidence = dict(raw["evidence"])
    evidence |= {name: CheckOutcome(evidence[name]) for name in ("instrument", "reach", "rewiring")}
    return LookAt(**{**raw, "evidence": MapEvidence(**evidence), "per_operator": tuple(raw["per_operator"])})
