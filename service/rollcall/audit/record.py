"""The envelope of a record: everything about an explanation but personal data, as canonical bytes. Pure.

What may quote the input, or tell it (texts, token ids, vectors of scores), is in the parts (`parts`); the envelope has
commitments to them, positions, and the scores of a few of the most important positions. Numbers that are not whole are
decimal strings of nine significant digits, seeds are decimal strings, so that every language reads the same; times are
RFC 3339 in UTC with three decimals. null says that there is none; a list or an object may be empty. Strings are as they
were received, in no normal form. The bytes are RFC 8785, and are stored, never made again from what was read.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import rfc8785

from rollcall.domain.decision import Prediction
from rollcall.domain.explanation import Attribution, ExplainRequest, Explanation
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import AttentionTensor, Floats, MapOptions
from rollcall.domain.model import ModelCard
from rollcall.domain.recording import Durability, RecordMode
from rollcall.domain.verdicts import Alignment, CalibrationRef, CheckLevel, Flag, Verdict, Witness

SCHEMA = "rollcall-record-1"
NOTICE_RULE = "notice@1"
"""A map may be given as a reason only where its flag is FAITHFUL and the caller acted on this very prediction."""
TOP = 5
"""Positions of a map, and of the effects, that the envelope names."""
ID_RANDOM_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An answer that is to be recorded, with what it answers. `shared`: it was worked out for another request."""

    request: ExplainRequest = field(repr=False)
    card: ModelCard
    encoding: Encoding = field(repr=False)
    level: CheckLevel
    explanation: Explanation = field(repr=False)
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Where and when a record is made: the process, its counter of records, the clock (Unix seconds), its software."""

    record_id: str
    created_at: float
    instance: str
    sequence: int
    software: Mapping[str, str]
    mode: RecordMode
    durability: Durability


def new_record_id(at: float, randomness: bytes) -> str:
    """Make an id that sorts by time: a UUID of version 7 (RFC 9562) from Unix seconds and 10 random bytes."""
    bits = int(at * 1000) << 80 | int.from_bytes(randomness, "big")
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))


def timestamp(at: float) -> str:
    """Write Unix seconds as RFC 3339 with three decimals."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def canonical(value: Mapping[str, Any]) -> bytes:
    """Write a value as RFC 8785 does."""
    return rfc8785.dumps(dict(value))


def sha256(data: bytes) -> str:
    """Digest as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def envelope(told: Explained, where: Circumstances, integrity: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of an explanation that is no personal data; `integrity` says what belongs to it."""
    answer = told.explanation
    verdict = answer.primary.verdict
    return {
        "schema": SCHEMA,
        "type": "explanation",
        "record_id": where.record_id,
        "created_at": timestamp(where.created_at),
        "explanation_id": answer.explanation_id,
        "server": {"instance": where.instance, "sequence": where.sequence, "software": dict(where.software)},
        "governance": {"mode": where.mode.value, "durability": where.durability.value},
        "verdict": {
            "map": answer.primary_map.value,
            "flag": verdict.flag.value,
            "reason": verdict.reason.value,
            "scope": verdict.scope.value,
            **_notice(answer),
        },
        "request": _request(told),
        "input": _input(told),
        "model": _model(told.card),
        "prediction": _prediction(answer.prediction),
        "explanation": _explanation(answer),
        "policy": {"id": verdict.policy_id, "digest": verdict.policy_digest, "numbers": _decimals(verdict.thresholds)},
        "thorough_policy": None
        if answer.thorough is None
        else {
            "id": answer.thorough.id,
            "digest": answer.thorough.digest,
            "numbers": _decimals(answer.thorough.thresholds()),
        },
        "cost": {
            "rows": answer.rows,
            "shared": told.shared,
            "total_seconds": _decimal(answer.timing.total_seconds),
            "stages": {name: _decimal(seconds) for name, seconds in answer.timing.stages},
        },
        "integrity": dict(integrity),
    }


def _notice(answer: Explanation) -> dict[str, Any]:
    """Whether the primary map may be given to a person as a reason, by a named rule, and what speaks against it."""
    blocked = [
        *(["flag"] if answer.primary.verdict.flag is not Flag.FAITHFUL else []),
        *(["mismatch"] if answer.reported_mismatch else []),
    ]
    return {"usable_for_notice": not blocked, "rule": NOTICE_RULE, "blocked_by": blocked}


def _request(told: Explained) -> dict[str, Any]:
    request, options = told.request, told.request.map_options
    known = request.reported_label in told.card.labels
    chosen = request.attention
    return {
        "revision": request.revision or None,
        "target": request.target.target,
        "foil": request.target.foil,
        "threshold": None
        if request.threshold is None
        else {"label": request.threshold.label, "probability": _decimal(request.threshold.probability)},
        "maps": [kind.value for kind in request.maps],
        "primary_map": request.primary_map.value if request.primary_map else None,
        "map_options": {name: _plain(value) for name, value in asdict(options).items()}
        if options != MapOptions()
        else None,
        "attention": None if chosen is None else {name: _plain(value) for name, value in asdict(chosen).items()},
        "check_level": told.level.value,
        "policy": request.policy or None,
        "max_rows": request.max_rows,
        "seed": None if request.seed is None else str(request.seed),
        "reported": {
            "label": request.reported_label if known else None,
            "label_is_known": known if request.reported_label is not None else None,
            "score": _decimal(request.reported_score),
            "mismatch": told.explanation.reported_mismatch,
        },
    }


def _input(told: Explained) -> dict[str, Any]:
    answer, given = told.explanation, told.request.input
    pair = isinstance(given, TextInput) and given.text_pair is not None
    return {
        "modality": "text_pair" if pair else "text" if isinstance(given, TextInput) else "tokens",
        "tokens_total": answer.tokens_total,
        "tokens_used": answer.tokens_used,
        "truncated": answer.tokens_used < answer.tokens_total,
        "units": len(answer.units),
        "units_grouped": answer.units_grouped,
    }


def _model(card: ModelCard) -> dict[str, Any]:
    """Which weights, tokenizer and configuration: the digest is over all their files."""
    ref = card.ref
    return {
        "name": ref.name,
        "revision": ref.revision or None,
        "digest": ref.digest,
        "backend": ref.backend,
        "device": ref.device,
        "dtype": ref.dtype,
        "family": card.family,
        "task": card.task.value,
        "layers": card.layers,
        "heads": card.heads,
        "max_tokens": card.max_tokens,
        "max_units": card.max_units,
        "noise": _decimal(card.noise),
        "failed_self_tests": [test.name for test in card.self_tests if not test.passed],
        "calibration": _calibration(card.calibration),
        "threshold": None
        if card.threshold is None
        else {"label": card.threshold.label, "probability": _decimal(card.threshold.probability)},
    }


def _prediction(prediction: Prediction) -> dict[str, Any]:
    labels = list(prediction.labels)
    return {
        "labels": labels,
        "labels_sha256": sha256(rfc8785.dumps(labels)),
        "probabilities": [_decimal(float(value)) for value in prediction.probabilities],
        "predicted": labels[prediction.predicted],
        "predicted_index": prediction.predicted,
        "target": labels[prediction.target],
        "target_index": prediction.target,
        "target_negated": prediction.target_negated,
        "threshold_met": prediction.threshold_met,
        "margin": _decimal(prediction.margin),
    }


def _explanation(answer: Explanation) -> dict[str, Any]:
    flip = answer.decision_flip
    effects = sorted(answer.effects, key=lambda effect: -abs(effect.effect))[:TOP]
    return {
        "maps": [_attribution(attribution) for attribution in answer.attributions],
        "recommended_map": answer.recommended_map.value if answer.recommended_map else None,
        "missing_maps": [{"map": missing.kind.value, "reason": missing.reason} for missing in answer.missing_maps],
        "top_effects": [
            {"unit": e.unit, "effect": _decimal(e.effect), "standard_error": _decimal(e.standard_error)}
            for e in effects
        ],
        "decision_flip": None
        if flip is None
        else {
            "found": flip.found,
            "units": list(flip.units),
            "margins": [_decimal(margin) for margin in flip.margins],
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
        "dropped_mass": _decimal(found.dropped_mass),
        "note": found.note or None,
        "top": _top(found.scores),
        "verdict": _verdict(attribution.verdict),
    }


def _top(scores: Floats) -> list[dict[str, Any]]:
    """Positions and weights of the heaviest units; none where a weight is no number."""
    if any(score != score for score in scores):  # noqa: PLR0124 - NaN alone differs from itself
        return []
    heaviest = sorted(range(len(scores)), key=lambda unit: (-scores[unit], unit))[:TOP]
    return [{"unit": unit, "score": _decimal(float(scores[unit]))} for unit in heaviest]


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "flag": verdict.flag.value,
        "reason": verdict.reason.value,
        "scope": verdict.scope.value,
        "alignment": None if verdict.alignment is None else _alignment(verdict.alignment),
        "calibration": _calibration(verdict.calibration),
        "jsd_from_uniform": _decimal(verdict.jsd_from_uniform),
        "checks": [
            {
                "check": check.kind.value,
                "outcome": check.outcome.value,
                "statistic": check.statistic,
                "value": _decimal(check.value),
                "threshold": _decimal(check.threshold),
                "p_value": _decimal(check.p_value),
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
        "value": _decimal(alignment.value),
        "width": _decimal(alignment.width),
        "reliability": _decimal(alignment.reliability),
        "removals": alignment.removals,
        "p_up": _decimal(alignment.p_up),
        "p_low": _decimal(alignment.p_low),
        "per_operator": [
            {"operator": part.operator.value, "value": _decimal(part.value), "rows": part.rows}
            for part in alignment.per_operator
        ],
        "ridge_lambda": _decimal(alignment.ridge_lambda),
        "prior": alignment.prior,
    }


def _witness(witness: Witness) -> dict[str, Any]:
    """A witness without its map, which is a vector and so a part."""
    return {
        "check": witness.kind.value,
        "detail": witness.detail or None,
        "jsd": _decimal(witness.jsd),
        "tvd": _decimal(witness.tvd),
        "removed_units": list(witness.removed_units),
        "control_units": list(witness.control_units),
        "heads": [list(head) for head in witness.heads],
    }


def _calibration(calibration: CalibrationRef) -> dict[str, Any]:
    return {
        "id": calibration.id,
        "created": calibration.created.isoformat() if calibration.created else None,
        "alpha": _decimal(calibration.alpha),
        "confidence": _decimal(calibration.confidence),
        "statement": calibration.statement or None,
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


def _decimals(numbers: Mapping[str, float]) -> dict[str, str | None]:
    return {name: _decimal(value) for name, value in numbers.items()}


def _decimal(value: float | None) -> str | None:
    """Nine significant digits, which tell any two float32 apart; "nan", "inf" and "-inf" are words."""
    return None if value is None else f"{value:.9g}"


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
