"""Records as JSON and back. Pure. What does not fit in every detail is refused as a whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import Flag
from rollcall.monitor.pooled import Pooled
from rollcall.monitor.record import DECIDED, WINDOW, Answer, Identity, MapRecord, ModelRecord
from rollcall.monitor.tally import Tally

FORMAT = "rollcall-records-1"
ROUNDING = 1e-6
"""No A is above 1 by more than this share."""


class StateError(ValueError):
    """A text is no state of ours; the message says why."""


def write_state(records: Mapping[str, ModelRecord]) -> str:
    """Write records by model name."""
    models = {name: _model(record) for name, record in records.items()}
    return json.dumps({"format": FORMAT, "models": models}, indent=1, allow_nan=False) + "\n"


def read_state(text: str) -> dict[str, ModelRecord]:
    """Read what `write_state` wrote; raises StateError."""
    try:
        raw = json.loads(text)
        return {str(name): _read_model(found) for name, found in _models(raw).items()}
    except StateError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"not a state: {type(error).__name__}"
        raise StateError(message) from error


def _model(record: ModelRecord) -> dict[str, Any]:
    identity = record.identity
    return {
        "digest": identity.digest,
        "dtype": identity.dtype,
        "calibration": identity.calibration,
        "since": record.since,
        "maps": {kind.value: _map(found) for kind, found in record.maps.items()},
        "answers": [[answer.at, int(answer.wrong)] for answer in record.answers],
    }


def _map(found: MapRecord) -> dict[str, Any]:
    pooled = found.pooled
    return {
        "flags": {flag.value: count for flag, count in pooled.flags.items()},
        "alignments": pooled.alignments,
        "alignment_sum": pooled.alignment_sum,
        "log_e": pooled.log_e,
        "rechecked": {flag.value: [tally.checked, tally.wrong] for flag, tally in found.rechecked.items()},
    }


def _models(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    if raw["format"] != FORMAT:
        message = "another format"
        raise StateError(message)
    models: Mapping[str, Any] = raw["models"]
    return models


def _read_model(raw: Mapping[str, Any]) -> ModelRecord:
    return ModelRecord(
        identity=Identity(
            digest=_text(raw["digest"]), dtype=_text(raw["dtype"]), calibration=_text(raw["calibration"])
        ),
        since=_count(raw["since"]),
        maps={MapKind(kind): _read_map(found) for kind, found in raw["maps"].items()},
        answers=tuple(_answer(*pair) for pair in raw["answers"])[-WINDOW:],
    )


def _read_map(raw: Mapping[str, Any]) -> MapRecord:
    pooled = Pooled(
        flags={Flag(flag): _count(count) for flag, count in raw["flags"].items()},
        alignments=_count(raw["alignments"]),
        alignment_sum=_number(raw["alignment_sum"]),
        log_e=_number(raw["log_e"]),
    )
    rechecked = {Flag(flag): _tally(*counts) for flag, counts in raw["rechecked"].items()}
    too_large = abs(pooled.alignment_sum) > pooled.alignments * (1 + ROUNDING)
    if pooled.alignments > pooled.requests or too_large or set(rechecked) - set(DECIDED):
        message = "its numbers contradict each other"
        raise StateError(message)
    return MapRecord(pooled=pooled, rechecked=rechecked)


def _tally(checked: int, wrong: int) -> Tally:
    if _count(wrong) > _count(checked):
        message = "more wrong than checked"
        raise StateError(message)
    return Tally(checked=checked, wrong=wrong)


def _answer(at: int, wrong: int) -> Answer:
    if wrong not in {0, 1}:
        message = "an answer that is neither right nor wrong"
        raise StateError(message)
    return Answer(at=_count(at), wrong=bool(wrong))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return float(value)
