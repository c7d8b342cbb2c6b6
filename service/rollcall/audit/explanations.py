"""What the envelope of a record says of an explanation: its maps with their verdicts, checks and witnesses. Pure.

Vectors are parts (`parts`); here are positions, and the scores of a few of the most important ones.
"""

from __future__ import annotations

from typing import Any

from rollcall.audit.canonical import decimal
from rollcall.domain.explanation import Attribution, Explanation
from rollcall.domain.maps import AttentionTensor, Floats
from rollcall.domain.verdicts import Alignment, CalibrationRef, Verdict, Witness

TOP = 5
"""Positions of a map, and of the effects, that the envelope names."""


def explanation(answer: Explanation) -> dict[str, Any]:
    """Say what maps, effects and flips were found, with every number behind the flags."""
    flip = answer.decision_flip
    effects = sorted(answer.effects, key=lambda effect: -abs(effect.effect))[:TOP]
    return {
        "maps": [_attribution(attribution) for attribution in answer.attributions],
        "recommended_map": answer.recommended_map.value if answer.recommended_map else None,
        "missing_maps": [{"map": missing.kind.value, "reason": missing.reason} for missing in answer.missing_maps],
        "top_effects": [
            {"unit": e.unit, "effect": decimal(e.effect), "standard_error": decimal(e.standard_error)} for e in effects
        ],
        "decision_flip": None
        if flip is None
        else {
            "found": flip.found,
            "units": list(flip.units),
            "margins": [decimal(margin) for margin in flip.margins],
            "sets_tried": flip.sets_tried,
        },
        "attention": _attention(answer.attention),
        "seed": str(answer.seed),
    }


def _attribution(attribution: Attribution) -> dict[str, Any]:
    found = attribution.map
    return {
        "map": found.kind.value,
        "class_specific": found.kind.class_specific,
        "dropped_mass": decimal(found.dropped_mass),
        "note": found.note or None,
        "top": _top(found.scores),
        "verdict": _verdict(attribution.verdict),
    }


def _top(scores: Floats) -> list[dict[str, Any]]:
    """Positions and weights of the heaviest units; none where a weight is no number."""
    if any(score != score for score in scores):  # noqa: PLR0124 - NaN alone differs from itself
        return []
    heaviest = sorted(range(len(scores)), key=lambda unit: (-scores[unit], unit))[:TOP]
    return [{"unit": unit, "score": decimal(float(scores[unit]))} for unit in heaviest]


def _verdict(verdict: Verdict) -> dict[str, Any]:
    sides = [
        {
            "segment": side.segment,
            "flag": side.flag.value,
            "reason": side.reason.value,
            "share": decimal(side.share),
            "alignment": decimal(side.alignment),
            "reliability": decimal(side.reliability),
        }
        for side in verdict.sides
    ]
    return {
        **({"sides": sides} if sides else {}),
        "flag": verdict.flag.value,
        "reason": verdict.reason.value,
        "scope": verdict.scope.value,
        "alignment": None if verdict.alignment is None else _alignment(verdict.alignment),
        "calibration": calibration(verdict.calibration),
        "jsd_from_uniform": decimal(verdict.jsd_from_uniform),
        "checks": [
            {
                "check": check.kind.value,
                "outcome": check.outcome.value,
                "statistic": check.statistic,
                "value": decimal(check.value),
                "threshold": decimal(check.threshold),
                "p_value": decimal(check.p_value),
                "rows": check.rows,
                "seed": str(check.seed),
                "detail": check.detail or None,
            }
            for check in verdict.checks
        ],
        "witnesses": [_witness(witness) for witness in verdict.witnesses],
    }


def _alignment(alignment: Alignment) -> dict[str, Any]:
    return {
        "value": decimal(alignment.value),
        "width": decimal(alignment.width),
        "reliability": decimal(alignment.reliability),
        "removals": alignment.removals,
        "p_up": decimal(alignment.p_up),
        "p_low": decimal(alignment.p_low),
        "per_operator": [
            {"operator": part.operator.value, "value": decimal(part.value), "rows": part.rows}
            for part in alignment.per_operator
        ],
        "ridge_lambda": decimal(alignment.ridge_lambda),
        "prior": alignment.prior,
    }


def _witness(witness: Witness) -> dict[str, Any]:
    """A witness without its map, which is a vector and so a part."""
    return {
        "check": witness.kind.value,
        "detail": witness.detail or None,
        "jsd": decimal(witness.jsd),
        "tvd": decimal(witness.tvd),
        "removed_units": list(witness.removed_units),
        "control_units": list(witness.control_units),
        "heads": [list(head) for head in witness.heads],
    }


def calibration(used: CalibrationRef) -> dict[str, Any]:
    """Say what a calibration promises."""
    return {
        "id": used.id,
        "created": used.created.isoformat() if used.created else None,
        "alpha": decimal(used.alpha),
        "confidence": decimal(used.confidence),
        "statement": used.statement or None,
    }


def _attention(attention: AttentionTensor | None) -> dict[str, Any] | None:
    if attention is None:
        return None
    return {
        "layers": list(attention.layers),
        "heads": list(attention.heads),
        "readout": attention.readout,
        "type": attention.tensor_type.value,
        "shape": list(attention.shape),
    }
