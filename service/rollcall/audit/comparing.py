"""Whether an answer, worked out again, is the one that was recorded. Pure.

Compared is what the envelope says: prediction, and maps with verdicts, checks and effects. PyTorch promises no equal
numbers across releases, platforms and devices even under one seed, so numbers may differ by TOLERANCE; flags may not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rollcall.domain.model import ModelCard

TOLERANCE = 1e-3
"""Absolute up to 1, relative above: of probabilities, weights, effects, A. Widths of flags are tens of times wider."""
WORDS = frozenset({"detail", "note"})
"""Sentences for people, which repeat numbers."""
MOST_DIFFERENCES = 50


class Outcome(Enum):
    """What a replay came to."""

    EXACT = "exact"
    """Every number is the same to nine digits."""
    WITHIN_TOLERANCE = "within_tolerance"
    """Every flag is the same, and every number within TOLERANCE."""
    DIFFERENT = "different"
    """Every flag is the same; numbers differ by more, or something else does."""
    VERDICT_CHANGED = "verdict_changed"
    """A flag or its reason is another one, or the decision is."""
    NOT_REPLAYABLE = "not_replayable"
    """It could not be asked again as it was asked then: the differences say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs: where, what was recorded, and what there is now."""

    what: str
    recorded: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a replay came to, and what differs, the deciding first."""

    outcome: Outcome
    differences: tuple[Difference, ...]


def obstacles(body: Mapping[str, Any], card: ModelCard | None, policies: Mapping[str, str]) -> list[Difference]:
    """Say what makes a record impossible to ask again: `card` is of the model with its digest, None if none is served.

    `policies`: digests by id, of those that are known here.
    """
    model = body["model"]
    if card is None:
        return [Difference(what="model.digest", recorded=model["digest"], now="not served here")]
    then_and_now = [("model.dtype", model["dtype"], card.ref.dtype), ("model.calibration", *_calibrations(model, card))]
    threshold = None if card.threshold is None else f"{card.threshold.label} {card.threshold.probability:.9g}"
    recorded = model["threshold"] and f"{model['threshold']['label']} {model['threshold']['probability']}"
    then_and_now.append(("model.threshold", str(recorded), str(threshold)))
    if body["verdict"] is not None:
        policy = body["policy"]
        then_and_now.append(("policy", policy["digest"], policies.get(policy["id"], "not known here")))
    return [Difference(what=what, recorded=str(then), now=str(now)) for what, then, now in then_and_now if then != now]


def surroundings(body: Mapping[str, Any], card: ModelCard, software: Mapping[str, str]) -> list[Difference]:
    """Say what else is not as it was: numbers may differ for it."""
    then = {f"software.{name}": version for name, version in body["server"]["software"].items()}
    now = {f"software.{name}": version for name, version in software.items()}
    then |= {"model.device": body["model"]["device"], "model.backend": body["model"]["backend"]}
    now |= {"model.device": card.ref.device, "model.backend": card.ref.backend}
    return [
        Difference(what=what, recorded=str(then.get(what, "none")), now=str(now.get(what, "none")))
        for what in sorted(then.keys() | now.keys())
        if then.get(what) != now.get(what)
    ]


def compare(recorded: Mapping[str, Any], now: Mapping[str, Any], around: Sequence[Difference]) -> Compared:
    """Compare what an envelope says under `prediction` and `explanation` with the same of the new answer."""
    then_flat, now_flat = dict(_flat(recorded)), dict(_flat(now))
    found = [
        Difference(what=path, recorded=str(then_flat.get(path, "none")), now=str(now_flat.get(path, "none")))
        for path in sorted(then_flat.keys() | now_flat.keys())
        if then_flat.get(path) != now_flat.get(path)
    ]
    deciding = [each for each in found if each.what.endswith((".flag", ".verdict.reason", ".predicted"))]
    beyond = [each for each in found if not _near(each.recorded, each.now)]
    if deciding:
        outcome = Outcome.VERDICT_CHANGED
    elif beyond:
        outcome = Outcome.DIFFERENT
    else:
        outcome = Outcome.WITHIN_TOLERANCE if found else Outcome.EXACT
    ordered = dict.fromkeys([*deciding, *beyond, *around, *found])
    return Compared(outcome=outcome, differences=tuple(ordered)[:MOST_DIFFERENCES])


def _calibrations(model: Mapping[str, Any], card: ModelCard) -> tuple[str, str]:
    return str(model["calibration"]["id"]), card.calibration.id


def _near(recorded: str, now: str) -> bool:
    try:
        then, there = float(recorded), float(now)
    except ValueError:
        return False
    return math.isclose(then, there, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every number and word under the path that leads to it; maps by their names."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in WORDS:
                yield from _flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            name = inner.get("map", number) if isinstance(inner, Mapping) else number
            yield from _flat(inner, f"{path}.{name}")
    else:
        yield path, value
