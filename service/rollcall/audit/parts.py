"""The parts of a record that are encrypted: what quotes the input, or tells it. Pure.

Each part is one JSON text; vectors are little-endian float64 in base64 with their shape, images base64, too.
Which parts are kept depends on the mode; the envelope commits to all of them in every mode, so that whoever brings one
can show that it is the one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rollcall.audit.record import Explained, Told, named_word
from rollcall.domain.explanation import Attribution, Effect
from rollcall.domain.inputs import Encoding, ImageInput, ModelInput, PixelsInput, TextInput, TokensInput, Unit, WordRef
from rollcall.domain.maps import MAX_ATTENTION_BYTES, Floats
from rollcall.domain.recording import RecordMode

SALT = "salt"
"""The 32 bytes behind every commitment of the record: kept in every mode."""
INPUT, REQUEST, REFERENCES, TOKENS, SCORES, ATTENTION = (
    "input", "request", "references", "tokens", "scores", "attention",
)  # fmt: skip
KEPT = {
    RecordMode.FULL: frozenset({INPUT, REQUEST, REFERENCES, TOKENS, SCORES, ATTENTION}),
    RecordMode.SCORES_ONLY: frozenset({REFERENCES, SCORES}),
    RecordMode.DIGEST_ONLY: frozenset[str](),
}
"""Parts that a mode keeps beside the salt."""


def parts(told: Told) -> dict[str, bytes]:
    """Every part of an answer by its kind."""
    request, encoding = told.request, told.encoding
    found = {
        INPUT: input_part(request.input),
        REQUEST: _json({"request_id": request.request_id, "reported_label": request.reported_label}),
        TOKENS: _json(_tokens(encoding)),
        SCORES: _json(_scores(told)),
    }
    if request.decision_ref or request.subject_ref:
        found[REFERENCES] = _json({"decision_ref": request.decision_ref, "subject_ref": request.subject_ref})
    attention = told.explanation.attention if isinstance(told, Explained) else None
    # What takes a stream to send is not kept: weights, input and selection, which the record names, give it again.
    if attention is not None and len(attention.data) <= MAX_ATTENTION_BYTES:
        found[ATTENTION] = attention.data
    return found


def _tokens(encoding: Encoding) -> dict[str, Any]:
    """What the model read; of an image, which the input gives again, only how much."""
    if encoding.pixels is not None:
        return {"tokens": encoding.length}
    return {"input_ids": encoding.input_ids.tolist(), "type_ids": encoding.type_ids.tolist()}


def _scores(told: Told) -> dict[str, Any]:
    if not isinstance(told, Explained):
        return {"logits": _vector(told.predicted.prediction.logits)}
    answer = told.explanation
    return {
        "logits": _vector(answer.prediction.logits),
        "units": [_unit(unit) for unit in answer.units],
        "maps": {a.map.kind.value: _map(a) for a in answer.attributions},
        "effects": _vector(np.array([_effect(effect) for effect in answer.effects]).reshape(-1, 3)),
    }


def input_part(given: ModelInput) -> bytes:
    """Write an input as the caller gave it: the same input gives the same bytes, to be held against the commitment."""
    if isinstance(given, TextInput):
        return _json({"text": given.text, "text_pair": given.text_pair, **named_word(given)})
    if isinstance(given, TokensInput):
        return _json({"input_ids": list(given.input_ids), **named_word(given)})
    data = base64.b64encode(given.data).decode()
    return _json({"image": data} if isinstance(given, ImageInput) else {"pixels": data, "shape": list(given.shape)})


def read_input(part: bytes) -> ModelInput:
    """Read what `input_part` wrote."""
    told = json.loads(part.decode(errors="surrogatepass"))
    word = WordRef(**told["word"]) if "word" in told else None
    if "input_ids" in told:
        return TokensInput(input_ids=tuple(told["input_ids"]), word=word)
    if "image" in told:
        return ImageInput(data=base64.b64decode(told["image"]))
    if "pixels" in told:
        return PixelsInput(shape=tuple(told["shape"]), data=base64.b64decode(told["pixels"]))
    return TextInput(text=told["text"], text_pair=told["text_pair"], word=word)


def _unit(unit: Unit) -> list[int]:
    """Where a unit is, not what it says: tokens, characters, each from and to, and segment; of an image its box."""
    if unit.box is not None:
        return [unit.box.left, unit.box.top, unit.box.right, unit.box.bottom]
    return [unit.token_start, unit.token_end, unit.char_start, unit.char_end, unit.segment]


def _map(attribution: Attribution) -> dict[str, Any]:
    found = attribution.map
    return {
        "scores": _vector(found.scores),
        "signed": None if found.signed is None else _vector(found.signed),
        "witness_maps": [
            None if witness.map_scores is None else _vector(witness.map_scores)
            for witness in attribution.verdict.witnesses
        ],
    }


def _effect(effect: Effect) -> list[float]:
    """Unit, effect, standard error."""
    return [effect.unit, effect.effect, effect.standard_error]


def _vector(values: Floats) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()
    return {"dtype": "<f8", "shape": list(values.shape), "data": data}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode(errors="surrogatepass")
