"""The envelope of a record: everything about an answer but personal data, as canonical bytes. Pure.

What may quote the input, or tell it (texts, token ids, vectors of scores), is in the parts (`parts`); the envelope has
commitments to them, positions, and the scores of a few of the most important positions. How values are written is said
in `canonical`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from rollcall.audit.canonical import canonical, decimal, decimals, plain, sha256, timestamp
from rollcall.audit.explanations import calibration, explanation
from rollcall.domain.decision import Prediction
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.inputs import Encoding, ImageInput, ModelInput, PixelsInput, TextInput, TokensInput, Unit
from rollcall.domain.maps import MapOptions
from rollcall.domain.model import ModelCard
from rollcall.domain.recording import Durability, RecordMode
from rollcall.domain.verdicts import CheckLevel, Flag

SCHEMA = "rollcall-record-1"
EXPLANATION, DECISION = "explanation", "decision"
"""Types of a record: what was explained, and what was decided and may be explained later."""
NOTICE_RULE = "notice@1"
"""A map may be given as a reason only where its flag is FAITHFUL and the caller acted on this very prediction."""


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
class Decided:
    """A prediction that is to be recorded, so that it can be explained later."""

    request: PredictRequest = field(repr=False)
    card: ModelCard
    encoding: Encoding = field(repr=False)
    predicted: Predicted = field(repr=False)


Told: TypeAlias = Explained | Decided


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


def envelope(told: Told, where: Circumstances, integrity: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of an answer that is no personal data; `integrity` says what belongs to it."""
    return _explained(told, where, integrity) if isinstance(told, Explained) else _decided(told, where, integrity)


def _head(kind: str, where: Circumstances, tenant: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "type": kind,
        "record_id": where.record_id,
        "created_at": timestamp(where.created_at),
        "server": {"instance": where.instance, "sequence": where.sequence, "software": dict(where.software)},
        "governance": {
            "mode": where.mode.value,
            "durability": where.durability.value,
            **({"tenant": tenant} if tenant else {}),
        },
    }


def _decided(told: Decided, where: Circumstances, integrity: Mapping[str, Any]) -> dict[str, Any]:
    answer = told.predicted
    return _head(DECISION, where, told.request.caller.tenant) | {
        "verdict": None,
        "request": _question(told.request, told.card, mismatch=answer.reported_mismatch),
        "input": _input(told, answer, len(told.encoding.units), grouped=told.encoding.grouped),
        "model": _model(told.card),
        "prediction": prediction(answer.prediction),
        "cost": {
            "total_seconds": decimal(answer.timing.total_seconds),
            "stages": {name: decimal(seconds) for name, seconds in answer.timing.stages},
        },
        "integrity": dict(integrity),
    }


def _explained(told: Explained, where: Circumstances, integrity: Mapping[str, Any]) -> dict[str, Any]:
    answer = told.explanation
    verdict = answer.primary.verdict
    return _head(EXPLANATION, where, told.request.caller.tenant) | {
        "explanation_id": answer.explanation_id,
        **({"retrospective_of": told.request.retrospective_of} if told.request.retrospective_of else {}),
        "verdict": {
            "map": answer.primary_map.value,
            "flag": verdict.flag.value,
            "reason": verdict.reason.value,
            "scope": verdict.scope.value,
            **_notice(answer),
        },
        "request": _request(told),
        "input": _input(told, answer, len(answer.units), grouped=answer.units_grouped),
        "model": _model(told.card),
        "prediction": prediction(answer.prediction),
        "explanation": explanation(answer),
        "policy": {"id": verdict.policy_id, "digest": verdict.policy_digest, "numbers": decimals(verdict.thresholds)},
        "thorough_policy": None
        if answer.thorough is None
        else {
            "id": answer.thorough.id,
            "digest": answer.thorough.digest,
            "numbers": decimals(answer.thorough.thresholds()),
        },
        "cost": {
            "rows": answer.rows,
            "shared": told.shared,
            "total_seconds": decimal(answer.timing.total_seconds),
            "stages": {name: decimal(seconds) for name, seconds in answer.timing.stages},
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


def _question(request: PredictRequest, card: ModelCard, *, mismatch: bool) -> dict[str, Any]:
    """What every request asks, and what its caller says to have acted on."""
    known = request.reported_label in card.labels
    return {
        "revision": request.revision or None,
        "target": request.target.target,
        "foil": request.target.foil,
        **named_word(request.input),
        "threshold": None
        if request.threshold is None
        else {"label": request.threshold.label, "probability": decimal(request.threshold.probability)},
        "reported": {
            "label": request.reported_label if known else None,
            "label_is_known": known if request.reported_label is not None else None,
            "score": decimal(request.reported_score),
            "mismatch": mismatch,
        },
    }


def _request(told: Explained) -> dict[str, Any]:
    request, options, chosen = told.request, told.request.map_options, told.request.attention
    return _question(request, told.card, mismatch=told.explanation.reported_mismatch) | {
        "maps": [kind.value for kind in request.maps],
        "primary_map": request.primary_map.value if request.primary_map else None,
        "map_options": {name: plain(value) for name, value in asdict(options).items()}
        if options != MapOptions()
        else None,
        "attention": None if chosen is None else {name: plain(value) for name, value in asdict(chosen).items()},
        "check_level": told.level.value,
        "policy": request.policy or None,
        "max_rows": request.max_rows,
        "seed": None if request.seed is None else str(request.seed),
    }


def named_word(given: ModelInput) -> dict[str, Any]:
    """Which word is asked about, as the caller named it; nothing where none is."""
    asked = given.word if isinstance(given, (TextInput, TokensInput)) else None
    if asked is None:
        return {}
    return {"word": {"index": asked.index} if asked.index is not None else {"character": asked.character}}


def _modality(given: ModelInput) -> str:
    match given:
        case TextInput():
            return "text" if given.text_pair is None else "text_pair"
        case TokensInput():
            return "tokens"
        case ImageInput():
            return "image"
        case PixelsInput():
            return "pixels"


def _input(told: Told, answer: Explanation | Predicted, units: int, *, grouped: bool) -> dict[str, Any]:
    word = told.encoding.word
    return {
        "modality": _modality(told.request.input),
        "tokens_total": answer.tokens_total,
        "tokens_used": answer.tokens_used,
        "truncated": answer.tokens_used < answer.tokens_total,
        "units": units,
        "units_grouped": grouped,
        **({} if word is None else {"word": _place(told.encoding, word)}),
    }


def _place(encoding: Encoding, word: Unit) -> dict[str, Any]:
    """Where the word is whose label is the answer: its unit, tokens and characters; its first token is read."""
    return {
        "unit": int(encoding.unit_of_token[word.token_start]),
        "tokens": [word.token_start, word.token_end],
        "characters": [word.char_start, word.char_end],
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
        "noise": decimal(card.noise),
        "failed_self_tests": [test.name for test in card.self_tests if not test.passed],
        "calibration": calibration(card.calibration),
        "threshold": None
        if card.threshold is None
        else {"label": card.threshold.label, "probability": decimal(card.threshold.probability)},
    }


def prediction(told: Prediction) -> dict[str, Any]:
    """Say what was predicted."""
    labels = list(told.labels)
    return {
        "labels": labels,
        "labels_sha256": sha256(canonical(labels)),
        "probabilities": [decimal(float(value)) for value in told.probabilities],
        "predicted": labels[told.predicted],
        "predicted_index": told.predicted,
        "target": labels[told.target],
        "target_index": told.target,
        "target_negated": told.target_negated,
        "threshold_met": told.threshold_met,
        "margin": decimal(told.margin),
    }
