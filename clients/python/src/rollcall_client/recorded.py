"""What a record says, as the values that an answer is made of.

The envelope, which whoever reads records may read, says how every map was judged, and by which numbers: `judged`. What
the words are, and what each of them weighs, is sealed: `explanation` gives the whole answer back from opened parts.

Both raise ValueError for a record that does not say what it should.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from rollcall_client import _envelope as envelope
from rollcall_client import enums, types
from rollcall_client.explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rollcall_client._envelope import Json
    from rollcall_client.records import Record

_Read = TypeVar("_Read")
SCHEMA = "rollcall-record-1"
INPUT, SCORES = "input", "scores"
"""The parts that a whole answer is made of; without the input, words are numbered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedMap:
    """A map as the envelope has it: its verdict with every number, and its heaviest units as (index, weight)."""

    map: enums.MapKind
    class_specific: bool
    dropped_mass: float
    note: str
    top: tuple[tuple[int, float], ...]
    verdict: types.Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A record's envelope: `maps` is empty and `primary` None for a decision that was not explained.

    `effects` are the largest few. `body` is the envelope, read.
    """

    prediction: types.Prediction
    primary: JudgedMap | None
    maps: tuple[JudgedMap, ...]
    recommended_map: enums.MapKind
    effects: tuple[types.Effect, ...]
    decision_flip: types.DecisionFlip | None
    body: Mapping[str, Any]


def judged(record: Record) -> Judged:
    """How the maps of a record were judged."""
    return _guarded(_judged, record)


def explanation(record: Record) -> Explanation:
    """The whole answer of a record whose part "scores" is opened, with its words where "input" is, too."""
    if SCORES not in record.parts:
        message = f"the record was read without its part {SCORES}"
        raise ValueError(message)
    return _guarded(_explanation, record)


def _guarded(read: Callable[[Record], _Read], record: Record) -> _Read:
    try:
        return read(record)
    except (KeyError, TypeError, IndexError, struct.error) as error:
        message = "the record does not say what it should"
        raise ValueError(message) from error


def _judged(record: Record) -> Judged:
    body = json.loads(record.envelope)
    if body["schema"] != SCHEMA:
        message = f"expected a record of {SCHEMA}"
        raise ValueError(message)
    told = body.get("explanation")
    maps = tuple(_map(found, body["policy"]) for found in told["maps"]) if told else ()
    primary = next((found for found in maps if found.map.name.lower() == body["verdict"]["map"]), None)
    return Judged(
        prediction=envelope.prediction(body["prediction"]),
        primary=primary,
        maps=maps,
        recommended_map=envelope.kind(told["recommended_map"]) if told else enums.MapKind.UNSPECIFIED,
        effects=tuple(envelope.effect(found) for found in told["top_effects"]) if told else (),
        decision_flip=envelope.flip(told["decision_flip"]) if told else None,
        body=body,
    )


def _explanation(record: Record) -> Explanation:
    found, scores = _judged(record), json.loads(record.parts[SCORES])
    body, primary = found.body, found.primary
    if primary is None:
        message = "the record is of a decision that was not explained"
        raise ValueError(message)
    attributions = tuple(_attribution(each, scores["maps"][each.map.name.lower()]) for each in found.maps)
    model, given, told = body["model"], body["input"], body["explanation"]
    return Explanation(
        explanation_id=body["explanation_id"],
        request_id="",
        model=types.ModelRef(
            name=model["name"],
            revision=model["revision"] or "",
            digest=model["digest"],
            backend=model["backend"],
            device=model["device"],
            dtype=model["dtype"],
        ),
        prediction=found.prediction,
        units=_units(scores["units"], json.loads(record.parts.get(INPUT, b"{}"))),
        attributions=attributions,
        effects=tuple(
            types.Effect(unit=int(unit), effect=effect, standard_error=error)
            for unit, effect, error in _rows(scores["effects"])
        ),
        decision_flip=found.decision_flip,
        primary_map=primary.map,
        verdict=next(each.verdict for each in attributions if each.map is primary.map),
        recommended_map=found.recommended_map,
        truncated=given["truncated"],
        tokens_total=given["tokens_total"],
        tokens_used=given["tokens_used"],
        dropped_mass=primary.dropped_mass,
        reported_mismatch=body["request"]["reported"]["mismatch"],
        attention=None,
        timing=envelope.timing(body["cost"]),
        rows=body["cost"]["rows"],
        seed=int(told["seed"]),
        units_grouped=given["units_grouped"],
        missing_maps=tuple(
            types.MissingMap(map=envelope.kind(each["map"]), reason=each["reason"]) for each in told["missing_maps"]
        ),
        audit=types.AuditReceipt(
            state=enums.RecordState.SEQUENCED,
            mode=record.summary.mode,
            record_id=record.summary.record_id,
            envelope_sha256=sha256(record.envelope.encode()).hexdigest(),
            log_index=record.summary.log_index,
            note="",
        ),
        retrospective_of=body.get("retrospective_of", ""),
        word=_word(given["word"], json.loads(record.parts.get(INPUT, b"{}"))) if "word" in given else None,
    )


def _map(found: Json, policy: Json) -> JudgedMap:
    return JudgedMap(
        map=envelope.kind(found["map"]),
        class_specific=found["class_specific"],
        dropped_mass=float(found["dropped_mass"]),
        note=found["note"] or "",
        top=tuple((each["unit"], float(each["score"])) for each in found["top"]),
        verdict=envelope.verdict(found["verdict"], policy),
    )


def _attribution(found: JudgedMap, sealed: Json) -> types.Attribution:
    """The map with all its weights, and those of its witnesses."""
    witnesses = zip(found.verdict.witnesses, sealed["witness_maps"], strict=True)
    verdict = replace(
        found.verdict,
        witnesses=tuple(replace(each, map=() if map_ is None else _vector(map_)) for each, map_ in witnesses),
    )
    return types.Attribution(
        map=found.map,
        scores=_vector(sealed["scores"]),
        class_specific=found.class_specific,
        dropped_mass=found.dropped_mass,
        verdict=verdict,
        note=found.note,
    )


def _units(places: list[list[int]], given: Json) -> tuple[types.Unit, ...]:
    """Units at their places, with their texts where the input is there; else numbered from 1."""
    texts = (given.get("text"), given.get("text_pair"))
    units = []
    for number, (token_start, token_end, char_start, char_end, segment) in enumerate(places, 1):
        text = texts[segment]
        units.append(
            types.Unit(
                text=f"[{number}]" if text is None else text[char_start:char_end],
                token_start=token_start,
                token_end=token_end,
                char_start=char_start,
                char_end=char_end,
                segment=segment,
            )
        )
    return tuple(units)


def _word(place: Json, given: Json) -> types.Unit:
    """The word whose label was asked for, with its text where the input is there; else by the number of its unit."""
    (token_start, token_end), (char_start, char_end) = place["tokens"], place["characters"]
    text = given.get("text")
    return types.Unit(
        text=f"[{place['unit'] + 1}]" if text is None else text[char_start:char_end],
        token_start=token_start,
        token_end=token_end,
        char_start=char_start,
        char_end=char_end,
        segment=0,
    )


def _vector(sealed: Json) -> tuple[float, ...]:
    """Little-endian float64 in base64."""
    data = base64.b64decode(sealed["data"])
    return struct.unpack(f"<{len(data) // 8}d", data)


def _rows(sealed: Json) -> tuple[tuple[float, ...], ...]:
    flat, width = _vector(sealed), sealed["shape"][1]
    return tuple(flat[start : start + width] for start in range(0, len(flat), width))
